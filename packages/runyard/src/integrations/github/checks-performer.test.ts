import { checksSettingsSchema } from "@runyard/sdk/contract";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ChecksEffect, checksPace } from "../../core/checks.ts";
import type { ChecksVerdict } from "../../engine/checks.ts";
import type { TryResult } from "../../engine/outbox.ts";
import type { EffectRow } from "../../store/outbox.ts";
import { type FakeGithub, startFakeGithub } from "../../testing/github.ts";
import { type FakeCheckRun, type FakeChecks, fakeChecks } from "../../testing/github-checks.ts";
import { checksPerformer } from "./checks-performer.ts";

const TOKEN = "ghp_canary";
const HEAD = "a".repeat(40);
const BEGAN = Date.parse("2026-01-01T00:00:00.000Z");
let fake: FakeGithub;
let checks: FakeChecks;
beforeEach(async () => {
  checks = fakeChecks();
  fake = await startFakeGithub({ token: TOKEN, repository: "acme/app", more: checks.routes });
});
afterEach(() => fake.close());

/** One look after so many milliseconds, behind what the look before has left. */
async function look(options: {
  readonly ageMs: number;
  readonly problem?: unknown;
  readonly token?: string | null;
  readonly signal?: AbortSignal;
}): Promise<{ readonly result: TryResult; readonly verdict: ChecksVerdict | null }> {
  const { ageMs, problem = null, token = TOKEN, signal = new AbortController().signal } = options;
  const place = { apiUrl: `${fake.url}/api/v3`, owner: "acme", name: "app", tokenUrl: `${fake.url}/acme/app` };
  const result = { summary: "", headBranch: "b", headCommit: HEAD, baseCommit: HEAD, filesChanged: 0, insertions: 0, deletions: 0 };
  const watched = { ...checksSettingsSchema.parse({ watch: true, prompts: { unit: "Run make." } }), place };
  const payload: ChecksEffect = { checks: watched, commit: HEAD, branch: "b", before: null, result, pullRequest: null };
  const effect: EffectRow = {
    id: "effect_1",
    org_id: "org_a",
    kind: "x",
    run_id: "run_1",
    attempt: 1,
    payload,
    status: "due",
    tries: 1,
    next_attempt_at: "",
    lease: "l",
    problem,
    outcome: null,
    created_at: new Date(BEGAN).toISOString(),
  };
  let verdict: ChecksVerdict | null = null;
  const performer = checksPerformer({
    tokenFor: async () => token,
    fetchWith: () => fetch,
    now: () => BEGAN + ageMs,
    pace: checksPace(1_000),
    conclude(_, seen) {
      verdict = seen;
      return {};
    },
  });
  return { result: await performer.perform(effect, signal), verdict };
}
const failed: FakeCheckRun = { id: 1, name: "unit", commit: HEAD, status: "completed", conclusion: "failure", summary: "2 failed" };

test("a first look waits, a second one that sees the same decides, with what the agent is told", async () => {
  checks.runs.push(failed);
  const first = await look({ ageMs: 0 });
  expect(first).toMatchObject({ result: { type: "later", retryAfterMs: 10_000, problem: { looks: 1 } }, verdict: null });
  const { problem } = first.result as Extract<TryResult, { type: "later" }>;
  const { result, verdict } = await look({ ageMs: 10_000, problem });
  expect(result).toMatchObject({ type: "done", outcome: { outcome: "fed-back", rounds: 1 } });
  expect(verdict?.feedback?.soFar).toEqual({ commit: HEAD, rounds: 1, fedBack: { unit: 1 } });
  expect(verdict?.feedback?.text).toMatch(/## unit: failure\n\nRun make\.[\s\S]*2 failed/);
});

test("what is away is waited for as long as checks are, and no longer; what was seen before is kept", async () => {
  const problem = { picture: "1:failure", looks: 4 };
  fake.fail({ on: "GET /check-runs", answer: "cut" });
  expect((await look({ ageMs: 1_000, problem })).result).toEqual({ type: "later", retryAfterMs: 10_000, problem });
  fake.fail({ on: "GET /check-runs", answer: { status: 429, headers: { "retry-after": "90" } } });
  expect((await look({ ageMs: 1_000, problem })).result).toEqual({ type: "later", retryAfterMs: 90_000, problem });
  fake.fail({ on: "GET /check-runs", answer: { status: 429, headers: { "retry-after": "90" } } });
  expect((await look({ ageMs: 3_599_000 })).result).toMatchObject({ type: "later", retryAfterMs: 1_000 });
  fake.fail({ on: "GET /check-runs", answer: "cut" });
  const late = await look({ ageMs: 3_600_000 });
  expect(late.verdict).toMatchObject({ finished: { outcome: "unknown", checks: [] }, feedback: null });
  expect(late.verdict?.finished.message).toMatch(/is not known\. .*could not be reached/);
});

test("without a right, or a token, how they stand is not known, and the sentence says what to do", async () => {
  fake.fail({ on: "GET /check-runs", answer: { status: 403, message: "Resource not accessible" } });
  const refused = await look({ ageMs: 0 });
  expect(refused.verdict?.finished.message).toContain("give it the right to read checks and commit statuses");
  fake.fail({ on: "GET /check-runs", answer: { status: 404 } });
  expect((await look({ ageMs: 0 })).verdict?.finished.message).toContain("There is no such repository");
  expect((await look({ ageMs: 0, token: null })).verdict?.finished.message).toContain("runyard credentials add");
  expect(JSON.stringify(refused)).not.toContain(TOKEN);
});

test("a commit that GitHub does not know yet is asked for again, for a while", async () => {
  const answer = { status: 422, message: `No commit found for SHA: ${HEAD}` };
  fake.fail({ on: "GET /check-runs", answer, times: 2 });
  expect((await look({ ageMs: 0 })).result).toMatchObject({ type: "later", retryAfterMs: 10_000 });
  const late = await look({ ageMs: 90_000 });
  expect(late.verdict?.finished).toMatchObject({ outcome: "unknown", message: expect.stringContaining("No commit found") as unknown });
});

test("a look that is broken off because the server leaves decides nothing, but at the end of the time it does", async () => {
  const signal = AbortSignal.abort();
  fake.fail({ on: "GET /check-runs", answer: "cut", times: 2 });
  await expect(look({ ageMs: 0, signal })).rejects.toThrow();
  expect((await look({ ageMs: 3_600_000, signal })).verdict?.finished.outcome).toBe("unknown");
});

test("of many that fail the details of a few are asked for, and all are named", async () => {
  checks.runs.push(...Array.from({ length: 12 }, (_, at) => ({ ...failed, id: at + 1, name: `c${at}`, hasLog: true })));
  const { problem } = (await look({ ageMs: 0 })).result as Extract<TryResult, { type: "later" }>;
  const { verdict } = await look({ ageMs: 10_000, problem });
  expect(verdict?.feedback?.text).toMatch(/## c4: failure[\s\S]*More that did not succeed: c5, c6, c7, c8, c9, c10, c11\./);
  expect(fake.requests.filter(({ line }) => line.endsWith("/logs"))).toHaveLength(5);
});
