import { checksSettingsSchema, type RunEvent } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { paintFor } from "./output.ts";
import { renderChecks, renderChecksEvent, renderRunChecks } from "./render-checks.ts";

const plain = paintFor({}, {});
const row = (name: string, text: string): string => `${name}: ${text}`;
const shown = (event: Pick<RunEvent, "type" | "data">) => renderChecksEvent(event as RunEvent, plain, Number.POSITIVE_INFINITY);

test("events of checks are a line each, with a mark for what came of them", () => {
  const commit = "abcdef0123456789";
  expect(shown({ type: "checks.started", data: { commit, branch: "b", timeout: 1 } })).toBe(
    "  checks waits for those of abcdef0123, without a runner",
  );
  const finished = (outcome: "passed" | "failed" | "fed-back") =>
    shown({ type: "checks.finished", data: { commit, outcome, rounds: 0, checks: [], message: "So it\u001b is." } });
  expect([finished("passed"), finished("failed"), finished("fed-back")]).toEqual([
    "  ✓ checks So it\ufffd is.",
    "  ✗ checks So it\ufffd is.",
    "  ! checks So it\ufffd is.",
  ]);
  expect(shown({ type: "turn.started", data: {} })).toBeNull();
});

test("a run says how often failures went back, and whether it waits", () => {
  expect(renderRunChecks({ waiting: true, rounds: 1, retries: 3, timeout: 1 }, row)).toEqual([
    "checks: it waits for them; failures went back to the agent 1 of 3 times",
  ]);
  expect(renderRunChecks(null, row)).toEqual([]);
  expect(renderRunChecks(undefined, row)).toEqual([]);
});

test("a repository says what holds for checks", () => {
  const checks = checksSettingsSchema.parse({ watch: true, retriesByCheck: { e2e: 1 }, ignored: ["x*"], prompts: { unit: "Do." } });
  expect(renderChecks(checks, row)).toEqual([
    "checks: runs wait for them; failures go back at most 3 times (e2e: 1); at most 1 h 0 min; ignored: x*; prompts for unit",
  ]);
  expect(renderChecks({ ...checks, watch: false }, row)[0]).toContain("runs wait for none, unless they say so");
  expect(renderChecks(null, row)).toEqual([]);
});
