import type { PullRequestProblem, PullRequestProblemCode } from "@runyard/sdk/contract";
import { plainLine } from "./neutral-text.ts";

/** What GitHub's API answered to a call that did not do what was asked. */
export interface GithubRefusal {
  readonly status: number;
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly message: string;
  /** What it found wrong with each field. */
  readonly errors: readonly string[];
}

/** What such an answer means: whether somebody else was faster, it may pass, or it stays so. */
export type GithubVerdict =
  | { readonly type: "exists" }
  | { readonly type: "later"; readonly retryAfterMs: number | null; readonly problem: PullRequestProblem }
  | { readonly type: "never"; readonly problem: PullRequestProblem };

/** A call that did not do what was asked. */
export class GithubError extends Error {
  override readonly name = "GithubError";
  readonly verdict: GithubVerdict;
  constructor(verdict: GithubVerdict, cause?: unknown) {
    super(verdict.type === "exists" ? "There is such a pull request already" : verdict.problem.message, { cause });
    this.verdict = verdict;
  }
}

const QUOTED_CHARS = 300;

/** What the other side said, as part of a sentence. */
export function quotedAnswer({ status, message, errors }: GithubRefusal): string {
  const said = plainLine([message, ...errors].filter((text) => text !== "").join("; "), QUOTED_CHARS).replace(/\.+$/, "");
  return said === "" ? `GitHub answered ${status}` : `GitHub answered ${status}: ${said}`;
}

/** How long it asks to be left alone, in milliseconds: by `Retry-After` in seconds, else until its limit is set back. */
function retryAfterMs({ headers }: GithubRefusal, nowMs: number): number | null {
  const after = headers["retry-after"];
  if (after !== undefined && /^\d{1,12}$/.test(after)) return Number(after) * 1_000;
  const reset = headers["x-ratelimit-reset"];
  if (headers["x-ratelimit-remaining"] !== "0" || reset === undefined || !/^\d{1,12}$/.test(reset)) return null;
  return Math.max(0, Number(reset) * 1_000 - nowMs);
}

function isLimit({ status, headers, message }: GithubRefusal): boolean {
  if (status === 429) return true;
  if (status !== 403) return false;
  return headers["retry-after"] !== undefined || headers["x-ratelimit-remaining"] === "0" || /rate limit|abuse detection/i.test(message);
}

/** What an answer means for a pull request. `host` is the host of the API, for sentences. */
export function judgeAnswer(refusal: GithubRefusal, { host, nowMs }: { readonly host: string; readonly nowMs: number }): GithubVerdict {
  const { status, message, errors } = refusal;
  const said = quotedAnswer(refusal);
  const never = (code: PullRequestProblemCode, advice: string): GithubVerdict => ({
    type: "never",
    problem: { code, message: `${said}. ${advice}` },
  });
  if (isLimit(refusal)) {
    const problem = { code: "rate-limited", message: `${said}. ${host} limits how often it is asked.` } as const;
    return { type: "later", retryAfterMs: retryAfterMs(refusal, nowMs), problem };
  }
  const all = [message, ...errors].join("\n");
  if (status === 422 && /pull request already exists/i.test(all)) return { type: "exists" };
  if (status === 422 && /no commits between/i.test(all))
    return never("nothing-to-merge", "The branch that the pull request would go to has all of it already.");
  if (status === 422 && /^base invalid$/im.test(all)) {
    const advice = "The branch that the pull request would go to is not there any more: make it again and continue the run";
    return never("base-gone", `${advice}, or open the pull request to another one by hand.`);
  }
  if (status === 403 && /archived/i.test(all)) return never("archived", "Take the repository out of the archive, and continue the run.");
  if (status === 401) return never("not-authenticated", `Give ${host} another credential: \`runyard credentials add\`.`);
  if (status === 403) return never("not-allowed", "Give the credential the right to write pull requests of this repository.");
  if (status === 404) return never("not-found", "There is no such repository, or the credential may not see its pull requests.");
  if (status >= 300 && status < 400)
    return never("moved", "The repository has moved: open the pull request by hand, and give new runs its present URL.");
  // A merge of the same branch is under way, or something else that does not last.
  if (status >= 500 || status === 408 || status === 409)
    return { type: "later", retryAfterMs: retryAfterMs(refusal, nowMs), problem: { code: "unavailable", message: `${said}.` } };
  return never("refused", "What the run made is on its branch; open the pull request by hand, or change what was wished for.");
}

/** The same of a call without an answer. */
export function judgeSilence(why: string, host: string): GithubVerdict {
  return {
    type: "later",
    retryAfterMs: null,
    problem: { code: "unavailable", message: `${host} could not be reached: ${plainLine(why, QUOTED_CHARS)}.` },
  };
}

/** The same of a host that is not called. */
export function judgeRefusedAddress(why: string, host: string): GithubVerdict {
  const advice = "An administrator can allow its host with RUNYARD_REPOSITORY_HOSTS for `runyard up`";
  return {
    type: "never",
    problem: { code: "address-refused", message: `${host} is not called: ${plainLine(why, QUOTED_CHARS)}. ${advice}.` },
  };
}

/** The same of an answer that is none of GitHub's. */
export function judgeForeign(host: string): GithubVerdict {
  return {
    type: "never",
    problem: { code: "not-github", message: `What ${host} answered is not what GitHub's API answers. Is it a GitHub server?` },
  };
}
