import { expect, test } from "vitest";
import { type AppCall, appClaims, type GithubUse, judgeAppAnswer, permissionsFor, suspended, usedUntil } from "./github-app.ts";
import type { GithubRefusal } from "./github-answer.ts";

const NOW = Date.parse("2026-01-02T03:04:05Z");
const MINUTE_MS = 60_000;
const call: AppCall = { appId: "7", host: "api.github.com", owner: "acme", name: "app", nowMs: NOW, use: "fetch", granted: null };
const judge = (refusal: Partial<GithubRefusal>, more: Partial<AppCall> = {}) =>
  judgeAppAnswer({ status: 500, headers: {}, message: "", errors: [], ...refusal }, { ...call, ...more });

test.each<[GithubUse, object, object]>([
  ["fetch", { contents: "write", pull_requests: "write" }, { contents: "read" }],
  ["push", {}, { contents: "write" }],
  ["push", { workflows: "write" }, { contents: "write", workflows: "write" }],
  ["see-pull-request", {}, { pull_requests: "read" }],
  ["pull-request", {}, { pull_requests: "write" }],
  ["draft", {}, { contents: "write", pull_requests: "write" }],
  ["checks", {}, { checks: "read", statuses: "read" }],
  ["checks", { actions: "read" }, { checks: "read", statuses: "read", actions: "read" }],
  ["checks", { actions: "write" }, { checks: "read", statuses: "read", actions: "read" }],
  ["checks", { actions: "admin" }, { checks: "read", statuses: "read", actions: "read" }],
])("to %s an app that is granted %j asks for the least", (use, granted, permissions) => {
  expect(permissionsFor(use, granted as Record<string, string>)).toEqual(permissions);
});

test("what an app says of itself holds for ten minutes at most, and where the clock is a little fast", () => {
  const { iat, exp, iss } = appClaims("7", NOW + 999);
  expect({ iat: NOW / 1_000 - iat, life: exp - iat, iss }).toEqual({ iat: 60, life: 600, iss: "7" });
});

test("a token is used until five minutes before its end, counted from when it was given", () => {
  const given = { answeredAt: NOW + 7 * MINUTE_MS, expiresAt: NOW + 67 * MINUTE_MS };
  expect(usedUntil(given, NOW)).toBe(NOW + 55 * MINUTE_MS);
});

const at = (ms: number): { date: string } => ({ date: new Date(ms).toUTCString() });
test.each<[Partial<GithubRefusal>, string, RegExp]>([
  [{ status: 401, headers: at(NOW) }, "app-key-refused", /none of the GitHub App 7/],
  [{ status: 401 }, "app-key-refused", /store it \(runyard credentials add\)/],
  [{ status: 401, headers: at(NOW - 40_000) }, "app-key-refused", /none of the/],
  [{ status: 401, headers: at(NOW + 500_000) }, "app-key-refused", /none of the/],
  [{ status: 401, headers: at(NOW - 60_000) }, "clock-off", /60 seconds ahead of that of api\.github\.com/],
  [{ status: 401, headers: at(NOW + 10 * MINUTE_MS) }, "clock-off", /10 minutes behind that/],
  [{ status: 401, headers: at(NOW + 180 * MINUTE_MS) }, "clock-off", /3 hours behind that/],
  [{ status: 404, message: "Integration not found" }, "app-key-refused", /knows no GitHub App 7/],
  [{ status: 404, message: "Not Found" }, "app-not-installed", /could see acme\/app.*install it for acme/],
  [{ status: 422, message: "There is at least one repository that does not exist" }, "app-not-installed", /install it/],
  [{ status: 403, message: "This installation has been suspended" }, "app-suspended", /for acme is suspended/],
  [{ status: 403, message: "No" }, "not-allowed", /answered 403: No/],
  [{ status: 422, message: "The permissions requested are not granted" }, "refused", /answered 422/],
])("%j stays so", (refusal, code, words) => {
  expect(judge(refusal)).toMatchObject({ type: "never", problem: { code, message: expect.stringMatching(words) as string } });
});

test("a right that is missing is named", () => {
  const refusal = { status: 422, message: "The permissions requested are not granted to this installation." };
  const words = (use: GithubUse, granted: AppCall["granted"]) => judge(refusal, { use, granted });
  expect(words("draft", { contents: "read", pull_requests: "write" })).toMatchObject({
    problem: { code: "app-permission-missing", message: expect.stringContaining("is not granted contents: write:") as string },
  });
  expect(words("draft", {})).toMatchObject({
    problem: { message: expect.stringContaining("is not granted contents: write, pull_requests: write:") as string },
  });
  expect(words("fetch", { contents: "read" })).toMatchObject({
    problem: { message: expect.stringContaining("is not granted what was asked for:") as string },
  });
});

test("what may pass for others may pass here", () => {
  expect(judge({ status: 502 })).toMatchObject({ type: "later", problem: { code: "unavailable" } });
  expect(judge({ status: 403, headers: { "retry-after": "7" } })).toMatchObject({ type: "later", retryAfterMs: 7_000 });
});

test("an installation that is suspended says who can lift that", () => {
  expect(suspended(call)).toMatchObject({ type: "never", problem: { message: expect.stringContaining("administers acme") as string } });
});
