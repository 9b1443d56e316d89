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

type Effect = Parameters<Performer["perform"]>[0];

/** Does effects whose payload has a `place` at GitHub, for which a run waits. `make` may reject with GithubError. */
export function githubPerformer(
  { tokenFor, fetchWith, now }: GithubPerformerOptions,
  make: (at: GithubClientOptions, effect: Effect) => Promise<Omit<Extract<TryResult, { readonly type: "done" }>, "type">>,
): Performer {
  return {
    policy: POLICY,
    async perform(effect, signal) {
      const { place } = effect.payload as { readonly place: GithubPlace };
      try {
        const token = await tokenFor(effect.org_id, place);
        if (token === null) {
          const message = `There is no token for ${place.tokenUrl} any more. Store one (runyard credentials add).`;
          return { type: "never", problem: { code: "no-credential", message } satisfies PullRequestProblem };
        }
        return { type: "done", ...(await make({ repository: place, token, fetch: fetchWith(signal), now }, effect)) };
      } catch (error) {
        if (!(error instanceof GithubError)) throw error;
        const { verdict } = error;
        if (verdict.type !== "exists") return verdict;
        // Somebody makes and closes the same at the same time.
        return { type: "later", retryAfterMs: null, problem: { code: "unavailable", message: error.message } satisfies PullRequestProblem };
      }
    },
  };
}
