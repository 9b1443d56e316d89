import { describe, expect, test } from "vitest";
import { attemptSettingsOf, NO_TRIES } from "./attempts.ts";
import { decideLost, type LostRun, MAX_LOSSES } from "./lost-runs.ts";

const run: LostRun = {
  runnerId: "runner_a",
  phase: "building",
  mayBeOut: false,
  attempt: 2,
  cancelReason: null,
  losses: 0,
  settings: attemptSettingsOf({}),
  timeoutMs: 60_000,
  tries: { ...NO_TRIES, retries: 1, notBeforeMs: 5, failed: [{ attempt: 1, error: { type: "agent-error", message: "It broke." } }] },
  activeMs: 10_000,
  turnActiveMs: 0,
  isActive: true,
};
const lost = { type: "lost", message: expect.stringContaining("runner_a was lost") as string };

describe("a run whose runner is lost", () => {
  test("is queued again with what its attempts have used up", () => {
    expect(decideLost(run, true)).toEqual({
      fact: { type: "requeued", retry: { attempt: 3, error: lost, delayMs: 0, timeout: 60_000, sandboxType: "standard" } },
      tries: { ...run.tries, notBeforeMs: null, failed: [...run.tries.failed, { attempt: 2, error: lost }] },
    });
  });

  test("keeps what a recovery gave it", () => {
    const recovered: LostRun = { ...run, tries: { ...NO_TRIES, timeoutMs: 120_000, sandboxType: "high-memory" } };
    expect(decideLost(recovered, true)).toMatchObject({ fact: { retry: { timeout: 120_000, sandboxType: "high-memory" } } });
  });

  test("waits for its own runner while there is no other", () => {
    expect(decideLost(run, false)).toBeNull();
  });

  test("is given up after so many runners in a turn", () => {
    expect(decideLost({ ...run, losses: MAX_LOSSES - 1 }, true)).toMatchObject({ fact: { type: "requeued" } });
    for (const someoneLives of [true, false])
      expect(decideLost({ ...run, losses: MAX_LOSSES }, someoneLives)).toMatchObject({ fact: { type: "broke", error: lost } });
  });

  test("is cancelled where somebody wished it, before anything else", () => {
    const wish: LostRun = { ...run, cancelReason: "Enough.", losses: MAX_LOSSES, activeMs: 90_000 };
    for (const someoneLives of [true, false])
      expect(decideLost(wish, someoneLives)).toEqual({ fact: { type: "cancelled", reason: "Enough." } });
  });

  test("is not begun again once its result was on its way out", () => {
    expect(decideLost({ ...run, phase: "publishing", mayBeOut: true }, true)).toMatchObject({ fact: { type: "broke", error: lost } });
    expect(decideLost({ ...run, phase: "publishing" }, true)).toMatchObject({ fact: { type: "requeued" } });
  });
});

describe("the deadline of such a run", () => {
  const late: LostRun = { ...run, activeMs: 60_000 };

  test("holds, and counts the time of its turn and attempts only", () => {
    for (const someoneLives of [true, false])
      expect(decideLost(late, someoneLives)).toMatchObject({ fact: { type: "deadline_passed", error: { type: "timeout" } } });
    expect(decideLost({ ...late, turnActiveMs: 1_000 }, true)).toMatchObject({ fact: { type: "requeued" } });
    expect(decideLost({ ...late, tries: { ...NO_TRIES, activeBeforeMs: 1_000 } }, true)).toMatchObject({ fact: { type: "requeued" } });
    expect(decideLost({ ...late, isActive: false }, true)).toMatchObject({ fact: { type: "requeued" } });
  });

  test("is an error like any other to the run's own rules", () => {
    const retried = { ...late, settings: attemptSettingsOf({ maxRetries: 5, retryableErrors: ["timeout"] }) };
    expect(decideLost(retried, true)).toMatchObject({
      fact: { type: "requeued", retry: { delayMs: 0 } },
      tries: { retries: 2, notBeforeMs: null },
    });
    const doubled = { ...late, settings: attemptSettingsOf({ recovery: { timeout: "double" } }) };
    expect(decideLost(doubled, true)).toMatchObject({
      fact: { type: "requeued", retry: { timeout: 120_000, error: { type: "timeout" } } },
      tries: { timeoutMs: 120_000, activeBeforeMs: 60_000, notBeforeMs: null },
    });
    expect(decideLost(doubled, false)).toBeNull();
    const again = { ...doubled, tries: { ...NO_TRIES, timeoutMs: 120_000 }, activeMs: 120_000 };
    expect(decideLost(again, true)).toMatchObject({ fact: { type: "deadline_passed" } });
  });
});
