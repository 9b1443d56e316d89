import type { MetricsSample } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { isMeasured, MAX_SAMPLES, sampleIntervalMs, summarizeMetrics } from "./metrics.ts";

const NOTHING = { cpuMs: null, memoryBytes: null, memoryPeakBytes: null, processes: null, threads: null, diskBytes: null };
const sample = (changes: Partial<MetricsSample>): MetricsSample => ({
  at: "2026-11-20T10:00:00.000Z",
  turn: 1,
  attempt: 1,
  step: "agent",
  ...NOTHING,
  ...changes,
});

describe("the time between samples", () => {
  test("is a second at first, then ten, and doubles as a run gets long", () => {
    expect([0, 249, 250, 499, 500].map(sampleIntervalMs)).toEqual([1_000, 10_000, 20_000, 20_000, 40_000]);
  });

  test("lets a week of work have no more samples than a run may have", () => {
    let [takenMs, stored] = [0, 0];
    for (; takenMs < 7 * 24 * 3_600_000; stored += 1) takenMs += sampleIntervalMs(stored);
    expect(stored).toBeLessThanOrEqual(MAX_SAMPLES);
    expect(sampleIntervalMs(10 * MAX_SAMPLES)).toBe(sampleIntervalMs(MAX_SAMPLES));
  });
});

describe("what samples come to", () => {
  test("is nothing where nothing was measured", () => {
    const nothing = { totals: { cpuMs: null }, peaks: { memoryBytes: null, processes: null, threads: null, diskBytes: null } };
    expect(summarizeMetrics([])).toEqual(nothing);
    expect(summarizeMetrics([sample({})])).toEqual(nothing);
    expect([isMeasured(NOTHING), isMeasured({ ...NOTHING, diskBytes: 0 })]).toEqual([false, true]);
  });

  test("is the sum of what steps counted, each for itself, and the most of the rest", () => {
    const found = summarizeMetrics([
      sample({ cpuMs: 100, memoryBytes: 50, memoryPeakBytes: 70, processes: 4, threads: 9 }),
      sample({ cpuMs: 300, memoryBytes: 40, memoryPeakBytes: 70, processes: 3, threads: 11, diskBytes: 1_000 }),
      sample({ cpuMs: 10, step: "verify-1-0", diskBytes: 0 }),
      sample({ cpuMs: 5, attempt: 2, memoryBytes: 90 }),
      sample({ step: "verify-1-1", processes: 0 }),
    ]);
    expect(found).toEqual({ totals: { cpuMs: 315 }, peaks: { memoryBytes: 90, processes: 4, threads: 11, diskBytes: 1_000 } });
  });
});
