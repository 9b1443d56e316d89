import { createHash } from "node:crypto";
import type { NewEvent, PullRequestProblem, RunResult } from "@runyard/sdk/contract";
import { REVIEW_EFFECT, reviewBody, type ReviewEffect, reviewMark } from "../core/review.ts";
import { attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { byline } from "./pull-request-wish.ts";
import type { RunHandle } from "./run-handle.ts";
import { seeToEffect } from "./see-to-effect.ts";

/** What came of a run's review, with what is to be told of it. */
export interface ReviewEnd {
  readonly result: Pick<RunResult, "reviewUrl" | "reviewProblem">;
  readonly events: readonly NewEvent[];
}

const OUT_OF_TIME: PullRequestProblem = {
  code: "out-of-time",
  message: "The run used up its active time before its review was posted. Its answer is kept; continue the run to try again.",
};

/**
 * Has the outbox post the agent's answer as a review, and waits for that in the phase `publishing`, as for a pull request. What
 * cannot be had does not end the run: its answer is kept. Throws as all work of a runner does.
 */
export async function seeToReview(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<ReviewEnd> {
  const { row } = handle;
  const { review } = row.spec;
  if (review === undefined || row.replay !== null) return { result: {}, events: [] };
  const story = {
    ...byline(ctx, row),
    answer: attemptState(row).summary ?? "",
    commit: review.headCommit,
    sign: createHash("sha256").update(`${review.markKey}:${row.turn}`).digest("hex").slice(0, 32),
  };
  const payload: ReviewEffect = {
    place: review.place,
    number: review.number,
    commit: review.headCommit,
    event: review.event,
    body: reviewBody(handle.secrets.redactor.json(story)),
    mark: reviewMark(story),
  };
  const ended = await seeToEffect(ctx, handle, { kind: REVIEW_EFFECT, payload, what: "review", end });
  if (ended?.status === "done") return { result: { reviewUrl: (ended.outcome as { readonly url: string }).url }, events: [] };
  const problem = ended === null ? OUT_OF_TIME : (ended.outcome as { readonly problem: PullRequestProblem }).problem;
  const message = `The review was not posted. ${problem.message}`;
  return {
    result: { reviewUrl: null, reviewProblem: problem },
    events: [{ type: "notice", data: { level: "warning", code: "review-not-posted", message } }],
  };
}
