import type { ChangePullRequest, PullRequest } from "../contract/pull-requests.ts";
import { checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

/** The pull request of a run. */
export interface RunPullRequests {
  /**
   * Looks at the newest pull request of a run, as it is at GitHub now; with a change, closes or reopens it, or makes it a draft or
   * ready. Doing it twice is harmless.
   *
   * @example
   * ```ts
   * const { state, merged } = await client.runs.pullRequest(run.id);
   * if (state === "open") await client.runs.pullRequest(run.id, { draft: false });
   * ```
   */
  pullRequest(id: string, change?: ChangePullRequest, options?: RequestOptions): Promise<PullRequest>;
}

export function createPullRequests(transport: Transport): RunPullRequests {
  return {
    pullRequest: async (id, change = {}, options) => {
      const path = pathOf("changePullRequest", { id });
      const answer = await transport.json({ method: "POST", path, accept: "application/json", body: change, repeatable: true }, options);
      return checked(answer, { number: "number", url: "string" }) as PullRequest;
    },
  };
}
