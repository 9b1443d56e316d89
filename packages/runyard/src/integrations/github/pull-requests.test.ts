import { afterEach, beforeEach, expect, test } from "vitest";
import { pullRequestBody, type PullRequestStory, type PullRequestWish, runMark } from "../../core/pull-request.ts";
import { type FakeGithub, type Fault, startFakeGithub } from "../../testing/github.ts";
import { createGithubClient, type GithubClient, GithubError } from "./client.ts";
import { editPullRequest } from "./edit-pull-request.ts";
import { performPullRequest } from "./perform-pull-request.ts";

const TOKEN = "ghp_canary";
const HEADERS = { authorization: `Bearer ${TOKEN}`, "x-github-api-version": "2022-11-28", "user-agent": "tests" };
let fake: FakeGithub;
let client: GithubClient;
beforeEach(async () => {
  fake = await startFakeGithub({ token: TOKEN, repository: "acme/app", hasCommits: (head) => head !== "empty" });
  client = clientWith(TOKEN);
});
afterEach(() => fake.close());

function clientWith(token: string, name = "app"): GithubClient {
  return createGithubClient({ repository: { apiUrl: `${fake.url}/api/v3`, owner: "acme", name }, token, fetch, now: Date.now });
}

const story: PullRequestStory = {
  runId: "run_1",
  turn: 1,
  attempt: 1,
  title: null,
  asked: "Fix it",
  plan: null,
  summary: "Done",
  agent: "builtin",
  model: null,
  changed: { filesChanged: 0, insertions: 0, deletions: 0, files: [] },
  verified: [],
  costUsd: null,
  simulated: false,
  link: null,
  allowReferences: false,
};
function wishOf(turn: number, more: Partial<PullRequestWish> = {}): PullRequestWish {
  const body = pullRequestBody({ ...story, turn, attempt: turn });
  return {
    runId: "run_1",
    attempt: turn,
    head: "runyard/run_1",
    base: "main",
    title: "Fix it",
    body,
    draft: false,
    labels: [],
    reviewers: [],
    ...more,
  };
}
const lines = (): string[] => fake.requests.map(({ line }) => line.replace("/repos/acme/app", ""));

test("a pull request is made with its labels and reviewers, and only once", async () => {
  const wish = wishOf(1, { draft: true, labels: ["bot"], reviewers: ["ann", "acme/core"] });
  const first = await performPullRequest(client, wish);
  expect(first).toMatchObject({ action: "created", warnings: [], pullRequest: { number: 1, state: "open", draft: true, merged: false } });
  expect(first.pullRequest.url).toBe(`${fake.url}/acme/app/pull/1`);
  expect(fake.pulls).toMatchObject([
    { title: "Fix it", head: "runyard/run_1", base: "main", labels: ["bot"], reviewers: ["ann"], teams: ["core"] },
  ]);
  const before = lines().length;
  expect(await performPullRequest(client, wish)).toMatchObject({ action: "kept", pullRequest: { number: 1 } });
  expect(lines().slice(before)).toEqual(["GET /pulls"]);
});

test("what is refused of labels and reviewers is told, and the pull request stays", async () => {
  fake.fail({ on: "POST /labels", answer: { status: 403, message: "No" } });
  const { warnings, pullRequest } = await performPullRequest(client, wishOf(1, { labels: ["bot"], reviewers: ["stranger"] }));
  expect(pullRequest.number).toBe(1);
  expect(warnings[0]).toMatch(/^The labels could not be added: GitHub answered 403: No\./);
  expect(warnings[1]).toMatch(/^The reviewers could not be asked: GitHub answered 422: Reviews may only be requested from collaborators/);
});

test("a later turn goes on with the open one, and follows one that was closed or merged", async () => {
  await performPullRequest(client, wishOf(1));
  fake.pulls[0]!.body = `Read by Ann.\n${fake.pulls[0]!.body}`;
  expect(await performPullRequest(client, wishOf(2))).toMatchObject({ action: "updated", pullRequest: { number: 1 }, warnings: [] });
  expect(fake.pulls).toHaveLength(1);
  expect(fake.pulls[0]!.body).toMatch(/^Read by Ann\.\n[\s\S]*attempt-2 -->[\s\S]*asked in turn 2/);

  fake.pulls[0]!.body = "Mine now";
  const left = await performPullRequest(client, wishOf(3));
  expect([left.action, left.warnings.length, fake.pulls[0]!.body]).toEqual(["updated", 1, "Mine now"]);

  fake.pulls[0]!.body = runMark("run_1");
  fake.pulls[0]!.state = "closed";
  const next = await performPullRequest(client, wishOf(4));
  expect(next).toMatchObject({ action: "created", pullRequest: { number: 2 } });
  expect(next.warnings).toEqual([`${fake.url}/acme/app/pull/1 was closed: there is a new pull request.`]);
  expect(fake.pulls[1]!.body).toMatch(/^Follows #1, which was closed\./);
  Object.assign(fake.pulls[1]!, { state: "closed", mergedAt: "2026-01-03T00:00:00Z" });
  expect((await performPullRequest(client, wishOf(4))).pullRequest).toMatchObject({ number: 2, merged: true });
  expect((await performPullRequest(client, wishOf(5))).warnings).toEqual([
    `${fake.url}/acme/app/pull/2 was merged: there is a new pull request.`,
  ]);
});

test("two at the same moment make one", async () => {
  let looked = 0;
  let open = (): void => undefined;
  const both = new Promise<void>((resolve) => (open = resolve));
  fake.watch((line, when) => {
    if (when !== "after" || !line.startsWith("GET") || ++looked > 2) return;
    if (looked === 2) open();
    return both;
  });
  const done = await Promise.all([performPullRequest(client, wishOf(1)), performPullRequest(client, wishOf(1))]);
  expect(done.map(({ action }) => action).toSorted()).toEqual(["created", "kept"]);
  expect(fake.pulls).toHaveLength(1);
});

test("an answer that was lost is found at the next try", async () => {
  fake.fail({ on: "POST /pulls", answer: "lose" });
  await expect(performPullRequest(client, wishOf(1))).rejects.toMatchObject({
    verdict: { type: "later", problem: { code: "unavailable" } },
  });
  expect(await performPullRequest(client, wishOf(1))).toMatchObject({ action: "kept", pullRequest: { number: 1 } });
  expect(fake.pulls).toHaveLength(1);
});

const faults: readonly [string, Fault["answer"], object][] = [
  ["401", { status: 401, message: "Bad credentials" }, { type: "never", problem: { code: "not-authenticated" } }],
  ["403", { status: 403, message: "Resource not accessible by integration" }, { type: "never", problem: { code: "not-allowed" } }],
  ["404", { status: 404, message: "Not Found" }, { type: "never", problem: { code: "not-found" } }],
  ["409", { status: 409, message: "Conflict" }, { type: "later", problem: { code: "unavailable" } }],
  [
    "422",
    { status: 422, message: "Validation Failed", errors: [{ resource: "PullRequest", field: "base", code: "invalid" }] },
    { type: "never", problem: { code: "base-gone", message: expect.stringContaining("base invalid") as unknown } },
  ],
  [
    "422 in words",
    { status: 422, message: "Validation Failed", errors: ["No commits between main and x"] },
    { type: "never", problem: { code: "nothing-to-merge" } },
  ],
  ["429", { status: 429, headers: { "retry-after": "7" } }, { type: "later", retryAfterMs: 7_000, problem: { code: "rate-limited" } }],
  ["429 without a time", { status: 429 }, { type: "later", retryAfterMs: null, problem: { code: "rate-limited" } }],
  [
    "a secondary limit",
    { status: 403, message: "You have exceeded a secondary rate limit." },
    { type: "later", problem: { code: "rate-limited" } },
  ],
  ["500", { status: 500, text: "<h1>Unicorn!</h1>" }, { type: "later", problem: { code: "unavailable", message: "GitHub answered 500." } }],
  ["502", { status: 502, headers: { "retry-after": "1" } }, { type: "later", retryAfterMs: 1_000 }],
  ["301", { status: 301, headers: { location: "https://elsewhere.example/" } }, { type: "never", problem: { code: "moved" } }],
  ["a page", { status: 200, text: "<h1>Sign in</h1>" }, { type: "never", problem: { code: "not-github" } }],
  ["a cut connection", "cut", { type: "later", retryAfterMs: null, problem: { code: "unavailable" } }],
];
test.each(faults)("%s has a meaning of its own, and does not tell the token", async (_, answer, verdict) => {
  fake.fail({ on: "POST /pulls", answer });
  const error = await performPullRequest(client, wishOf(1)).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(GithubError);
  expect(error).toMatchObject({ verdict });
  expect(JSON.stringify([error, String(error), (error as Error).stack])).not.toContain(TOKEN);
  expect(fake.pulls).toEqual([]);
});

test.each([
  ["a script", "javascript:alert(1)"],
  ["what no index takes", `https://github.example/${"x".repeat(4_000)}`],
  ["what steers a terminal", "https://github.example/acme/app\u001b[2J/pull/1"],
  ["nothing", ""],
])("an address that is %s is none of a pull request", async (_, html_url) => {
  await performPullRequest(client, wishOf(1));
  const shown = await (await fetch(`${fake.url}/api/v3/repos/acme/app/pulls/1`, { headers: HEADERS })).json();
  const text = JSON.stringify([{ ...(shown as object), html_url }]);
  fake.fail({ on: "GET /pulls", answer: { status: 200, text, headers: { "content-type": "application/json" } } });
  await expect(client.list("runyard/run_1")).rejects.toMatchObject({ verdict: { type: "never", problem: { code: "not-github" } } });
});

test("a server that says the token again is not quoted with it", async () => {
  const [message, errors] = [`Bad credentials: ${TOKEN}`, [{ message: `base64 ${Buffer.from(TOKEN).toString("base64")}` }, TOKEN]];
  fake.fail({ on: "POST /pulls", answer: { status: 422, message, errors } });
  const error = await performPullRequest(client, wishOf(1)).catch((failure: unknown) => failure);
  expect(error).toMatchObject({ verdict: { problem: { code: "refused" } } });
  expect(String(error)).toMatch(/Bad credentials: \[secret credential\]; base64 .*\[secret credential\].*; \[secret credential\]/);
  expect(JSON.stringify([error, String(error)])).not.toContain(TOKEN);
});

test("a token that is not known, a repository that is not there, and a branch with nothing in it", async () => {
  await expect(performPullRequest(clientWith("wrong"), wishOf(1))).rejects.toMatchObject({
    verdict: { problem: { code: "not-authenticated" } },
  });
  await expect(performPullRequest(clientWith(TOKEN, "other"), wishOf(1))).rejects.toMatchObject({
    verdict: { problem: { code: "not-found" } },
  });
  await expect(performPullRequest(client, wishOf(1, { head: "empty" }))).rejects.toMatchObject({
    verdict: { problem: { code: "nothing-to-merge" } },
  });
});

test("nobody is there", async () => {
  await fake.close();
  await expect(performPullRequest(client, wishOf(1))).rejects.toMatchObject({
    verdict: { type: "later", problem: { code: "unavailable", message: expect.stringContaining("could not be reached") as unknown } },
  });
});

test("one is closed, reopened, made a draft and ready, and what is so already is left alone", async () => {
  await performPullRequest(client, wishOf(1));
  expect(await editPullRequest(client, 1, {})).toMatchObject({ number: 1, state: "open", draft: false });
  expect(await editPullRequest(client, 1, { state: "closed" })).toMatchObject({ state: "closed" });
  expect(await editPullRequest(client, 1, { state: "open", draft: true })).toMatchObject({ state: "open", draft: true });
  expect(fake.pulls[0]).toMatchObject({ state: "open", draft: true });
  const before = lines().length;
  await editPullRequest(client, 1, { state: "open", draft: true });
  expect(lines().slice(before)).toEqual(["GET /pulls/1"]);
  await editPullRequest(client, 1, { draft: false });
  expect(fake.pulls[0]).toMatchObject({ draft: false });
});

test("one that was merged stays so, and what GitHub refuses is said", async () => {
  await performPullRequest(client, wishOf(1));
  fake.fail({ on: "PATCH /1", answer: { status: 403, message: "No" } });
  await expect(editPullRequest(client, 1, { state: "closed" })).rejects.toMatchObject({ code: "pull_request_refused" });
  fake.fail({ on: "GET /1", answer: "cut" });
  await expect(editPullRequest(client, 1, {})).rejects.toMatchObject({ code: "unavailable" });
  fake.fail({ on: "POST /graphql", answer: { status: 200, message: "" } });
  await expect(editPullRequest(client, 1, { draft: true })).rejects.toMatchObject({ code: "pull_request_refused" });
  Object.assign(fake.pulls[0]!, { state: "closed", mergedAt: "2026-01-03T00:00:00Z" });
  for (const change of [{ state: "open" }, { draft: true }] as const)
    await expect(editPullRequest(client, 1, change)).rejects.toThrow(/was merged, and stays as it is/);
  expect(await editPullRequest(client, 1, { state: "closed" })).toMatchObject({ merged: true });
  await expect(client.setDraft("PR_99", true)).rejects.toMatchObject({ verdict: { type: "never", problem: { code: "not-found" } } });
});
