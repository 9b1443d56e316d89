import { randomBytes } from "node:crypto";
import { type createRunSchema, type PullRequestStop, type RunPermission, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import type { GithubPlace } from "../core/github-place.ts";
import { parsePullRequestUrl } from "../core/pull-request-url.ts";
import type { PullRequestToReview } from "../core/review.ts";
import type { Tx } from "../store/database.ts";
import { findStop, holdStop } from "../store/pull-request-stops.ts";
import type { RunSpec } from "../store/run-row.ts";
import type { EngineOptions, InspectedRepository } from "./engine.ts";
import { githubRefused } from "./github-refused.ts";
import { placeOf, tokenFor } from "./publishing.ts";

/** Looks at a pull request. Throws RunyardError `review_not_possible` or `unavailable`. */
export type PullRequestReader = (at: {
  readonly place: GithubPlace;
  readonly token: string;
  readonly number: number;
}) => Promise<PullRequestToReview>;

type Wish = z.output<typeof createRunSchema>;

/**
 * The repository as a run starts from it: at a branch, or, where it reviews a pull request, at the head of that. Throws
 * RunyardError `repository_not_usable`, and of reviews `review_not_possible`, `pull_request_stopped` or `unavailable`.
 */
export async function inspectFor(
  options: EngineOptions,
  input: Wish,
  {
    orgId,
    granted,
    inspect,
  }: {
    readonly orgId: string;
    readonly granted: readonly RunPermission[];
    /** Looks at the repository, for a run that reviews nothing. */
    readonly inspect: () => Promise<InspectedRepository>;
  },
): Promise<{ readonly inspected: InspectedRepository; readonly spec: Pick<RunSpec, "review"> }> {
  const { review, repositoryUrl } = input;
  if (review === undefined) return { inspected: await inspect(), spec: {} };
  const why = whyNotBeside(input) ?? (granted.includes("pull_request:review") ? null : NOT_GRANTED);
  if (why !== null) throw refused(why);
  const place = placeOf(repositoryUrl, options.githubHosts);
  if (typeof place === "string")
    throw refused(
      "Pull requests are reviewed at GitHub servers only, and this repository is at none that the server knows of: give its URL, and see RUNYARD_GITHUB_HOSTS.",
    );
  const number = numberOf(review.pullRequest, place);
  const token = await tokenFor(options, orgId, { place, use: "see-pull-request" }).catch((error: unknown) => {
    throw githubRefused(error, "review_not_possible");
  });
  if (token === null)
    throw refused(
      "There is no token for this repository, which a review takes: store one with `runyard credentials add URL --token-stdin`.",
    );
  const found = await options.readPullRequest({ place, token, number });
  requireNotStopped(await findStop(options.db, orgId, keyOf(found)));
  const inspected = await options.inspectRepository(repositoryUrl, found.baseBranch, orgId);
  return {
    inspected: { ...inspected, commit: found.headCommit },
    spec: { review: { ...found, place, event: review.event ?? "comment", markKey: randomBytes(16).toString("hex") } },
  };
}

/** Whether a review may begin, as its run is made: nobody stops its pull request beside that. Throws RunyardError `pull_request_stopped`. */
export async function requireReviewAllowed(tx: Pick<Tx, "query">, { review }: Pick<RunSpec, "review">): Promise<void> {
  if (review !== undefined) requireNotStopped(await holdStop(tx, keyOf(review)));
}

/** By which a pull request is stopped. */
function keyOf({ url }: Pick<PullRequestToReview, "url">): string {
  return url.toLowerCase();
}

function requireNotStopped(stop: PullRequestStop | null): void {
  if (stop === null) return;
  const message = `${stop.userName ?? stop.userId} has stopped all agents of ${stop.url}. Allow them again with \`runyard pr allow ${stop.url}\`.`;
  throw new RunyardError("pull_request_stopped", message);
}

const NOT_GRANTED = "The run is not granted what a review takes: the permission pull_request:review.";

/** What makes no sense, or does harm, where somebody else decides what is in the workspace. */
function whyNotBeside(input: Wish): string | null {
  const { branch, repositories = [], setup, verify = [], publish, pullRequest, watchChecks } = input;
  if (branch !== undefined) return "A run that reviews starts from its pull request: leave the branch out.";
  if ((publish !== undefined && publish !== "none") || pullRequest !== undefined || watchChecks === true)
    return "A run that reviews publishes nothing but its review: leave out what becomes of its result.";
  if (repositories.length > 0) return "A run that reviews has no further repositories: leave them out.";
  if (setup != null || verify.length > 0)
    return "A run that reviews has no set-up and verifies nothing, because the pull request decides what these would run: leave them out.";
  return null;
}

function numberOf(pullRequest: number | string, place: GithubPlace): number {
  if (typeof pullRequest === "number") return pullRequest;
  const parsed = parsePullRequestUrl(pullRequest);
  if (parsed === null) throw refused("The address of a pull request looks like https://github.com/acme/app/pull/7.");
  if (parsed.repository === place.tokenUrl.toLowerCase()) return parsed.number;
  throw refused(`The pull request ${parsed.href} is not one of the run's repository, ${place.tokenUrl}.`);
}

function refused(message: string): RunyardError {
  return new RunyardError("review_not_possible", message);
}
