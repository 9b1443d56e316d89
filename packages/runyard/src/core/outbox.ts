/** How long an effect on somebody else's system is tried again, and how often. */
export interface RetryPolicy {
  /** Wait before the second try, in milliseconds; doubled with each one after it. */
  readonly firstMs: number;
  readonly longestMs: number;
  /** After so long from when it was asked for, no further try is begun. */
  readonly patienceMs: number;
}

/** What is known when a try has failed in a way that may pass. */
export interface FailedTry {
  /** Tries so far, this one with them. */
  readonly tries: number;
  /** Since it was asked for, in milliseconds. */
  readonly ageMs: number;
  /** How long the other side asked to be left alone, in milliseconds; null: it did not say. */
  readonly retryAfterMs: number | null;
}

/**
 * How long to wait before the next try, in milliseconds; null: it is given up. `chance` is from 0 up to 1: half of a wait
 * is left to it, so that those who failed together do not come back together.
 */
export function nextTryMs(policy: RetryPolicy, { tries, ageMs, retryAfterMs }: FailedTry, chance: number): number | null {
  const usual = Math.min(policy.firstMs * 2 ** (tries - 1), policy.longestMs);
  const wait = Math.ceil(Math.max(usual * (1 - chance / 2), retryAfterMs ?? 0));
  return ageMs + wait > policy.patienceMs ? null : wait;
}
