/** First and longest wait between tries, in milliseconds. */
export const FIRST_DELAY_MS = 500;
export const LONGEST_DELAY_MS = 8_000;

/** The wait before try `failures + 1`: doubling, less up to a quarter, so that clients do not come back in step. */
export function backoffMs(failures: number, firstMs: number): number {
  const full = Math.min(LONGEST_DELAY_MS, firstMs * 2 ** Math.max(0, failures - 1));
  return full * (1 - Math.random() / 4);
}

/** Resolves after a time, or rejects with the signal's reason. */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** A signal of its own that follows a caller's signal and can run out of time. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** True when the time ran out (and not the caller aborted). */
  expired(): boolean;
  /** Starts the time anew. */
  touch(): void;
  /** Stops the time until the next `touch`. */
  hold(): void;
  /** Aborts, where there is something left to abort, and forgets the timer. */
  end(): void;
}

export function startDeadline(ms: number, outer: AbortSignal | undefined): Deadline {
  const controller = new AbortController();
  const follow = (): void => controller.abort(outer?.reason);
  if (outer?.aborted) follow();
  outer?.addEventListener("abort", follow, { once: true });
  let expired = false;
  let endsAt = performance.now() + ms;
  // Touching is frequent and expiry is rare: a late timer looks again instead of being set each time.
  const look = (): void => {
    const left = endsAt - performance.now();
    if (left > 0) return void (timer = setTimeout(look, Math.min(left, ms)));
    expired = true;
    controller.abort();
  };
  let timer = setTimeout(look, ms);
  return {
    signal: controller.signal,
    expired: () => expired,
    touch: () => {
      endsAt = performance.now() + ms;
    },
    hold: () => {
      endsAt = Number.POSITIVE_INFINITY;
    },
    end: () => {
      clearTimeout(timer);
      outer?.removeEventListener("abort", follow);
      controller.abort();
    },
  };
}
