import fc from "fast-check";
import { expect, test } from "vitest";
import { nextTryMs } from "./outbox.ts";

const policy = { firstMs: 1_000, longestMs: 60_000, patienceMs: 300_000 };
const failed = { tries: 1, ageMs: 0, retryAfterMs: null };

test("waits are doubled up to the longest, and half of each is left to chance", () => {
  const waits = (chance: number) => [1, 2, 3, 7, 50].map((tries) => nextTryMs(policy, { ...failed, tries }, chance));
  expect(waits(0)).toEqual([1_000, 2_000, 4_000, 60_000, 60_000]);
  expect(waits(1)).toEqual([500, 1_000, 2_000, 30_000, 30_000]);
});

test("who asks to be left alone is left alone for so long", () => {
  expect(nextTryMs(policy, { ...failed, retryAfterMs: 45_000 }, 0.5)).toBe(45_000);
  expect(nextTryMs(policy, { ...failed, retryAfterMs: 10 }, 0)).toBe(1_000);
});

test("no try is begun after patience has ended", () => {
  expect(nextTryMs(policy, { ...failed, ageMs: 299_000 }, 0)).toBe(1_000);
  expect(nextTryMs(policy, { ...failed, ageMs: 299_001 }, 0)).toBeNull();
  expect(nextTryMs(policy, { ...failed, retryAfterMs: 3_600_000 }, 0)).toBeNull();
});

test("a wait is never shorter than what was asked for, nor longer than both", () => {
  const some = fc.record({ tries: fc.integer({ min: 1, max: 200 }), ageMs: fc.nat(400_000), retryAfterMs: fc.option(fc.nat(500_000)) });
  fc.assert(
    fc.property(some, fc.double({ min: 0, max: 0.999, noNaN: true }), (what, chance) => {
      const wait = nextTryMs(policy, what, chance);
      if (wait === null) return;
      expect(wait).toBeGreaterThanOrEqual(Math.max(500, what.retryAfterMs ?? 0));
      expect(wait).toBeLessThanOrEqual(Math.max(60_000, what.retryAfterMs ?? 0));
      expect(what.ageMs + wait).toBeLessThanOrEqual(policy.patienceMs);
    }),
  );
});
