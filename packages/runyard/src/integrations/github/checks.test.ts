import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeGithub, type Fault, startFakeGithub } from "../../testing/github.ts";
import { type FakeChecks, fakeChecks } from "../../testing/github-checks.ts";
import { createGithubChecks, type GithubChecks } from "./checks.ts";
import { GithubError } from "./client.ts";

const TOKEN = "ghp_canary";
const HEAD = "a".repeat(40);
let fake: FakeGithub;
let checks: FakeChecks;
let client: GithubChecks;
let logs: Server;
let log = "";
let logTokens: (string | undefined)[] = [];
beforeEach(async () => {
  logTokens = [];
  logs = createServer((request, response) => {
    logTokens.push(request.headers.authorization);
    response.end(log);
  });
  await new Promise<void>((resolve) => logs.listen(0, "127.0.0.1", resolve));
  checks = fakeChecks({ logsUrl: `http://127.0.0.1:${(logs.address() as AddressInfo).port}` });
  fake = await startFakeGithub({ token: TOKEN, repository: "acme/app", more: checks.routes });
  const repository = { apiUrl: `${fake.url}/api/v3`, owner: "acme", name: "app" };
  client = createGithubChecks({ repository, token: TOKEN, fetch, now: Date.now });
});
afterEach(async () => {
  await fake.close();
  logs.closeAllConnections();
  await new Promise((resolve) => logs.close(resolve));
});

const done = { commit: HEAD, status: "completed", conclusion: "success" } as const;

test("check runs and statuses of a commit come as checks, over all pages", async () => {
  checks.runs.push(...Array.from({ length: 205 }, (_, at) => ({ ...done, id: at + 1, name: `c${at}` })));
  checks.runs.push({ ...done, id: 900, name: "elsewhere", commit: "b".repeat(40) });
  checks.statuses.push({ id: 1, context: "ci/old", commit: HEAD, state: "error", description: "broken" });
  const found = await client.list(HEAD);
  expect(found).toHaveLength(206);
  expect(new Set(found.map(({ name }) => name)).size).toBe(206);
  expect(found[0]).toMatchObject({
    name: "c0",
    conclusion: "success",
    suite: 1,
    commit: HEAD,
    url: "https://github.example/acme/app/runs/1",
  });
  expect(found.at(-1)).toMatchObject({ name: "ci/old", conclusion: "error", suite: null, commit: HEAD, summary: "broken" });
});

test("more checks than are read are not taken for all of them", async () => {
  checks.runs.push(...Array.from({ length: 1_000 }, (_, at) => ({ ...done, id: at + 1, name: `c${at}` })));
  expect(await client.list(HEAD)).toHaveLength(1_000);
  checks.runs.push({ ...done, id: 1_001, name: "last", conclusion: "failure" });
  await expect(client.list(HEAD)).rejects.toMatchObject({
    verdict: { type: "never", problem: { code: "refused", message: expect.stringContaining("1001 checks") as string } },
  });
});

test("what has not ended, or ended in a way that nobody knows, is pending", async () => {
  checks.runs.push(
    { ...done, id: 1, name: "a", status: "in_progress", conclusion: null },
    { ...done, id: 2, name: "b", status: "waiting", conclusion: null },
    { ...done, id: 3, name: "c", conclusion: "of-the-future" },
    { ...done, id: 4, name: "d", conclusion: "startup_failure" },
  );
  expect((await client.list(HEAD)).map(({ conclusion }) => conclusion)).toEqual(["pending", "pending", "pending", "startup_failure"]);
});

test("of a check that failed there is what it says, remarks and the end of its log, which is got without the token", async () => {
  log = `${"2026-01-02T03:04:05.678Z line\n".repeat(2_000)}2026-01-02T03:04:06.000Z not ok 3\n`;
  const annotations = [{ path: "src/a.ts", line: 3, level: "failure", message: "wrong" }];
  checks.runs.push({ ...done, id: 1, name: "unit", conclusion: "failure", title: "2 failed", summary: "of 40", annotations, hasLog: true });
  const [check] = await client.list(HEAD);
  const details = await client.details(check!);
  expect(details).toMatchObject({ name: "unit", conclusion: "failure", summary: "2 failed\n\nof 40", annotations });
  expect(details.log.length).toBeLessThan(8_193);
  expect(details.log.endsWith("line\nline\nnot ok 3\n")).toBe(true);
  expect(logTokens).toEqual([undefined]);
});

test("what cannot be had of a failed check is left out", async () => {
  const annotations = [{ path: "src/a.ts", line: 3, level: "failure", message: "wrong" }];
  checks.runs.push({ ...done, id: 1, name: "unit", conclusion: "failure", annotations });
  fake.fail({ on: "GET /annotations", answer: { status: 403, message: "Resource not accessible by personal access token" } });
  const [check] = await client.list(HEAD);
  expect(await client.details(check!)).toMatchObject({ annotations: [], log: "" });
  checks.runs[0] = { ...checks.runs[0]!, app: "other-ci", hasLog: true };
  expect(await client.details((await client.list(HEAD))[0]!)).toMatchObject({ annotations, log: "" });
  expect(logTokens).toEqual([]);
});

const later: readonly (readonly [Fault["answer"], string])[] = [
  ["cut", "unavailable"],
  [{ status: 502, text: "<html>" }, "unavailable"],
  [{ status: 429, headers: { "retry-after": "7" } }, "rate-limited"],
];
test.each(later)("%o may pass", async (answer, code) => {
  fake.fail({ on: "GET /check-runs", answer });
  const error = await client.list(HEAD).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(GithubError);
  expect((error as GithubError).verdict).toMatchObject({ type: "later", problem: { code } });
});

test("an answer that is none of GitHub's is said to be so", async () => {
  fake.fail({ on: "GET /status", answer: { status: 200, message: "hello" } });
  await expect(client.list(HEAD)).rejects.toMatchObject({ verdict: { type: "never", problem: { code: "not-github" } } });
});
