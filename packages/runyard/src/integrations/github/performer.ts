import type { PullRequestProblem } from "@runyard/sdk/contract";
import type { GithubPlace } from "../../core/github-place.ts";
import type { Performer, TryResult } from "../../engine/outbox.ts";
import { type GithubClientOptions, GithubError } from "./client.ts";

/** Longer than a server's moment of weakness, shorter than anybody's who waits for the run. */
const POLICY = { firstMs: 1_000, longestMs: 60_000, patienceMs: 10 * 60_000 };

/** What a run waits for, as it is asked of GitHub. */
export interface GithubPerformerOptions {
  /** Null: there is none any more. Rejects with GithubError where an app gets none. */
  readonly tokenFor: (orgId: string, place: GithubPlace) => Promise<string | null>;
  readonly fetchWith: (signal: AbortSignal) => typeof fetch;
  readonly now: () => number;
}

type Done = Extract<TryResult, { readonly type: "done" }>;

/** Does effects whose payload has a `place` at GitHub, for which a run waits. `make` may reject with GithubError. */
export function githubPerformer<Effect extends { readonly place: GithubPlace }>(
  { tokenFor, fetchWith, now }: GithubPerformerOptions,
  make: (
    at: GithubClientOptions,
    effect: Effect,
    run: { readonly id: string | null; readonly orgId: string },
  ) => Promise<Omit<Done, "type">>,
): Performer {
  return {
    policy: POLICY,
    async perform({ org_id: orgId, run_id: id, payload }, signal) {
      const effect = payload as Effect;
      const { place } = effect;
      try {
        const token = await tokenFor(orgId, place);
        if (token === null) {
          const message = `There is no token for ${place.tokenUrl} any more. Store one (runyard credentials add).`;
          return { type: "never", problem: { code: "no-credential", message } satisfies PullRequestProblem };
        }
        return { type: "done", ...(await make({ repository: place, token, fetch: fetchWith(signal), now }, effect, { id, orgId })) };
      } catch (error) {
        if (!(error instanceof GithubError)) throw error;
        const { verdict } = error;
        // Somebody makes and closes the same at the same time.
        if (verdict.type === "exists")
          return {
            type: "later",
            retryAfterMs: null,
            problem: { code: "unavailable", message: error.message } satisfies PullRequestProblem,
          };
        return verdict;
      }
    },
  };
}
