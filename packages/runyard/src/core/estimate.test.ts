import { expect, test } from "vitest";
import { estimateByRuns, estimateByTask, expectedCalls } from "./estimate.ts";

const run = (costNanoUsd: number, activeMs: number) => ({ costNanoUsd, activeMs });

test("by runs of the past: the median and the quartiles, from three runs on", () => {
  expect(estimateByRuns([run(1, 1), run(2, 2)])).toBeNull();
  expect(estimateByRuns([run(4_000_000_000, 30), run(1_000_000_000, 10), run(2_000_000_000, 20)])).toEqual({
    cost: 2,
    executionTime: 20,
    range: { low: 1.5, high: 3 },
    basis: "history",
    runs: 3,
  });
  expect(estimateByRuns([1, 2, 3, 4].map((n) => run(n * 1_000_000_000, n * 10)))).toMatchObject({ cost: 2.5, executionTime: 25, runs: 4 });
});

test("by a task: its cost, with a third and three times of it; without a price nothing is known", () => {
  expect(estimateByTask(300_000_000)).toEqual({ cost: 0.3, executionTime: null, range: { low: 0.1, high: 0.9 }, basis: "task", runs: 0 });
  expect(estimateByTask(null)).toEqual({ cost: null, executionTime: null, range: null, basis: "unknown", runs: 0 });
});

test("each call sends all that was said before again", () => {
  const calls = expectedCalls(400);
  expect(calls).toHaveLength(20);
  expect(calls.slice(0, 3)).toEqual([
    { input: 10_100, cached: 0, output: 500 },
    { input: 12_100, cached: 10_100, output: 500 },
    { input: 14_100, cached: 12_100, output: 500 },
  ]);
});
