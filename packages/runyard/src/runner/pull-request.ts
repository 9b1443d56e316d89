import type { NewEvent, PullRequest, PullRequestProblem } from "@runyard/sdk/contract";
import { type PerformedPullRequest, PULL_REQUEST_EFFECT, type PullRequestEffect } from "../core/pull-request.ts";
import type { EffectRow } from "../store/outbox.ts";
import type { RunnerContext } from "./context.ts";
import { type PublishedChange, pullRequestWish } from "./pull-request-wish.ts";
import type { RunHandle } from "./run-handle.ts";
import { seeToEffect } from "./see-to-effect.ts";

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
  const ended = await seeToEffect(ctx, handle, { kind: PULL_REQUEST_EFFECT, payload, what: "pull request", end });
  return ended === null ? endOf(OUT_OF_TIME) : conclude(ended);
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
