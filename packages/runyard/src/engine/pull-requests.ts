import { type ChangePullRequest, type PullRequest, RunyardError } from "@runyard/sdk/contract";
import type { GithubUse } from "../core/github-app.ts";
import type { GithubPlace } from "../core/github-place.ts";
import { notePullRequest, pullRequestsOf } from "../store/pull-requests.ts";
import { publishOf } from "../store/run-row.ts";
import type { StoredRun } from "../store/runs.ts";
import type { EngineOptions } from "./engine.ts";
import { githubRefused } from "./github-refused.ts";
import type { Principal } from "./identity.ts";
import { tokenFor } from "./publishing.ts";

/** Changes a pull request, or only looks at it. Throws RunyardError `pull_request_refused` or `unavailable`. */
export type PullRequestEditor = (
  at: { readonly place: GithubPlace; readonly token: string; readonly number: number },
  change: ChangePullRequest,
) => Promise<PullRequest>;

/** How a run's pull request stands: asked of GitHub, or said to it, by a person. */
export function createPullRequests(options: EngineOptions, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  const { db } = options;
  return {
    /** That of the run's newest, as it is then. Doing it twice is harmless. */
    async changePullRequest({ orgId }: Principal, runId: string, change: ChangePullRequest): Promise<PullRequest> {
      const { run } = await load(orgId, runId);
      const made = (await pullRequestsOf(db, orgId, runId)).at(-1);
      const place = run.spec.pullRequest?.place;
      if (made === undefined || place === undefined)
        throw new RunyardError("no_pull_request", `Run ${runId} has no pull request. \`publish\` and \`result\` of the run say why.`);
      const isLook = change.state === undefined && change.draft === undefined;
      if (!isLook && publishOf(run) !== "pull_request")
        throw new RunyardError("pull_request_refused", "The run is not granted what its pull request takes: pull_request:create.");
      const token = await tokenFor(options, orgId, { place, use: useOf(change) }).catch((error: unknown) => {
        throw githubRefused(error, "pull_request_refused");
      });
      if (token === null)
        throw new RunyardError(
          "pull_request_refused",
          `There is no token for ${place.tokenUrl} any more. Store one: runyard credentials add.`,
        );
      const now = await options.editPullRequest({ place, token, number: made.number }, change);
      await db.inOrganization(orgId, (tx) => notePullRequest(tx, { id: runId, orgId }, now));
      return now;
    },
  };
}

function useOf({ state, draft }: ChangePullRequest): GithubUse {
  if (draft !== undefined) return "draft";
  return state === undefined ? "see-pull-request" : "pull-request";
}
