import type { MetricsSample } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { paintFor } from "./output.ts";
import { renderPeaks, renderSamples } from "./render-metrics.ts";

const plain = paintFor({}, {});
const NOTHING = { cpuMs: null, memoryBytes: null, memoryPeakBytes: null, processes: null, threads: null, diskBytes: null };
const sample = (changes: Partial<MetricsSample>): MetricsSample => ({
  at: "2026-11-20T10:00:00.000Z",
  turn: 1,
  attempt: 1,
  step: "agent",
  ...NOTHING,
  ...changes,
});

test("samples are a table, with the load since the sample before of the same step", () => {
  const first = { cpuMs: 1_000, memoryBytes: 2 << 20, memoryPeakBytes: 3 << 20, processes: 4, threads: 12 };
  const lines = renderSamples(
    [
      sample(first),
      sample({ at: "2026-11-20T10:00:05.000Z", step: "verify-1-0", cpuMs: 5_000 }),
      sample({ at: "2026-11-20T10:00:10.000Z", cpuMs: 16_000, diskBytes: 1_024 }),
    ],
    plain,
  );
  expect(lines).toEqual([
    "at                    step           CPU   load  memory    peak  processes  threads    disk",
    "2026-11-20T10:00:00Z  agent        1.0 s         2.0 MB  3.0 MB          4       12",
    "2026-11-20T10:00:05Z  verify-1-0   5.0 s",
    "2026-11-20T10:00:10Z  agent       16.0 s  150 %                                      1.0 KB",
  ]);
});

test("another attempt counts from its own beginning, and is named", () => {
  const lines = renderSamples([sample({ cpuMs: 9_000 }), sample({ attempt: 2, cpuMs: 10, at: "2026-11-20T10:00:10.000Z" })], plain);
  expect(lines[1]).toContain("attempt 1, agent");
  expect(lines[2]).toMatch(/attempt 2, agent +0\.0 s$/);
});

test("peaks leave out what was not measured, and processes of a step that was looked at only when it had ended", () => {
  const none = { memoryBytes: null, processes: null, threads: null, diskBytes: null };
  expect(renderPeaks({ totals: { cpuMs: null }, peaks: none })).toBe("nothing was measured");
  expect(renderPeaks({ totals: { cpuMs: 1_500 }, peaks: { ...none, diskBytes: 2_048, processes: 7 } })).toBe(
    "1.5 s of processor time; at most 7 processes, 2.0 KB of disk",
  );
  expect(renderPeaks({ totals: { cpuMs: 500 }, peaks: { ...none, memoryBytes: 2_048, processes: 0, threads: 0 } })).toBe(
    "0.5 s of processor time; at most 2.0 KB of memory",
  );
});
