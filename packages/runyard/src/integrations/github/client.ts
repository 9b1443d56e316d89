import { request } from "@octokit/request";
import { z } from "zod";
import { createRedactor, type Redactor } from "../../redact.ts";
import { AddressRefused } from "../fetch-by-way.ts";
import type { GithubPlace } from "../../core/github-place.ts";
import type { FoundPullRequest } from "../../core/pull-request.ts";
import {
  GithubError,
  type GithubRefusal,
  type GithubVerdict,
  judgeAnswer,
  judgeForeign,
  judgeRefusedAddress,
  judgeSilence,
} from "../../core/github-answer.ts";

export { GithubError };

export interface GithubClientOptions {
  readonly repository: Pick<GithubPlace, "apiUrl" | "owner" | "name">;
  readonly token: string;
  /** How it is reached: guarded, and with an end. */
  readonly fetch: typeof fetch;
  readonly now: () => number;
}

/** The address of a page, which is shown, stored and looked for. */
// oxlint-disable-next-line no-control-regex -- control characters are what it must not have
export const pageSchema = z.string().regex(/^https?:\/\/[^\s\u0000-\u001f\u007f-\u009f]{1,2000}$/);

/** Of what GitHub says of a pull request, what is used here (REST, version 2022-11-28). */
const pullSchema = z.object({
  id: z.number().int(),
  number: z.number().int(),
  html_url: pageSchema,
  title: z.string(),
  body: z.string().nullable(),
  state: z.enum(["open", "closed"]),
  draft: z.boolean().optional(),
  merged_at: z.string().nullable(),
  created_at: z.string(),
  head: z.object({ ref: z.string() }),
  base: z.object({ ref: z.string() }),
  labels: z.array(z.object({ name: z.string() })),
  requested_reviewers: z.array(z.object({ login: z.string() })).nullish(),
  requested_teams: z.array(z.object({ slug: z.string() })).nullish(),
  node_id: z.string(),
});

/** A pull request with what is looked at before it is changed. */
export interface GithubPullRequest extends FoundPullRequest {
  readonly nodeId: string;
  readonly labels: readonly string[];
  /** Users and teams that are asked to review it. */
  readonly reviewers: readonly string[];
}

function fromPull(pull: z.output<typeof pullSchema>): GithubPullRequest {
  return {
    id: pull.id,
    number: pull.number,
    url: pull.html_url,
    title: pull.title,
    body: pull.body ?? "",
    state: pull.state,
    draft: pull.draft ?? false,
    merged: pull.merged_at !== null,
    createdAt: new Date(pull.created_at).toISOString(),
    headBranchName: pull.head.ref,
    baseBranchName: pull.base.ref,
    labels: pull.labels.map(({ name }) => name),
    reviewers: [...(pull.requested_reviewers ?? []).map(({ login }) => login), ...(pull.requested_teams ?? []).map(({ slug }) => slug)],
    nodeId: pull.node_id,
  };
}

const graphqlSchema = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z.array(z.object({ type: z.string().optional(), message: z.string() })).default([]),
});

const VERSION = "2022-11-28";
const PAGE = 100;

/** The way to one repository's part of GitHub's API: `ask` does one call of `call`. Rejects with GithubError; nothing is tried again. */
export function githubCalls({ repository: { apiUrl }, token, fetch, now }: GithubClientOptions) {
  const { host } = new URL(apiUrl);
  const redactor = createRedactor([], [{ name: "credential", value: token }]);
  const call = request.defaults({
    baseUrl: apiUrl,
    headers: { authorization: `Bearer ${token}`, "x-github-api-version": VERSION, "user-agent": "runyard" },
    request: { fetch, redirect: "manual", log: { warn: () => undefined } },
  });

  /** Makes of everything that can come of a call an answer of this shape or a GithubError. */
  async function ask<T>(
    schema: z.ZodType<T>,
    calling: Promise<{ readonly status: number; readonly headers: object; readonly data: unknown }>,
    judge?: (refusal: GithubRefusal) => GithubVerdict,
  ): Promise<T> {
    const answer = await calling.catch((error: unknown) => {
      const refusal = judge && refusalOf(error, redactor);
      throw refusal === undefined ? failureOf(error, { host, nowMs: now(), redactor }) : new GithubError(judge!(refusal));
    });
    if (answer.status >= 300)
      throw new GithubError(judgeAnswer({ status: answer.status, headers: {}, message: "", errors: [] }, { host, nowMs: now() }));
    const parsed = schema.safeParse(answer.data);
    if (!parsed.success) throw new GithubError(judgeForeign(host), parsed.error);
    return storable(parsed.data);
  }

  return { call, ask, masked: (text: string): string => redactor.text(text) };
}

export type GithubClient = ReturnType<typeof createGithubClient>;

/** The few calls of GitHub's API that pull requests take. Each rejects with GithubError, and is made once: whoever calls tries again. */
export function createGithubClient(options: GithubClientOptions) {
  const { apiUrl, owner, name: repo } = options.repository;
  const { host } = new URL(apiUrl);
  const { now } = options;
  const { call, ask, masked } = githubCalls(options);
  const pull = pullSchema.transform(fromPull);
  return {
    /** All pull requests, open and closed, of a branch of this repository. */
    list: (branch: string): Promise<GithubPullRequest[]> =>
      ask(
        z.array(pull),
        call("GET /repos/{owner}/{repo}/pulls", {
          owner,
          repo,
          head: `${owner}:${branch}`,
          state: "all",
          per_page: PAGE,
          sort: "created",
          direction: "desc",
        }),
      ),
    get: (number: number): Promise<GithubPullRequest> =>
      ask(pull, call("GET /repos/{owner}/{repo}/pulls/{pull_number}", { owner, repo, pull_number: number })),
    create: (wish: {
      readonly head: string;
      readonly base: string;
      readonly title: string;
      readonly body: string;
      readonly draft: boolean;
    }) => ask(pull, call("POST /repos/{owner}/{repo}/pulls", { owner, repo, ...wish })),
    update: (number: number, change: { readonly body?: string; readonly state?: "open" | "closed" }): Promise<GithubPullRequest> =>
      ask(pull, call("PATCH /repos/{owner}/{repo}/pulls/{pull_number}", { owner, repo, pull_number: number, ...change })),
    setDraft: async (nodeId: string, draft: boolean): Promise<void> => {
      const act = draft ? "convertPullRequestToDraft" : "markPullRequestReadyForReview";
      const query = `mutation($id: ID!) { ${act}(input: { pullRequestId: $id }) { pullRequest { isDraft } } }`;
      // At GitHub's own host it stands beside the REST API, elsewhere in its place.
      const url = `${apiUrl.replace(/\/v3$/, "")}/graphql`;
      const { data, errors } = await ask(graphqlSchema, call("POST /graphql", { url, query, variables: { id: nodeId } }));
      if (data?.[act]) return;
      const message = masked(errors[0]?.message ?? "It was not done");
      throw new GithubError(
        judgeAnswer({ status: errors[0]?.type === "NOT_FOUND" ? 404 : 403, headers: {}, message, errors: [] }, { host, nowMs: now() }),
      );
    },
    addLabels: async (number: number, labels: readonly string[]): Promise<void> => {
      const adding = call("POST /repos/{owner}/{repo}/issues/{issue_number}/labels", {
        owner,
        repo,
        issue_number: number,
        labels: [...labels],
      });
      await ask(z.array(z.unknown()), adding);
    },
    requestReviewers: async (number: number, reviewers: readonly string[]): Promise<void> => {
      const asking = call("POST /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers", {
        owner,
        repo,
        pull_number: number,
        reviewers: reviewers.filter((name) => !name.includes("/")),
        team_reviewers: reviewers.filter((name) => name.includes("/")).map(teamOf),
      });
      await ask(pull, asking);
    },
  };
}

/** The short name of a team, as GitHub has it in lists. */
export function teamOf(reviewer: string): string {
  return reviewer.slice(reviewer.indexOf("/") + 1);
}

const refusalSchema = z.object({
  message: z.string().catch(""),
  errors: z
    .array(
      z.union([z.string(), z.looseObject({ message: z.string().optional(), field: z.string().optional(), code: z.string().optional() })]),
    )
    .catch([]),
});

function failureOf(
  error: unknown,
  { redactor, ...at }: { readonly host: string; readonly nowMs: number; readonly redactor: Redactor },
): GithubError {
  const refusal = refusalOf(error, redactor);
  // The request stays behind: nobody is to come by the token.
  if (refusal !== undefined) return new GithubError(judgeAnswer(refusal, at));
  const inner = innermost(error);
  if (inner instanceof GithubError) return inner;
  const why = inner instanceof Error ? inner.message : String(inner);
  return new GithubError(inner instanceof AddressRefused ? judgeRefusedAddress(why, at.host) : judgeSilence(why, at.host), error);
}

/** The answer of which a call's error tells; undefined: there was none. In a server's words the token is masked, which was shown to it. */
function refusalOf(error: unknown, redactor: Redactor): GithubRefusal | undefined {
  const response = responseOf(error);
  if (response === undefined) return undefined;
  const said = refusalSchema.safeParse(storable(response.data));
  const { message, errors } = said.success ? said.data : { message: "", errors: [] };
  const words = errors.map((one) => (typeof one === "string" ? one : (one.message ?? [one.field, one.code].filter(Boolean).join(" "))));
  const { status, headers } = response;
  return { status, headers, message: redactor.text(message), errors: words.map((one) => redactor.text(one)) };
}

/** What the client puts into its errors where there was an answer. */
function responseOf(
  error: unknown,
): { readonly status: number; readonly data: unknown; readonly headers: Record<string, string | undefined> } | undefined {
  return error instanceof Error && "response" in error ? (error.response as ReturnType<typeof responseOf>) : undefined;
}

/** What others wrote, as PostgreSQL takes it: it reads no JSON with NUL or half a surrogate pair in it, which JSON itself can name. */
function storable<T>(value: T): T {
  if (typeof value === "string") return value.replaceAll(UNSTORABLE, "\ufffd") as T;
  if (Array.isArray(value)) return value.map((one: unknown) => storable(one)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, storable(one as unknown)])) as T;
}

const UNSTORABLE = /[\0\p{Cs}]/gu;

/** Of errors that stand for others, the one that says what happened. */
function innermost(error: unknown): unknown {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner;
}
