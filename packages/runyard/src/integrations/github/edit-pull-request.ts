import { type ChangePullRequest, type PullRequest, RunyardError } from "@runyard/sdk/contract";
import { githubRefused } from "../../engine/github-refused.ts";
import type { GithubClient } from "./client.ts";
import { shown } from "./perform-pull-request.ts";

/** Changes what is not so yet, and gives the pull request as it is then. Throws RunyardError `pull_request_refused` or `unavailable`. */
export async function editPullRequest(client: GithubClient, number: number, { state, draft }: ChangePullRequest): Promise<PullRequest> {
  try {
    let pull = await client.get(number);
    if (pull.merged && (state === "open" || draft !== undefined))
      throw new RunyardError("pull_request_refused", `${pull.url} was merged, and stays as it is. \`runyard continue\` makes another one.`);
    if (state !== undefined && pull.state !== state) pull = await client.update(number, { state });
    if (draft !== undefined && pull.draft !== draft) {
      // There is no other way than by GraphQL.
      await client.setDraft(pull.nodeId, draft);
      pull = { ...pull, draft };
    }
    return shown(pull);
  } catch (error) {
    throw githubRefused(error, "pull_request_refused");
  }
}
