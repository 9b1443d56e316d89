import { type ApiErrorCode, RunyardError } from "@runyard/sdk/contract";
import { GithubError } from "../core/github-answer.ts";

/** For a user, what GitHub did not do: `code`, or `unavailable` where it may pass. Any other error stays as it is. */
export function githubRefused(error: unknown, code: ApiErrorCode, before = ""): unknown {
  if (!(error instanceof GithubError)) return error;
  return new RunyardError(error.verdict.type === "later" ? "unavailable" : code, `${before}${error.message}`, { cause: error });
}
