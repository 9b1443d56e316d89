import type { Run, RunResult } from "@runyard/sdk/contract";
import { printable } from "./output.ts";

const POSTED = { comment: "a comment", approve: "an approval", request_changes: "a request for changes" } as const;

/** The pull request that a run looks at; nothing by servers that do not know of reviews. */
export function renderReview({ review }: Partial<Pick<Run, "review">>, row: (name: string, text: string) => string): string[] {
  if (review == null) return [];
  const { url, headCommit, baseBranch, event, fork } = review;
  const from = fork ? ", from another repository" : "";
  return [row("review", `${url} at ${headCommit.slice(0, 10)}, to ${baseBranch}${from}; the answer becomes ${POSTED[event]}`)];
}

/** What came of the review of a run that has ended; nothing of one that reviews nothing. */
export function renderReviewEnd({ reviewUrl, reviewProblem }: RunResult, row: (text: string) => string): string[] {
  if (reviewProblem !== undefined) return [row(`not posted (${reviewProblem.code}): ${printable(reviewProblem.message)}`)];
  return reviewUrl == null ? [] : [row(printable(reviewUrl))];
}
