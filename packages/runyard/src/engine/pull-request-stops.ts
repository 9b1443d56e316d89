import { type namePullRequestSchema, type PullRequestState, type PullRequestStop, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import { parsePullRequestUrl } from "../core/pull-request-url.ts";
import { QUEUED, transition } from "../core/run-machine.ts";
import { personOf } from "../store/answer-permission.ts";
import { allowPullRequest, findStop, repositoryUrls, stopPullRequest, urlOfKnown } from "../store/pull-request-stops.ts";
import { pullRequestsOf } from "../store/pull-requests.ts";
import type { StoredRun } from "../store/runs.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { placeOf } from "./publishing.ts";
import { control } from "./wakes.ts";

interface Named {
  readonly url: string;
  /** By which it is stopped. */
  readonly key: string;
}

/** All agents of a pull request, stopped by a person until somebody allows them to go on. */
export function createPullRequestStops(options: EngineOptions, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  const { db, wakes } = options;

  /** Throws RunyardError `pull_request_not_found`, `no_pull_request` or `run_not_found`. */
  async function find(orgId: string, words: string): Promise<Named> {
    if (words.startsWith("run_")) return ofRun(orgId, words);
    const parsed = parsePullRequestUrl(words);
    if (parsed === null) throw notFound("The address of a pull request looks like https://github.com/acme/app/pull/7.");
    const known = await urlOfKnown(db, orgId, parsed.key);
    if (known !== undefined) return { url: known, key: parsed.key };
    // It may be about to be told of by the run that has just opened it.
    const places = (await repositoryUrls(db, orgId)).map((url) => placeOf(url, options.githubHosts));
    if (places.some((place) => typeof place !== "string" && place.tokenUrl.toLowerCase() === parsed.repository))
      return { url: parsed.href, key: parsed.key };
    throw notFound(`No repository that runs of this organization work on has the pull request ${parsed.href}.`);
  }

  async function ofRun(orgId: string, runId: string): Promise<Named> {
    const { run } = await load(orgId, runId);
    const url = run.spec.review?.url ?? (await pullRequestsOf(db, orgId, runId)).at(-1)?.url;
    if (url === undefined)
      throw new RunyardError("no_pull_request", `Run ${runId} has no pull request (yet). To end the run alone, cancel it.`);
    return { url, key: url.toLowerCase() };
  }

  async function show(orgId: string, { url, key }: Named, cancelled: string[]): Promise<PullRequestState> {
    const stop = await findStop(db, orgId, key);
    if (stop === null) return { url, stopped: null, cancelled };
    const { url: _, ...stopped } = stop;
    return { url, stopped, cancelled };
  }

  return {
    /** Cancels every run of the pull request that has not ended; a second time, those that have been made since. */
    async stopPullRequest(principal: Principal, { pullRequest }: z.output<typeof namePullRequestSchema>): Promise<PullRequestState> {
      const { orgId } = principal;
      const found = await find(orgId, pullRequest);
      const { userId, userName } = await personOf(db, principal);
      const reason = `All agents of ${found.url} were stopped by ${userName ?? userId}`;
      const decided = transition(QUEUED, { type: "cancelled", reason });
      const events = decided.ok ? decided.events : [];
      const cancelled = await stopPullRequest(db, { orgId, ...found, userId, reason, events });
      for (const runId of cancelled) for (const topic of [runId, control(runId)]) wakes.notify(topic);
      return show(orgId, found, cancelled);
    },

    async allowPullRequest({ orgId }: Principal, { pullRequest }: z.output<typeof namePullRequestSchema>): Promise<PullRequestState> {
      const found = await find(orgId, pullRequest);
      await allowPullRequest(db, orgId, found.key);
      return show(orgId, found, []);
    },
  };
}

function notFound(message: string): RunyardError {
  return new RunyardError("pull_request_not_found", message);
}

export function stoppedError(runId: string, { url, userId, userName, at }: PullRequestStop): RunyardError {
  return new RunyardError(
    "pull_request_stopped",
    `Run ${runId} does not go on: ${userName ?? userId} has stopped all agents of ${url} at ${at}. Allow them again with \`runyard pr allow ${url}\`, or continue with \`allowPullRequest\` (--allow-pull-request), which does the same.`,
  );
}
