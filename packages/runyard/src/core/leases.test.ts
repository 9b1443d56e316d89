import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type LeaseWatch, type RunnerSeen, takeIn, UNWATCHED } from "./leases.ts";

const LEASE_MS = 1_000;
const STEP_MS = 100;
const GAP_MS = 500;

const runner = (id: string, beat: number, more: Partial<RunnerSeen> = {}): RunnerSeen => ({
  id,
  owner: `${id}-process`,
  beat,
  leaseMs: LEASE_MS,
  isLost: false,
  ...more,
});

/** A looker with a clock of its own, and runners that live as long as they beat. */
function start(ids: readonly string[]) {
  let watch: LeaseWatch = UNWATCHED;
  let nowMs = 5_000;
  let beat = 1;
  const stopped = new Map<string, number>();
  const lost = new Set<string>();
  const doubts: unknown[] = [];
  const look = (): string[] => {
    const runners = ids.map((id) => runner(id, stopped.get(id) ?? beat, { isLost: lost.has(id) }));
    const verdict = takeIn(watch, { askedMs: nowMs, answeredMs: nowMs + 1, runners }, GAP_MS);
    watch = verdict.watch;
    if (verdict.doubt !== null) doubts.push(verdict.doubt);
    for (const { id } of verdict.lost) lost.add(id);
    expect(verdict.alive.every(({ id }) => !lost.has(id))).toBe(true);
    return verdict.lost.map(({ id }) => id);
  };
  return {
    doubts,
    stop: (...some: string[]) => some.forEach((id) => stopped.set(id, beat)),
    goOn: (id: string) => void stopped.delete(id),
    pause: (ms: number) => void (nowMs += ms),
    fail: () => void (watch = UNWATCHED),
    /** Looks for so long; who is lost meanwhile, and after how many milliseconds. */
    run(ms: number): Record<string, number> {
      const found: Record<string, number> = {};
      for (let spentMs = 0; spentMs < ms; spentMs += STEP_MS) {
        nowMs += STEP_MS;
        if (spentMs % 300 === 0) beat += 1;
        for (const id of look()) found[id] = spentMs + STEP_MS;
      }
      return found;
    },
  };
}

describe("a lease", () => {
  test("ends once its runner has stood still for all of it, and not before", () => {
    const place = start(["a", "b", "c"]);
    expect(place.run(5_000)).toEqual({});
    place.stop("b");
    const { b = 0, ...others } = place.run(5_000);
    expect(b).toBeGreaterThanOrEqual(LEASE_MS);
    expect(b).toBeLessThanOrEqual(LEASE_MS + 3 * STEP_MS);
    expect(others).toEqual({});
    expect(place.doubts).toEqual([]);
  });

  test("of the only runner ends too", () => {
    const place = start(["a"]);
    place.run(1_000);
    place.stop("a");
    expect(Object.keys(place.run(2_000))).toEqual(["a"]);
  });

  test("counts neither what was not looked at nor what was looked at late", () => {
    const place = start(["a", "b", "c"]);
    place.run(1_000);
    place.stop("a");
    for (let n = 0; n < 5; n += 1) {
      expect(place.run(800)).toEqual({});
      if (n % 2 === 0) place.fail();
      else place.pause(3_600_000);
    }
    expect(Object.keys(place.run(2_000))).toEqual(["a"]);
  });

  test("begins anew with another process of the same runner", () => {
    const one = takeIn(UNWATCHED, { askedMs: 0, answeredMs: 0, runners: [runner("a", 1)] }, 10_000);
    const other = [runner("a", 1, { owner: "next" })];
    expect(takeIn(one.watch, { askedMs: 5_000, answeredMs: 5_000, runners: other }, 10_000).lost).toEqual([]);
    expect(takeIn(one.watch, { askedMs: 5_000, answeredMs: 5_000, runners: [runner("a", 1)] }, 10_000).lost).toHaveLength(1);
  });
});

describe("many at once", () => {
  test("get one more lease, and are lost after it", () => {
    const place = start(["a", "b", "c"]);
    place.run(2_000);
    place.stop("a", "b");
    const found = place.run(5_000);
    expect(Object.keys(found).toSorted()).toEqual(["a", "b"]);
    for (const ms of Object.values(found)) expect(ms).toBeGreaterThanOrEqual(2 * LEASE_MS);
    for (const ms of Object.values(found)) expect(ms).toBeLessThanOrEqual(2 * LEASE_MS + 5 * STEP_MS);
    expect(place.doubts).toEqual([{ silent: 2, runners: 3 }]);
  });

  test("that come back in it are not lost, and the one that does not is", () => {
    const place = start(["a", "b", "c", "d"]);
    place.run(2_000);
    place.stop("a", "b", "c");
    expect(place.run(1_500)).toEqual({});
    place.goOn("a");
    place.goOn("b");
    expect(Object.keys(place.run(3_000))).toEqual(["c"]);
    expect(place.doubts).toHaveLength(1);
    // The next time they are given as much again.
    place.stop("a", "b");
    expect(place.run(1_800)).toEqual({});
    expect(Object.keys(place.run(2_000))).toHaveLength(2);
    expect(place.doubts).toHaveLength(2);
  });

  test("half of them are not many", () => {
    const place = start(["a", "b", "c", "d"]);
    place.run(2_000);
    place.stop("a", "b");
    expect(Object.keys(place.run(1_500)).toSorted()).toEqual(["a", "b"]);
    expect(place.doubts).toEqual([]);
  });

  test("that stopped at the same moment are doubted together, however their renewals were spread", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 333 }), { minLength: 2, maxLength: 5 }), (spread) => {
        // Each renewed for the last time within a third of a lease before the moment 0.
        const beatOf = (sinceMs: number, nowMs: number): number => (nowMs >= -sinceMs ? 2 : 1);
        let watch: LeaseWatch = UNWATCHED;
        let doubted = false;
        for (let nowMs = -1_000; nowMs < 1_600; nowMs += STEP_MS) {
          const runners = spread.map((sinceMs, n) => runner(`r${n}`, beatOf(sinceMs, nowMs)));
          const verdict = takeIn(watch, { askedMs: nowMs, answeredMs: nowMs, runners }, GAP_MS);
          watch = verdict.watch;
          doubted ||= verdict.doubt !== null;
          expect(verdict.lost).toEqual([]);
        }
        expect(doubted).toBe(true);
      }),
    );
  });
});

test("nobody who renews three times in a lease is ever lost, whatever happens to the looker", () => {
  const step = fc.oneof(
    fc.record({ waitMs: fc.integer({ min: 1, max: 499 }) }),
    fc.record({ waitMs: fc.integer({ min: 500, max: 100_000 }) }),
    fc.constant("failed" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let watch: LeaseWatch = UNWATCHED;
      let nowMs = 0;
      for (const one of steps) {
        if (one === "failed") watch = UNWATCHED;
        else {
          nowMs += one.waitMs;
          const runners = ["a", "b"].map((id) => runner(id, Math.floor(nowMs / 333)));
          const verdict = takeIn(watch, { askedMs: nowMs, answeredMs: nowMs, runners }, GAP_MS);
          expect(verdict.lost).toEqual([]);
          watch = verdict.watch;
        }
      }
    }),
  );
});
