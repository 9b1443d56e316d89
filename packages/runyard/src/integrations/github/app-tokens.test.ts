// Tokens of a GitHub App, of a fake that verifies what an app shows it and is held to GitHub's OpenAPI description.
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { GithubUse } from "../../core/github-app.ts";
import { GithubError } from "../../core/github-answer.ts";
import { type FakeApp, fakeApp } from "../../testing/github-app.ts";
import { type FakeGithub, type Fault, startFakeGithub } from "../../testing/github.ts";
import { fakeChecks } from "../../testing/github-checks.ts";
import { type AppTokens, createAppTokens } from "./app-tokens.ts";
import { createGithubChecks } from "./checks.ts";
import { createGithubClient } from "./client.ts";

const MINUTE_MS = 60_000;
const OTHER_KEY = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({ type: "pkcs1", format: "pem" }).toString();
const HEAD = "a".repeat(40);
const TWO_LINES = JSON.stringify({ token: "ghs_canary\nusername=other", expires_at: "2099-01-01T00:00:00Z" });
const INSTALLATION = "GET /installation";
const TOKENS = "POST /access_tokens";
let app: FakeApp;
let fake: FakeGithub;
let tokens: AppTokens;
/** How much later it is than this machine's clock says. */
let laterMs: number;
beforeEach(async () => {
  app = fakeApp();
  fake = await startFakeGithub({ token: "ghp_canary", repository: "acme/app", app, more: fakeChecks().routes });
  laterMs = 0;
  tokens = createAppTokens({ fetch, now: () => Date.now() + laterMs });
});
afterEach(() => fake.close());

const place = () => ({ apiUrl: `${fake.url}/api/v3`, owner: "acme", name: "app" });
const stored = () => ({ kind: "github-app", id: "credential_1", appId: String(app.id), privateKey: app.privateKey }) as const;
const tokenFor = (use: GithubUse, more: object = {}) => tokens.tokenFor({ ...stored(), ...more }, place(), use);
const refusal = async (use: GithubUse = "fetch", more: object = {}): Promise<GithubError> => {
  const error: unknown = await tokenFor(use, more).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(GithubError);
  for (const secret of [app.privateKey, app.privateKey.split("\n")[1]!]) {
    expect(JSON.stringify([error, String(error), (error as Error).stack])).not.toContain(secret);
  }
  return error as GithubError;
};

test.each([
  ["fetch", { contents: "read" }],
  ["push", { contents: "write" }],
  ["see-pull-request", { pull_requests: "read" }],
  ["pull-request", { pull_requests: "write" }],
  ["draft", { contents: "write", pull_requests: "write" }],
  ["checks", { checks: "read", statuses: "read", actions: "read" }],
] as const)("a token to %s is for one repository and has the least rights", async (use, rights) => {
  const token = await tokenFor(use);
  expect(app.tokens).toEqual([
    { token, repositories: ["app"], permissions: { metadata: "read", ...rights }, expiresAtMs: expect.any(Number) as number },
  ]);
});

test("what goes on without a right is not refused for want of it, and has it where the app does", async () => {
  delete app.permissions["actions"];
  await tokenFor("checks");
  app.permissions["workflows"] = "write";
  await tokenFor("push");
  expect(app.tokens.map(({ permissions }) => permissions)).toEqual([
    { metadata: "read", checks: "read", statuses: "read" },
    { metadata: "read", contents: "write", workflows: "write" },
  ]);
});

test("by its client id, and with its key as PKCS#8, it is the same app", async () => {
  const privateKey = createPrivateKey(app.privateKey).export({ type: "pkcs8", format: "pem" }).toString();
  expect(privateKey).toContain("BEGIN PRIVATE KEY");
  await tokenFor("fetch", { appId: app.clientId, privateKey });
  expect(app.tokens).toHaveLength(1);
});

test("a token serves what it is for, and nothing else", async () => {
  const { number } = await clientFor("pull-request").then((client) =>
    client.create({ head: "x", base: "main", title: "x", body: "", draft: false }),
  );
  await (await clientFor("draft")).setDraft(`PR_${number}`, true);
  expect(fake.pulls[0]?.draft).toBe(true);
  await expect((await clientFor("pull-request")).setDraft(`PR_${number}`, false)).rejects.toMatchObject({
    verdict: { problem: { code: "not-allowed" } },
  });
  await expect((await clientFor("see-pull-request")).update(number, { state: "closed" })).rejects.toMatchObject({
    verdict: { problem: { code: "not-allowed" } },
  });
  const checks = createGithubChecks({ repository: place(), token: await tokenFor("checks"), fetch, now: Date.now });
  expect(await checks.list(HEAD)).toEqual([]);
});
async function clientFor(use: GithubUse) {
  return createGithubClient({ repository: place(), token: await tokenFor(use), fetch, now: Date.now });
}

test("a token is kept until some minutes before its end, and got anew then; who asks at the same time gets the same one", async () => {
  const first = await Promise.all([tokenFor("fetch"), tokenFor("fetch"), tokenFor("fetch")]);
  expect(new Set(first).size).toBe(1);
  laterMs = 54 * MINUTE_MS;
  expect(await tokenFor("fetch")).toBe(first[0]);
  expect(app.tokens).toHaveLength(1);
  app.aheadMs = laterMs = 56 * MINUTE_MS;
  const second = await tokenFor("fetch");
  expect(app.tokens.map(({ token }) => token)).toEqual([first[0], second]);
  // A key that was replaced, or another repository, has nothing of it.
  await tokens.tokenFor({ ...stored(), appId: app.clientId }, place(), "fetch");
  expect(app.tokens).toHaveLength(3);
});

test("when it ends is told by GitHub's clock", async () => {
  laterMs = -8 * MINUTE_MS;
  const first = await tokenFor("fetch");
  laterMs += 56 * MINUTE_MS;
  app.aheadMs = 56 * MINUTE_MS;
  expect(await tokenFor("fetch")).not.toBe(first);
});

test("what GitHub refuses is not given out again: another one is got, once, and asked with", async () => {
  const first = await tokenFor("see-pull-request");
  const client = clientWith(first);
  expect(await client.list("x")).toEqual([]);
  app.tokens.length = 0;
  // Whoever holds the old one goes on, with the same new one for all that is left to do.
  expect(await client.list("x")).toEqual([]);
  expect(await client.list("y")).toEqual([]);
  expect(app.tokens).toHaveLength(1);
  const second = await tokenFor("see-pull-request");
  expect(app.tokens.map(({ token }) => token)).toEqual([second]);
  // The first one is nobody's any more, and nothing is got for it.
  await expect(clientWith("ghs_of_nobody").list("x")).rejects.toMatchObject({ verdict: { problem: { code: "not-authenticated" } } });
  app.tokens.length = 0;
  let asked = 0;
  fake.watch((line, when) => {
    if (when === "before" && line.endsWith("/pulls") && (asked += 1) === 2)
      fake.fail({ on: "GET /pulls", answer: { status: 403, message: `You are ${app.tokens[0]?.token}, and may not` } });
  });
  await expect(clientWith(second).list("x")).rejects.toThrow("You are [hidden], and may not");
  app.isSuspended = true;
  await expect(clientWith(await tokenFor("see-pull-request")).list("x")).rejects.toMatchObject({
    verdict: { problem: { code: "app-suspended" } },
  });
});
function clientWith(token: string) {
  return createGithubClient({ repository: place(), token, fetch: tokens.heeding(fetch), now: Date.now });
}

test("a token that may not do it is replaced once: its app may have been given the right since", async () => {
  delete app.permissions["actions"];
  const before = await tokenFor("checks");
  const log = (token: string): Promise<Response> =>
    tokens.heeding(fetch)(`${place().apiUrl}/repos/acme/app/actions/jobs/1/logs`, {
      headers: { authorization: `Bearer ${token}`, "x-github-api-version": "2022-11-28", "user-agent": "runyard" },
    });
  expect((await log(before)).status).toBe(403);
  expect(app.tokens.length).toBe(2);
  app.permissions["actions"] = "read";
  // There is no such log, which is told to those who may ask.
  expect((await log(await tokenFor("checks"))).status).toBe(404);
  expect(app.tokens.at(-1)?.permissions).toMatchObject({ actions: "read" });
  // A limit is none of that.
  const last = await tokenFor("checks");
  fake.fail({ on: "GET /logs", answer: { status: 403, message: "You have exceeded a secondary rate limit" } });
  expect((await log(last)).status).toBe(403);
  expect(await tokenFor("checks")).toBe(last);
});

test("an app that is not installed, suspended, or has another key, or none, says what to do", async () => {
  app.isInstalled = false;
  expect((await refusal()).verdict).toMatchObject({
    type: "never",
    problem: { code: "app-not-installed", message: expect.stringContaining("install it for acme") as string },
  });
  Object.assign(app, { isInstalled: true, isSuspended: true });
  expect((await refusal()).verdict).toMatchObject({ type: "never", problem: { code: "app-suspended" } });
  app.isSuspended = false;
  const other = { privateKey: OTHER_KEY };
  expect((await refusal("fetch", other)).verdict).toMatchObject({
    type: "never",
    problem: { code: "app-key-refused", message: expect.stringContaining("store it (runyard credentials add)") as string },
  });
  expect((await refusal("fetch", { appId: "99" })).verdict).toMatchObject({
    problem: { code: "app-key-refused", message: expect.stringContaining("knows no GitHub App 99") as string },
  });
  app.permissions = { contents: "read" };
  expect((await refusal("pull-request")).verdict).toMatchObject({
    problem: { code: "app-permission-missing", message: expect.stringContaining("not granted pull_requests: write") as string },
  });
  expect((await refusal("push")).verdict).toMatchObject({
    problem: { code: "app-permission-missing", message: expect.stringContaining("not granted contents: write") as string },
  });
  expect(app.tokens).toEqual([]);
  await tokenFor("fetch");
  expect(app.tokens).toHaveLength(1);
});

test.each([
  [-2 * MINUTE_MS, /clock of this machine is 2 minutes ahead of that of 127\.0\.0\.1:\d+, .* set it right/],
  [-70_000, /clock of this machine is 7\d seconds ahead/],
  [12 * MINUTE_MS, /clock of this machine is 12 minutes behind/],
])("a clock that is off is said to be so: GitHub's is ahead by %d ms", async (aheadMs, words) => {
  app.aheadMs = aheadMs;
  expect((await refusal()).verdict).toMatchObject({
    type: "never",
    problem: { code: "clock-off", message: expect.stringMatching(words) as string },
  });
});

test.each([-45_000, 8 * MINUTE_MS])("one that is off a little does no harm: GitHub's is ahead by %d ms", async (aheadMs) => {
  app.aheadMs = aheadMs;
  await tokenFor("fetch");
  expect(app.tokens).toHaveLength(1);
});

const suspendedFault: Fault["answer"] = { status: 403, message: "This installation has been suspended" };
test.each<[string, Fault["answer"], object]>([
  [TOKENS, suspendedFault, { type: "never", problem: { code: "app-suspended" } }],
  [TOKENS, { status: 404, message: "Not Found" }, { type: "never", problem: { code: "app-not-installed" } }],
  [
    TOKENS,
    { status: 422, message: "There is at least one repository that does not exist or is not accessible to the parent installation." },
    { type: "never", problem: { code: "app-not-installed" } },
  ],
  [INSTALLATION, { status: 301, headers: { location: "https://elsewhere.example/" } }, { type: "never", problem: { code: "moved" } }],
  [INSTALLATION, "cut", { type: "later", problem: { code: "unavailable" } }],
  [TOKENS, { status: 502, text: "<html>" }, { type: "later", problem: { code: "unavailable" } }],
  [TOKENS, { status: 429, headers: { "retry-after": "7" } }, { type: "later", retryAfterMs: 7_000, problem: { code: "rate-limited" } }],
  [
    TOKENS,
    { status: 201, text: TWO_LINES, headers: { "content-type": "application/json" } },
    { type: "never", problem: { code: "not-github" } },
  ],
  [TOKENS, { status: 201, message: "hello" }, { type: "never", problem: { code: "not-github" } }],
])("%s answered with %o has a meaning, and the next one asks anew", async (on, answer, verdict) => {
  fake.fail({ on, answer });
  expect((await refusal()).verdict).toMatchObject(verdict);
  await tokenFor("fetch");
});
