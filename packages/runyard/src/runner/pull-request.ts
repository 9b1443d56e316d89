import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent, PullRequest, PullRequestProblem } from "@runyard/sdk/contract";
import { type PerformedPullRequest, PULL_REQUEST_EFFECT, type PullRequestEffect } from "../core/pull-request.ts";
import { newId } from "../engine/ids.ts";
import { effectTopic, OUTBOX } from "../engine/wakes.ts";
import { type EffectRow, findEffect, requestEffect, withdrawEffect } from "../store/outbox.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { type PublishedChange, pullRequestWish } from "./pull-request-wish.ts";
import { Detached, EndRequest, FencedError, type RunHandle } from "./run-handle.ts";

/** What came of a run's pull request, with what is to be told of it. */
export interface PullRequestEnd {
  readonly pullRequest: PullRequest | null;
  readonly problem: PullRequestProblem | null;
  readonly events: readonly NewEvent[];
}

const OUT_OF_TIME: PullRequestProblem = {
  code: "out-of-time",
  message:
    "The run used up its active time before there was a pull request. What it made is on its branch; continue the run, or open one by hand.",
};

/**
 * Has the outbox see to the pull request of a branch that was pushed, and waits for that in the phase `publishing`. What cannot
 * be had does not end the run: its work is done, and the branch holds it. A server that takes over asks for the same effect
 * again, which is then the same one. Throws as all work of a runner does, where the run is to be cancelled or is somebody else's.
 */
export async function seeToPullRequest(
  ctx: RunnerContext,
  handle: RunHandle,
  { made, end }: { readonly made: PublishedChange; readonly end: AbortSignal },
): Promise<PullRequestEnd> {
  const { row } = handle;
  const place = row.spec.pullRequest?.place;
  if (place === undefined) return { pullRequest: null, problem: null, events: [] };
  const payload: PullRequestEffect = { place, wish: await pullRequestWish(ctx, handle, made) };
  const key = `${row.id}:${row.attempt}`;
  const asked = await requestEffect(ctx.db, { run: row, id: newId("effect"), kind: PULL_REQUEST_EFFECT, key, payload });
  if (asked === undefined) throw new FencedError(`Run ${row.id} is not this runner's any more`);
  ctx.wakes.notify(OUTBOX);
  const ended = await waitForEffect(ctx, handle, { effect: asked, end, what: "pull request" });
  return ended === null ? endOf(OUT_OF_TIME) : conclude(ended);
}

/** The effect once it has ended; null: the run has used up its time. `what` it is to bring. */
export async function waitForEffect(
  ctx: RunnerContext,
  handle: RunHandle,
  { effect, end, what }: { readonly effect: EffectRow; readonly end: AbortSignal; readonly what: "pull request" | "review" },
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
async function tellOfDelay(handle: RunHandle, { tries, problem }: EffectRow, what: "pull request" | "review"): Promise<void> {
  const state = attemptState(handle.row);
  if (problem === null || tries <= (state.pullRequestTries ?? 0)) return;
  const message = `There is no ${what} yet, and it is tried again: ${(problem as PullRequestProblem).message}`;
  const code = what === "review" ? "review-delayed" : "pull-request-delayed";
  const notice: NewEvent = { type: "notice", data: { level: "warning", code, message } };
  await handle.commit({ events: [notice], change: { state: { ...state, pullRequestTries: tries } satisfies AttemptState } });
}

function conclude({ status, outcome }: EffectRow): PullRequestEnd {
  if (status !== "done") return endOf((outcome as { readonly problem: PullRequestProblem }).problem);
  const { pullRequest, warnings } = outcome as PerformedPullRequest;
  const events = warnings.map((message): NewEvent => ({ type: "notice", data: { level: "warning", code: "pull-request", message } }));
  return { pullRequest, problem: null, events };
}

function endOf(problem: PullRequestProblem): PullRequestEnd {
  const message = `There is no pull request. ${problem.message}`;
  return { pullRequest: null, problem, events: [{ type: "notice", data: { level: "warning", code: "pull-request-not-opened", message } }] };
}
