import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent, PullRequestProblem } from "@runyard/sdk/contract";
import { newId } from "../engine/ids.ts";
import { effectTopic, OUTBOX } from "../engine/wakes.ts";
import { type EffectRow, findEffect, requestEffect, withdrawEffect } from "../store/outbox.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { Detached, EndRequest, FencedError, type RunHandle } from "./run-handle.ts";

/** What an effect is to bring. */
type Brought = "pull request" | "review";

/**
 * Has the outbox do something for an attempt, once, and waits for it in the phase `publishing`; null: the run has used up its time.
 * A server that takes over asks for the same effect again, which is then the same one. Throws as all work of a runner does, where
 * the run is to be cancelled or is somebody else's.
 */
export async function seeToEffect(
  ctx: RunnerContext,
  handle: RunHandle,
  wish: { readonly kind: string; readonly payload: unknown; readonly what: Brought; readonly end: AbortSignal },
): Promise<EffectRow | null> {
  const { row } = handle;
  const { kind, payload, what, end } = wish;
  const key = `${row.id}:${row.attempt}`;
  const effect = await requestEffect(ctx.db, { run: row, id: newId("effect"), kind, key, payload });
  if (effect === undefined) throw new FencedError(`Run ${row.id} is not this runner's any more`);
  ctx.wakes.notify(OUTBOX);
  return waitForEffect(ctx, handle, { effect, end, what });
}

/** The effect once it has ended; null: the run has used up its time. */
async function waitForEffect(
  ctx: RunnerContext,
  handle: RunHandle,
  { effect, end, what }: { readonly effect: EffectRow; readonly end: AbortSignal; readonly what: Brought },
): Promise<EffectRow | null> {
  let pause = new AbortController();
  const wake = (): void => pause.abort();
  const unsubscribe = ctx.wakes.subscribe(effectTopic(effect.id), wake);
  for (const signal of [end, ctx.leaving]) signal.addEventListener("abort", wake);
  try {
    let now: EffectRow | undefined = effect;
    for (;;) {
      pause = new AbortController();
      if (ctx.leaving.aborted) throw new Detached();
      if (now === undefined || now.status !== "due") return now ?? null;
      if (end.aborted) return await withdraw(ctx, effect, end);
      await tellOfDelay(handle, now, what);
      await sleep(ctx.pollMs, undefined, { signal: pause.signal }).catch(() => undefined);
      now = await findEffect(ctx.db, effect.org_id, effect.id);
    }
  } finally {
    unsubscribe();
    for (const signal of [end, ctx.leaving]) signal.removeEventListener("abort", wake);
  }
}

/** Out of time, the run ends with its branch; cancelled, it ends as such. */
async function withdraw(ctx: RunnerContext, effect: EffectRow, end: AbortSignal): Promise<EffectRow | null> {
  const after = await withdrawEffect(ctx.db, effect.org_id, effect.id);
  if (after?.status === "done") return after;
  const { reason } = end;
  if (reason instanceof EndRequest && reason.fact.type === "deadline_passed") return null;
  throw reason;
}

/** Says of a try that failed that there will be another one: once, and of several that came between two looks only of the last. */
async function tellOfDelay(handle: RunHandle, { tries, problem, leased_until }: EffectRow, what: Brought): Promise<void> {
  const state = attemptState(handle.row);
  // A try that is under way is counted, and the problem is that of the one before.
  if (problem === null || leased_until !== null || tries <= (state.pullRequestTries ?? 0)) return;
  const message = `There is no ${what} yet, and it is tried again: ${(problem as PullRequestProblem).message}`;
  const code = what === "review" ? "review-delayed" : "pull-request-delayed";
  const notice: NewEvent = { type: "notice", data: { level: "warning", code, message } };
  await handle.commit({ events: [notice], change: { state: { ...state, pullRequestTries: tries } satisfies AttemptState } });
}
