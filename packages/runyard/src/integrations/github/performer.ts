import type { GithubPlace } from "../../core/github-place.ts";
import type { PerformedPullRequest, PullRequestEffect } from "../../core/pull-request.ts";
import type { Performer, TryResult } from "../../engine/outbox.ts";
import { createGithubClient, GithubError } from "./client.ts";
import { performPullRequest } from "./perform-pull-request.ts";

/** Longer than a server's moment of weakness, shorter than anybody's who waits for the run. */
const POLICY = { firstMs: 1_000, longestMs: 60_000, patienceMs: 10 * 60_000 };

export interface PullRequestPerformerOptions {
  /** Null: there is none any more. Rejects with GithubError where an app gets none. */
  readonly tokenFor: (orgId: string, place: GithubPlace) => Promise<string | null>;
  readonly fetchWith: (signal: AbortSignal) => typeof fetch;
  readonly now: () => number;
  /** Stores the pull request, with the end of the effect. */
  readonly record: (
    run: { readonly id: string; readonly orgId: string },
    made: PerformedPullRequest,
  ) => Extract<TryResult, { type: "done" }>["also"];
}

/** Does effects of the kind `PULL_REQUEST_EFFECT`. */
export function pullRequestPerformer({ tokenFor, fetchWith, now, record }: PullRequestPerformerOptions): Performer {
  return {
    policy: POLICY,
    async perform({ org_id: orgId, run_id: id, payload }, signal) {
      const { place, wish } = payload as PullRequestEffect;
      try {
        const token = await tokenFor(orgId, place);
        if (token === null) {
          const message = `There is no token for ${place.tokenUrl} any more. Store one (runyard credentials add).`;
          return { type: "never", problem: { code: "no-credential", message } };
        }
        const made = await performPullRequest(createGithubClient({ repository: place, token, fetch: fetchWith(signal), now }), wish);
        const also = id === null ? undefined : record({ id, orgId }, made);
        return { type: "done", outcome: made, ...(also && { also }) };
      } catch (error) {
        if (!(error instanceof GithubError)) throw error;
        const { verdict } = error;
        // Somebody makes and closes pull requests of the same branch at the same time.
        if (verdict.type === "exists")
          return { type: "later", retryAfterMs: null, problem: { code: "unavailable", message: error.message } };
        return verdict;
      }
    },
  };
}
