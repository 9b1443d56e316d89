import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { nextTryMs, type RetryPolicy } from "../core/outbox.ts";
import type { Database, Tx } from "../store/database.ts";
import { claimEffects, type EffectRow, postponeEffect, releaseEffects, settleEffect } from "../store/outbox.ts";
import { effectTopic, OUTBOX, type Wakes } from "./wakes.ts";

/** How many effects are under way in a process at a time. */
const AT_A_TIME = 8;
/** How long a try may take, and how long nobody else begins one: longer, so that one that was cut off is over by then. */
const TRY_MS = 45_000;
const LEASE_MS = 60_000;

/** What came of a try. */
export type TryResult =
  /** `also` is stored in the transaction that ends the effect, `after` is called behind it. */
  | { readonly type: "done"; readonly outcome: unknown; readonly also?: (tx: Tx) => Promise<void>; readonly after?: () => void }
  /** It may work later. */
  | { readonly type: "later"; readonly retryAfterMs: number | null; readonly problem: unknown }
  | { readonly type: "never"; readonly problem: unknown };

/** Does effects of one kind. */
export interface Performer {
  readonly policy: RetryPolicy;
  /** Must look before it does something that must not be done twice: a try before this one may have been cut off anywhere. */
  perform(effect: EffectRow, signal: AbortSignal): Promise<TryResult>;
}

export interface OutboxOptions {
  readonly db: Database;
  readonly wakes: Wakes;
  /** Names this process's home for ever: what it was at when it died is free for it at once. */
  readonly performer: string;
  readonly performers: Readonly<Record<string, Performer>>;
  readonly pollMs: number;
  readonly now: () => number;
  /** From 0 up to 1. */
  readonly chance: () => number;
  readonly log: (level: "info" | "warn" | "error", message: string, detail?: Readonly<Record<string, unknown>>) => void;
}

/**
 * Does what is due in the outbox until `leaving`; resolves then. What is under way at that moment is cut off, and done again by
 * whoever comes next.
 */
export async function watchOutbox(options: OutboxOptions, leaving: AbortSignal): Promise<void> {
  const { db, wakes } = options;
  const underWay = new Set<Promise<void>>();
  let pause = new AbortController();
  let isReleased = false;
  const wake = (): void => pause.abort();
  const unsubscribe = wakes.subscribe(OUTBOX, wake);
  leaving.addEventListener("abort", wake, { once: true });
  while (!leaving.aborted) {
    pause = new AbortController();
    try {
      if (!isReleased) await releaseEffects(db, options.performer);
      isReleased = true;
      for (const effect of await claim(options, AT_A_TIME - underWay.size)) {
        const work = tryOnce(options, effect, leaving).finally(() => {
          underWay.delete(work);
          wake();
        });
        underWay.add(work);
      }
    } catch (error) {
      options.log("warn", "The outbox could not be looked at", { error: String(error) });
    }
    if (!leaving.aborted) await sleep(options.pollMs, undefined, { signal: pause.signal }).catch(() => undefined);
  }
  unsubscribe();
  await Promise.all(underWay);
}

async function claim({ db, performer, performers }: OutboxOptions, limit: number): ReturnType<typeof claimEffects> {
  if (limit === 0) return [];
  const lease = randomBytes(8).toString("hex");
  return claimEffects(db, { performer, lease, leaseMs: LEASE_MS, kinds: Object.keys(performers), limit });
}

/** One try, and what is noted of it. Never rejects: where nothing can be noted, the lease ends. */
async function tryOnce(options: OutboxOptions, effect: EffectRow, leaving: AbortSignal): Promise<void> {
  const { db, wakes, performers, log } = options;
  const performer = performers[effect.kind];
  if (performer === undefined) return;
  const about = { effect: effect.id, kind: effect.kind, run: effect.run_id, tries: effect.tries };
  try {
    const result = await resultOf(performer, effect, leaving);
    if (result === null) return;
    if (result.type === "done") {
      if (await settleEffect(db, effect, { status: "done", outcome: result.outcome, also: result.also })) result.after?.();
    } else await noteFailure(options, { effect, result, policy: performer.policy });
    log("info", "An effect was tried", { ...about, result: result.type });
  } catch (error) {
    log("warn", "What came of an effect could not be noted", { ...about, error: String(error) });
  }
  wakes.notify(effectTopic(effect.id));
}

/** Null: this process leaves. */
async function resultOf(performer: Performer, effect: EffectRow, leaving: AbortSignal): Promise<TryResult | null> {
  // Not by AbortSignal.any: each one that is made of a signal that lives long leaves something behind in it.
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const timer = setTimeout(end, TRY_MS);
  leaving.addEventListener("abort", end, { once: true });
  try {
    return await performer.perform(effect, ending.signal);
  } catch (error) {
    if (leaving.aborted) return null;
    return { type: "later", retryAfterMs: null, problem: { code: "unavailable", message: `It could not be tried: ${String(error)}` } };
  } finally {
    clearTimeout(timer);
    leaving.removeEventListener("abort", end);
  }
}

async function noteFailure(
  { db, now, chance }: OutboxOptions,
  failed: { readonly effect: EffectRow; readonly result: Exclude<TryResult, { type: "done" }>; readonly policy: RetryPolicy },
): Promise<void> {
  const { effect, result, policy } = failed;
  const ageMs = now() - Date.parse(effect.created_at);
  const delayMs =
    result.type === "never" ? null : nextTryMs(policy, { tries: effect.tries, ageMs, retryAfterMs: result.retryAfterMs }, chance());
  const { problem } = result;
  if (delayMs === null) await settleEffect(db, effect, { status: "failed", outcome: { problem } });
  else await postponeEffect(db, effect, { delayMs, problem });
}
