import type { PullRequest } from "@runyard/sdk/contract";
import {
  bodyThatFollows,
  type FoundPullRequest,
  nextPullRequestStep,
  type PerformedPullRequest,
  type PullRequestEffect,
  type PullRequestWish,
} from "../../core/pull-request.ts";
import type { Performer, TryResult } from "../../engine/outbox.ts";
import { createGithubClient, type GithubClient, GithubError, type GithubPullRequest, teamOf } from "./client.ts";
import { githubPerformer, type GithubPerformerOptions } from "./performer.ts";

/** Between looking and creating somebody else may be faster, and may be gone again at the next look. */
const LOOKS = 3;

/** Does effects of the kind `PULL_REQUEST_EFFECT`. `record` stores the pull request, with the end of the effect. */
export function pullRequestPerformer(
  options: GithubPerformerOptions,
  record: (
    run: { readonly id: string; readonly orgId: string },
    made: PerformedPullRequest,
  ) => Extract<TryResult, { type: "done" }>["also"],
): Performer {
  return githubPerformer(options, async (at, { org_id: orgId, run_id: id, payload }) => {
    const { wish } = payload as PullRequestEffect;
    const made = await performPullRequest(createGithubClient(at), wish);
    const also = id === null ? undefined : record({ id, orgId }, made);
    return { outcome: made, ...(also && { also }) };
  });
}

/**
 * Sees to it that a turn has its pull request: looks before it creates, so that it can be done again whenever it was cut off,
 * and by two at a time. Rejects with GithubError.
 */
export async function performPullRequest(client: GithubClient, wish: PullRequestWish): Promise<PerformedPullRequest> {
  const { done, action, warnings, follows = null } = await bringAbout(client, wish);
  const problems = done.state === "open" ? await complete(client, done, wish) : [];
  return { pullRequest: shown(done), follows: follows && shown(follows), action, warnings: [...warnings, ...problems] };
}

async function bringAbout(
  client: GithubClient,
  wish: PullRequestWish,
): Promise<{
  readonly done: GithubPullRequest;
  readonly action: PerformedPullRequest["action"];
  readonly warnings: readonly string[];
  readonly follows?: FoundPullRequest | null;
}> {
  for (let look = 1; ; look += 1) {
    const found = await client.list(wish.head);
    const step = nextPullRequestStep(found, wish);
    const same = (wanted: { readonly number: number }): GithubPullRequest => found.find(({ number }) => number === wanted.number)!;
    if (step.type === "keep") return { done: same(step.pullRequest), action: "kept", warnings: [] };
    if (step.type === "update") {
      if (step.body !== null)
        return { done: await client.update(step.pullRequest.number, { body: step.body }), action: "updated", warnings: [] };
      const warning = `The description of ${step.pullRequest.url} is left as it is, because Runyard's part is not in it.`;
      return { done: same(step.pullRequest), action: "updated", warnings: [warning] };
    }
    const { head, base, title, draft } = wish;
    const body = step.follows === null ? wish.body : bodyThatFollows(wish.body, step.follows);
    const warnings =
      step.follows === null ? [] : [`${step.follows.url} was ${step.follows.merged ? "merged" : "closed"}: there is a new pull request.`];
    try {
      return { done: await client.create({ head, base, title, body, draft }), action: "created", warnings, follows: step.follows };
    } catch (error) {
      if (!(error instanceof GithubError) || error.verdict.type !== "exists" || look === LOOKS) throw error;
    }
  }
}

/** Adds the labels and reviewers that it does not have. What is refused for good is told, and the pull request stays. */
async function complete(client: GithubClient, done: GithubPullRequest, wish: PullRequestWish): Promise<string[]> {
  const labels = wish.labels.filter((label) => !done.labels.some((one) => one.toLowerCase() === label.toLowerCase()));
  const isAsked = (reviewer: string): boolean => done.reviewers.some((one) => one.toLowerCase() === teamOf(reviewer).toLowerCase());
  const reviewers = wish.reviewers.filter((reviewer) => !isAsked(reviewer));
  return [
    ...(labels.length === 0 ? [] : await told("The labels could not be added", () => client.addLabels(done.number, labels))),
    ...(reviewers.length === 0
      ? []
      : await told("The reviewers could not be asked", () => client.requestReviewers(done.number, reviewers))),
  ];
}

async function told(what: string, work: () => Promise<void>): Promise<string[]> {
  try {
    await work();
    return [];
  } catch (error) {
    if (error instanceof GithubError && error.verdict.type === "never") return [`${what}: ${error.message}`];
    throw error;
  }
}

export function shown(pull: FoundPullRequest): PullRequest {
  const { id, number, url, title, state, merged, draft, headBranchName, baseBranchName, createdAt } = pull;
  return { id, number, url, title, state, merged, draft, headBranchName, baseBranchName, createdAt };
}
