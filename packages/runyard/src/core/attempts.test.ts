import { DEFAULT_RETRYABLE_ERRORS, MAX_TIMEOUT_MS, RETRYABLE_ERRORS, RUN_ERROR_TYPES, SANDBOX_TYPES } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attemptSettingsOf,
  type AttemptWishes,
  backoffMs,
  type BrokenAttempt,
  decideNext,
  leftToWaitMs,
  NO_TRIES,
  typeInForce,
} from "./attempts.ts";
import { SANDBOX_LIMITS } from "./limits.ts";

const GIB = 1024 ** 3;

function broken(wishes: AttemptWishes, more: Partial<BrokenAttempt> = {}): BrokenAttempt {
  return {
    settings: attemptSettingsOf(wishes),
    timeoutMs: 60_000,
    tries: NO_TRIES,
    attempt: 1,
    phase: "building",
    error: { type: "network-error", message: "It was down." },
    canGoOn: false,
    activeMs: 5_000,
    nowMs: 1_000_000,
    random: 0.5,
    hostMemoryBytes: 32 * GIB,
    ...more,
  };
}
const failure = (type: BrokenAttempt["error"]["type"]): Pick<BrokenAttempt, "error"> => ({ error: { type, message: "x" } });

describe("what a run asked for", () => {
  test("nothing: one attempt in a standard sandbox, nothing to verify", () => {
    expect(attemptSettingsOf({})).toEqual({
      maxRetries: 0,
      retryableErrors: [],
      recovery: { timeout: null, outOfMemory: null },
      sandboxType: "standard",
      verify: [],
      verifyRetries: 1,
    });
  });

  test("retries alone: after what comes from outside the task", () => {
    const types = (["small", "medium", "large"] as const).map((machineType) => attemptSettingsOf({ machineType }).sandboxType);
    expect(types).toEqual(["standard", "high-cpu", "high-memory"]);
    expect(attemptSettingsOf({ maxRetries: 2 }).retryableErrors).toEqual(DEFAULT_RETRYABLE_ERRORS);
  });

  test("everything, as it was said; a type that is named twice counts once, and none means none", () => {
    const verify = [{ run: "npm test", kind: "test", timeout: 1_000 }] as const;
    const recovery = { timeout: "double", outOfMemory: "high-memory" } as const;
    const wishes = {
      maxRetries: 1,
      retryableErrors: ["timeout", "timeout"],
      recovery,
      sandboxType: "high-cpu",
      verify,
      verifyRetries: 0,
    } as const;
    expect(attemptSettingsOf(wishes)).toEqual({ ...wishes, retryableErrors: ["timeout"] });
    expect(attemptSettingsOf({ maxRetries: 1, retryableErrors: [] }).retryableErrors).toEqual([]);
    expect(attemptSettingsOf({ retryableErrors: ["timeout"] }).retryableErrors).toEqual([]);
  });
});

describe("the next attempt", () => {
  test("comes after a delay, with what the attempts have used up", () => {
    const error = { type: "network-error", message: "It was down." } as const;
    expect(decideNext(broken({ maxRetries: 1 }))).toEqual({
      again: true,
      goesOn: false,
      tries: { ...NO_TRIES, retries: 1, notBeforeMs: 1_000_500, failed: [{ attempt: 1, error }] },
      retry: { attempt: 2, error, delayMs: 500, timeout: 60_000, sandboxType: "standard" },
    });
  });

  test.each([
    ["none was asked for", broken({})],
    ["all are used up", broken({ maxRetries: 2 }, { tries: { ...NO_TRIES, retries: 2 } })],
    ["the error is not one of those that were named", broken({ maxRetries: 2, retryableErrors: ["lost"] })],
    ["publishing has begun", broken({ maxRetries: 2 }, { phase: "publishing" })],
    [
      "the time was doubled before",
      broken({ recovery: { timeout: "double" } }, { ...failure("timeout"), tries: { ...NO_TRIES, timeoutMs: 120_000 } }),
    ],
    ["the time is the longest already", broken({ recovery: { timeout: "double" } }, { ...failure("timeout"), timeoutMs: MAX_TIMEOUT_MS })],
    ["nothing but a timeout doubles the time", broken({ recovery: { timeout: "double" } })],
    [
      "it had the memory already",
      broken({ recovery: { outOfMemory: "high-memory" }, sandboxType: "high-memory" }, failure("out-of-memory")),
    ],
  ])("does not come when %s", (_, attempt) => {
    expect(decideNext(attempt)).toEqual({ again: false, note: null });
  });

  test("has twice the time after a timeout, at once, without counting as a retry, and the clock begins anew", () => {
    const next = decideNext(broken({ recovery: { timeout: "double" } }, failure("timeout")));
    expect(next).toMatchObject({
      again: true,
      tries: { retries: 0, timeoutMs: 120_000, activeBeforeMs: 5_000, notBeforeMs: 1_000_000 },
      retry: { delayMs: 0, timeout: 120_000 },
    });
  });

  test("has at most the longest time", () => {
    const next = decideNext(broken({ recovery: { timeout: "double" } }, { ...failure("timeout"), timeoutMs: MAX_TIMEOUT_MS - 1 }));
    expect(next).toMatchObject({ retry: { timeout: MAX_TIMEOUT_MS } });
  });

  test("has all of its time again when it is a retry of a timeout, and what is left of it after anything else", () => {
    const wishes = { maxRetries: 2, retryableErrors: ["timeout", "lost"] } as const;
    expect(decideNext(broken(wishes, failure("timeout")))).toMatchObject({ tries: { activeBeforeMs: 5_000 } });
    expect(decideNext(broken(wishes, failure("lost")))).toMatchObject({ tries: { activeBeforeMs: 0 } });
  });

  test("has more memory after it ran out of it, where the machine has as much", () => {
    const wishes = { recovery: { outOfMemory: "high-memory" } } as const;
    expect(decideNext(broken(wishes, failure("out-of-memory")))).toMatchObject({
      again: true,
      tries: { retries: 0, sandboxType: "high-memory" },
      retry: { sandboxType: "high-memory", delayMs: 0 },
    });
    expect(decideNext(broken(wishes, { ...failure("out-of-memory"), hostMemoryBytes: 8 * GIB }))).toEqual({
      again: false,
      note: "A sandbox of the type high-memory has 16 GB of memory, and this machine has 8 GB for runs. Possible here: standard, high-cpu.",
    });
  });
});

test("the delay doubles from 1 s to 60 s, and is anything from nothing to all of that", () => {
  expect(Array.from({ length: 8 }, (_, n) => backoffMs(n, 1))).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  expect(backoffMs(3, 0)).toBe(0);
  fc.assert(
    fc.property(fc.nat({ max: 10 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (retries, random) => {
      const delay = backoffMs(retries, random);
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThan(Math.min(60_000, 1_000 * 2 ** retries));
    }),
  );
});

test("whatever breaks and however often: attempts end, and each recovery happens at most once", () => {
  const wishes = fc.record({
    maxRetries: fc.nat({ max: 10 }),
    retryableErrors: fc.subarray([...RETRYABLE_ERRORS]),
    recovery: fc.record({
      timeout: fc.constantFrom("double" as const, undefined),
      outOfMemory: fc.constantFrom("high-memory" as const, undefined),
    }),
    sandboxType: fc.constantFrom(...SANDBOX_TYPES),
  });
  const errors = fc.array(fc.constantFrom(...RUN_ERROR_TYPES), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(wishes, errors, fc.constantFrom(1, 8, 64), (wish, types, gigabytes) => {
      const settings = attemptSettingsOf(wish);
      let tries = NO_TRIES;
      let ended = false;
      for (const [index, type] of types.entries()) {
        const next = decideNext({
          ...broken(wish, { tries, attempt: index + 1, activeMs: index * 1_000, hostMemoryBytes: gigabytes * GIB }),
          error: { type, message: "x" },
        });
        if (!next.again) {
          ended = true;
          break;
        }
        const recovered = (next.tries.timeoutMs !== tries.timeoutMs ? 1 : 0) + (next.tries.sandboxType !== tries.sandboxType ? 1 : 0);
        // Either a retry is used up, or one recovery.
        expect(next.tries.retries - tries.retries + recovered).toBe(1);
        if (recovered === 0) expect(settings.retryableErrors).toContain(type);
        expect(next.tries.failed).toHaveLength(index + 1);
        expect(next.retry.attempt).toBe(index + 2);
        expect(next.tries.activeBeforeMs).toBeGreaterThanOrEqual(tries.activeBeforeMs);
        if (next.tries.sandboxType === "high-memory")
          expect(SANDBOX_LIMITS["high-memory"].memoryBytes).toBeLessThanOrEqual(gigabytes * GIB);
        tries = next.tries;
      }
      expect(ended).toBe(true);
      expect(tries.retries).toBeLessThanOrEqual(settings.maxRetries);
      expect([settings.sandboxType, "high-memory"]).toContain(typeInForce(settings, tries));
    }),
  );
});

test("what is left to wait is never negative, and never longer than a wait can be when the clock was moved", () => {
  expect([leftToWaitMs(5_000, 4_000), leftToWaitMs(1, 2), leftToWaitMs(9_000_000, 0)]).toEqual([1_000, 0, 60_000]);
});

describe("an attempt that lost only the process that watched it", () => {
  const lost = { ...failure("lost"), canGoOn: true } as const;

  test("goes on at once, three times in a turn, whatever the run says of retries", () => {
    let tries = NO_TRIES;
    for (const losses of [1, 2, 3]) {
      const next = decideNext(broken({}, { ...lost, tries }));
      expect(next).toMatchObject({ again: true, goesOn: true, tries: { losses, retries: 0 }, retry: { delayMs: 0 } });
      if (next.again) tries = next.tries;
    }
    expect(decideNext(broken({}, { ...lost, tries }))).toEqual({ again: false, note: null });
    // What is left then are the retries, which begin afresh.
    expect(decideNext(broken({ maxRetries: 1 }, { ...lost, tries }))).toMatchObject({ again: true, goesOn: false, tries: { retries: 1 } });
  });

  test("but not once it publishes", () => {
    expect(decideNext(broken({}, { ...lost, phase: "publishing" }))).toEqual({ again: false, note: null });
  });
});
