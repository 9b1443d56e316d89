import type { EventPlace, NewEvent, Run } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { type Paint, paintFor } from "./output.ts";
import { renderAttemptEvent, renderAttempts } from "./render-attempts.ts";

const plain: Paint = paintFor({ isTTY: false }, {});
const PLACE: EventPlace = { seq: 7, id: "run_x:7", runId: "run_x", turn: 1, attempt: 1, at: "2026-11-20T10:00:00.000Z" };
const shown = (event: NewEvent): string | null => renderAttemptEvent({ ...PLACE, ...event }, plain, Infinity);

const RETRYING = {
  attempt: 2,
  error: { type: "network-error", message: "The provider was down." },
  delayMs: 1_500,
  timeout: 60_000,
  sandboxType: "standard",
} as const;
const FINISHED = {
  command: "npm test",
  kind: "test",
  round: 1,
  passed: true,
  exitCode: 0,
  cause: null,
  output: "fine\n",
  truncated: false,
} as const;

test("an attempt that broke, and when the next one begins", () => {
  expect(shown({ type: "run.retrying", data: RETRYING })).toBe("  ✗ attempt 1 network-error: The provider was down.\n▸ attempt 2 in 1.5 s");
  expect(shown({ type: "run.retrying", data: { ...RETRYING, delayMs: 0, sandboxType: "high-memory" } })).toMatch(
    /▸ attempt 2 at once, high-memory$/,
  );
});

test("a command that verifies; what it wrote only when it failed, and no control characters of it", () => {
  expect(shown({ type: "verify.started", data: { command: "npm\ntest", kind: "test", round: 1 } })).toBe("  verify  npm test");
  expect(shown({ type: "verify.finished", data: FINISHED })).toBe("  ✓ test    npm test");
  const output = Array.from({ length: 12 }, (_, i) => `line ${i}\u001b[2J`).join("\n");
  const lines = (shown({ type: "verify.finished", data: { ...FINISHED, passed: false, exitCode: 1, output } }) ?? "").split("\n");
  expect(lines[0]).toBe("  ✗ test    npm test  exit 1");
  expect(lines[1]).toBe("    …");
  expect(lines).toHaveLength(12);
  expect(lines.at(-1)).toMatch(/^ {4}\| line 11/);
  expect(lines.join("")).not.toContain("\u001b");
  expect(shown({ type: "verify.finished", data: { ...FINISHED, passed: false, exitCode: null, cause: "timeout", output: "" } })).toBe(
    "  ✗ test    npm test  timeout",
  );
  expect(shown({ type: "turn.started", data: {} })).toBeNull();
});

test("a run's attempts and checks, as `show` has them", () => {
  const run = {
    attempt: 3,
    retryAt: "2026-11-20T10:00:05.000Z",
    failedAttempts: [
      { attempt: 1, error: { type: "lost", message: "Gone." } },
      { attempt: 2, error: { type: "timeout", message: "Late." } },
    ],
    verifyResults: [{ command: "make", kind: "build", round: 1, passed: true, exitCode: 0, cause: null }],
  } as unknown as Run;
  expect(renderAttempts(run, plain, Infinity)).toEqual([
    "  ✗ attempt 1 lost: Gone.",
    "  ✗ attempt 2 timeout: Late.",
    "  → attempt 3 begins at 2026-11-20T10:00:05.000Z",
    "  ✓ build   make",
  ]);
});
