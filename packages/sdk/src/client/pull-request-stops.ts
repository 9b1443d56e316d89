import type { PullRequestState } from "../contract/pull-request-stops.ts";
import { checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

/** Pull requests that runs have to do with: `client.pullRequests`. */
export interface PullRequests {
  /**
   * Stops all agents of a pull request: cancels every run that made it or goes on with it, and lets none of them go on before it is
   * allowed again. Given is the address of its page, or the id of a run of it. Doing it twice is harmless.
   *
   * @example
   * ```ts
   * const { cancelled } = await client.pullRequests.stop("https://github.com/acme/app/pull/7");
   * await client.pullRequests.allow("https://github.com/acme/app/pull/7");
   * ```
   */
  stop(pullRequest: string, options?: RequestOptions): Promise<PullRequestState>;

  /** Takes that back: its runs may be continued. Doing it twice is harmless. */
  allow(pullRequest: string, options?: RequestOptions): Promise<PullRequestState>;
}

export function createPullRequestStops(transport: Transport): PullRequests {
  const post =
    (route: "stopPullRequest" | "allowPullRequest") =>
    async (pullRequest: string, options?: RequestOptions): Promise<PullRequestState> => {
      const path = pathOf(route, {});
      const answer = await transport.json(
        { method: "POST", path, accept: "application/json", body: { pullRequest }, repeatable: true },
        options,
      );
      return checked(answer, { url: "string" }) as PullRequestState;
    };
  return { stop: post("stopPullRequest"), allow: post("allowPullRequest") };
}
