import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { FakeApp } from "./github-app.ts";
import { githubOperation } from "./github-openapi.ts";

/** A pull request as the fake keeps it. */
export interface FakePull {
  readonly number: number;
  title: string;
  body: string | null;
  state: "open" | "closed";
  mergedAt: string | null;
  draft: boolean;
  readonly head: string;
  base: string;
  labels: string[];
  reviewers: string[];
  teams: string[];
}

/** What the fake does with the next requests that fit, in place of what it would. */
export interface Fault {
  /** As `POST /pulls`: the method and how the path ends. */
  readonly on: string;
  /** `cut`: the connection ends without an answer. `lose`: the same, but it is done first. */
  readonly answer:
    | "cut"
    | "lose"
    | {
        readonly status: number;
        readonly message?: string;
        readonly errors?: readonly unknown[];
        readonly headers?: Record<string, string>;
        readonly text?: string;
      };
  /** Default: once. */
  readonly times?: number;
  readonly delayMs?: number;
}

export interface FakeGithub {
  /** The host of its git and API, as `http://127.0.0.1:1234`; the API is below `/api/v3`. */
  readonly url: string;
  readonly pulls: FakePull[];
  /** What was asked for, as `POST /repos/acme/app/pulls`, with what the bearer was. */
  readonly requests: { readonly line: string; readonly token: string | null }[];
  fail(fault: Fault): void;
  /** Answers a request of another server's, where it is one of the API. */
  answer(request: IncomingMessage, response: ServerResponse): boolean;
  /** Called with the line of each request, before and after it is done; what it returns is waited for. */
  watch(watcher: ((line: string, when: "before" | "after") => void | Promise<void>) | null): void;
  close(): Promise<void>;
}

export interface FakeGithubOptions {
  readonly token: string;
  /** `owner/name` of the repository that there is. */
  readonly repository: string;
  /** Whether a branch has something that another one has not; default: every branch that is asked for. */
  readonly hasCommits?: (head: string, base: string) => boolean;
  /** An app that gets tokens of its own. */
  readonly app?: FakeApp;
  /** Routes beside those of pull requests; their lines are without the repository, as `GET /pulls`. */
  readonly more?: readonly FakeRoute[];
  /** Where its pages are said to be; default: at its own address. */
  readonly url?: string;
}

/** What the fake answers to lines that fit. */
export type FakeRoute = readonly [pattern: RegExp, act: (match: RegExpMatchArray, query: URLSearchParams, body: unknown) => FakeAnswer];

export interface FakeAnswer {
  readonly status: number;
  readonly data: unknown;
  readonly headers?: Record<string, string>;
}

/** Answers that the fake gives in GitHub's own words. */
export class Refusal extends Error {
  readonly status: number;
  readonly errors: readonly unknown[];
  readonly headers: Record<string, string>;
  constructor(
    status: number,
    message: string,
    more: { readonly errors?: readonly unknown[]; readonly headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.status = status;
    this.errors = more.errors ?? [];
    this.headers = more.headers ?? {};
  }
}

/** GraphQL is not in GitHub's OpenAPI description. */
const graphqlSchema = z.strictObject({ query: z.string(), variables: z.strictObject({ id: z.string() }) });

/** Bodies of the routes that are used, once they are known to be as GitHub describes them. */
interface Bodies {
  readonly create: Pick<FakePull, "title" | "head" | "base" | "body" | "draft">;
  readonly update: Partial<Pick<FakePull, "title" | "body" | "state" | "base">>;
  readonly labels: { readonly labels: readonly string[] };
  readonly reviewers: { readonly reviewers: readonly string[]; readonly team_reviewers: readonly string[] };
}

/** Not in the description, and refused all the same. */
const MAX_BODY_CHARS = 65_536;

function requireShort({ body }: { readonly body?: string | null }): void {
  if ((body ?? "").length > MAX_BODY_CHARS)
    throw invalid({ field: "body", code: "custom", message: "body is too long (maximum is 65536 characters)" });
}

function invalid(error: Record<string, string>): Refusal {
  return new Refusal(422, "Validation Failed", { errors: [{ resource: "PullRequest", ...error }] });
}

/** GitHub knows conclusions that its description does not name, and may learn others; the repository of a head is null once it is deleted. */
const knowsBetter = ({ instancePath, keyword }: { readonly instancePath: string; readonly keyword: string }): boolean =>
  (/\/check_runs\/\d+\/conclusion$/.test(instancePath) && ["enum", "type", "anyOf"].includes(keyword)) ||
  (instancePath === "/head/repo" && keyword === "type");

/**
 * A server on the loopback that answers as GitHub's REST API does, for the routes that are used, and keeps what it is told. What
 * it is asked, and what it answers, must be as GitHub's OpenAPI description has it.
 */
export async function startFakeGithub(options: FakeGithubOptions): Promise<FakeGithub> {
  const { token, repository, hasCommits = () => true } = options;
  const [owner] = repository.split("/");
  const pulls: FakePull[] = [];
  const requests: { line: string; token: string | null }[] = [];
  const faults: { fault: Fault; left: number }[] = [];
  let watcher: Parameters<FakeGithub["watch"]>[0] = null;

  const show = (pull: FakePull) => ({
    id: 9_000_000_000 + pull.number,
    node_id: `PR_${pull.number}`,
    number: pull.number,
    html_url: `${url}/${repository}/pull/${pull.number}`,
    title: pull.title,
    body: pull.body,
    state: pull.state,
    draft: pull.draft,
    merged_at: pull.mergedAt,
    created_at: "2026-01-02T03:04:05Z",
    head: { ref: pull.head, label: `${owner}:${pull.head}` },
    base: { ref: pull.base },
    labels: pull.labels.map((name) => ({ name })),
    requested_reviewers: pull.reviewers.map((login) => ({ login })),
    requested_teams: pull.teams.map((slug) => ({ slug })),
  });
  const find = (number: string | undefined): FakePull => {
    const pull = pulls.find((one) => one.number === Number(number));
    if (pull === undefined) throw new Refusal(404, "Not Found");
    return pull;
  };

  function graphql(body: unknown): unknown {
    const { query, variables } = graphqlSchema.parse(body);
    const [, name] =
      /^mutation\(\$id: ID!\) \{ (\w+)\(input: \{ pullRequestId: \$id \}\) \{ pullRequest \{ isDraft \} \} \}$/.exec(query) ?? [];
    const pull = pulls.find((one) => `PR_${one.number}` === variables.id);
    if (name !== "convertPullRequestToDraft" && name !== "markPullRequestReadyForReview")
      return { errors: [{ message: `Field '${name}' doesn't exist on type 'Mutation'` }] };
    if (pull === undefined) return { data: { [name]: null }, errors: [{ type: "NOT_FOUND", message: "Could not resolve to a node" }] };
    pull.draft = name === "convertPullRequestToDraft";
    return { data: { [name]: { pullRequest: { isDraft: pull.draft } } } };
  }

  const routes: readonly FakeRoute[] = [
    ...(options.more ?? []),
    [
      /^GET \/pulls$/,
      (_, query) => {
        const [headOwner, head] = (query.get("head") ?? "").split(":");
        const isWanted = ({ state }: FakePull): boolean => query.get("state") === "all" || state === (query.get("state") ?? "open");
        const found = pulls.filter((pull) => headOwner === owner && pull.head === head && isWanted(pull));
        return { status: 200, data: found.map(show) };
      },
    ],
    [/^GET \/pulls\/(\d+)$/, ([, number]) => ({ status: 200, data: show(find(number)) })],
    [
      /^POST \/pulls$/,
      (_, __, body) => {
        const wish = body as Bodies["create"];
        if (!wish.title) throw invalid({ field: "title", code: "missing_field" });
        requireShort(wish);
        if (pulls.some((pull) => pull.state === "open" && pull.head === wish.head && pull.base === wish.base))
          throw invalid({ code: "custom", message: `A pull request already exists for ${owner}:${wish.head}.` });
        if (!hasCommits(wish.head, wish.base))
          throw invalid({ code: "custom", message: `No commits between ${wish.base} and ${wish.head}` });
        const pull: FakePull = { number: pulls.length + 1, state: "open", mergedAt: null, labels: [], reviewers: [], teams: [], ...wish };
        pulls.push(pull);
        return { status: 201, data: show(pull) };
      },
    ],
    [
      /^PATCH \/pulls\/(\d+)$/,
      ([, number], _, body) => {
        const pull = find(number);
        const { state, ...change } = body as Bodies["update"];
        requireShort(change);
        if (state === "open" && pull.mergedAt !== null) throw invalid({ field: "state", code: "invalid" });
        Object.assign(pull, change, state === undefined ? {} : { state });
        return { status: 200, data: show(pull) };
      },
    ],
    [
      /^POST \/issues\/(\d+)\/labels$/,
      ([, number], _, body) => {
        const pull = find(number);
        pull.labels = [...new Set([...pull.labels, ...(body as Bodies["labels"]).labels])];
        return { status: 200, data: pull.labels.map((name) => ({ name })) };
      },
    ],
    [
      /^POST \/pulls\/(\d+)\/requested_reviewers$/,
      ([, number], _, body) => {
        const pull = find(number);
        const wish = body as Bodies["reviewers"];
        if (wish.reviewers.includes("stranger"))
          throw new Refusal(
            422,
            "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator.",
          );
        pull.reviewers = [...new Set([...pull.reviewers, ...wish.reviewers])];
        pull.teams = [...new Set([...pull.teams, ...wish.team_reviewers])];
        return { status: 201, data: show(pull) };
      },
    ],
  ];

  function act(line: string, request: IncomingMessage, { query, body }: { query: URLSearchParams; body: string }): FakeAnswer {
    const [method = "", path = ""] = line.split(" ");
    const shown = request.headers.authorization?.replace(/^Bearer /, "");
    const isOurs = shown === token;
    if (!isOurs && options.app === undefined) throw new Refusal(401, "Bad credentials");
    if (!isOurs) options.app?.admit(line, { shown, repository });
    if (request.headers["x-github-api-version"] !== "2022-11-28" || !request.headers["user-agent"])
      throw new Refusal(403, "Request forbidden by administrative rules.");
    if (line === "POST /graphql") return { status: 200, data: graphql(JSON.parse(body)) };
    const operation = githubOperation({ method, path });
    if (operation === null) throw new Refusal(404, "Not Found");
    const errors = operation.faults({ method, path, query, contentType: request.headers["content-type"], body });
    if (errors.length > 0) throw new Refusal(422, "Invalid request.", { errors });
    const here = line.replace(` /repos/${repository}/`, " /");
    const isThere = here !== line || path.startsWith("/app/");
    const route = isThere ? [...routes, ...(options.app?.routes ?? [])].find(([pattern]) => pattern.test(here)) : undefined;
    if (route === undefined) throw new Refusal(404, "Not Found");
    const answer = route[1](route[0].exec(here)!, query, body === "" ? undefined : JSON.parse(body));
    return { ...answer, data: operation.answer(answer.status, answer.data, knowsBetter) };
  }

  const answer = (request: IncomingMessage, response: ServerResponse): boolean => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://fake");
    if (!pathname.startsWith("/api/v3/") && pathname !== "/api/graphql") return false;
    void serve(request, response, { line: `${request.method} ${pathname.replace(/^\/api(\/v3)?/, "")}`, query: searchParams });
    return true;
  };
  const server = createServer((request, response) => void (answer(request, response) || response.writeHead(404).end()));

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    { line, query }: { line: string; query: URLSearchParams },
  ): Promise<void> {
    const body = Buffer.concat(await request.toArray()).toString();
    requests.push({ line, token: request.headers.authorization?.replace(/^Bearer /, "") ?? null });
    await watcher?.(line, "before");
    const due = faults.find(
      ({ fault, left }) => left > 0 && line.startsWith(fault.on.split(" ")[0]!) && line.endsWith(fault.on.split(" ")[1]!),
    );
    const fault = due?.fault;
    if (due !== undefined) due.left -= 1;
    if (fault?.delayMs !== undefined) await sleep(fault.delayMs);
    if (fault?.answer === "cut") return void response.destroy();
    const send = (status: number, data: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers }).end(JSON.stringify(data));
    };
    if (fault !== undefined && fault.answer !== "lose") {
      const { status, message = "", errors, headers = {}, text } = fault.answer;
      if (text !== undefined) return void response.writeHead(status, { "content-type": "text/html", ...headers }).end(text);
      return send(status, { message, ...(errors && { errors }), documentation_url: "https://docs.github.com/rest" }, headers);
    }
    try {
      const { status, data, headers } = act(line, request, { query, body });
      await watcher?.(line, "after");
      if (fault?.answer === "lose") return void response.destroy();
      send(status, data, headers);
    } catch (error) {
      if (error instanceof Refusal) return send(error.status, { message: error.message, errors: error.errors }, error.headers);
      // A fault of the fake, which the test that asked is to fail of.
      response.destroy();
      throw error;
    }
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = options.url ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    pulls,
    requests,
    answer,
    fail: (fault) => void faults.push({ fault, left: fault.times ?? 1 }),
    watch: (next) => void (watcher = next),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
