import type { Estimate } from "@runyard/sdk/contract";
import { usd } from "./usage.ts";

/** What a run that has ended took. */
export interface PastRun {
  readonly costNanoUsd: number;
  readonly activeMs: number;
}

/** One model call of a run that nobody has seen yet, in tokens. */
export interface ExpectedCall {
  readonly input: number;
  /** What of it is read from a cache, where the provider has one. */
  readonly cached: number;
  readonly output: number;
}

/** From so many runs on their figures say more than a formula. */
const LEAST_RUNS = 3;

/** By runs of the past: the median, and the quartiles; null: there are too few. */
export function estimateByRuns(runs: readonly PastRun[]): Estimate | null {
  if (runs.length < LEAST_RUNS) return null;
  const costs = runs.map(({ costNanoUsd }) => costNanoUsd).toSorted((a, b) => a - b);
  const times = runs.map(({ activeMs }) => activeMs).toSorted((a, b) => a - b);
  const usdAt = (part: number): number => usd(Math.round(quantile(costs, part)));
  return {
    cost: usdAt(0.5),
    executionTime: Math.round(quantile(times, 0.5)),
    range: { low: usdAt(0.25), high: usdAt(0.75) },
    basis: "history",
    runs: runs.length,
  };
}

/** By what such runs mostly take, at the model's prices. It is rough: a third of it and three times as much are as likely. */
export function estimateByTask(costNanoUsd: number | null): Estimate {
  if (costNanoUsd === null) return { cost: null, executionTime: null, range: null, basis: "unknown", runs: 0 };
  return {
    cost: usd(costNanoUsd),
    executionTime: null,
    range: { low: usd(Math.round(costNanoUsd / 3)), high: usd(3 * costNanoUsd) },
    basis: "task",
    runs: 0,
  };
}

const CALLS = 20;
/** What an agent says of itself and its tools, and what each call adds to the conversation. */
const FIRST_TOKENS = 10_000;
const MORE_TOKENS = 2_000;
const OUTPUT_TOKENS = 500;
const CHARS_PER_TOKEN = 4;

/** The calls of a middling run on a task: each sends the conversation again, most of which the provider has in a cache. */
export function expectedCalls(taskChars: number): ExpectedCall[] {
  const first = FIRST_TOKENS + Math.ceil(taskChars / CHARS_PER_TOKEN);
  return Array.from({ length: CALLS }, (_, index) => {
    const before = index === 0 ? 0 : first + (index - 1) * MORE_TOKENS;
    return { input: first + index * MORE_TOKENS, cached: before, output: OUTPUT_TOKENS };
  });
}

/** Between two values of a sorted list by how near they are. */
function quantile(sorted: readonly number[], part: number): number {
  const at = (sorted.length - 1) * part;
  const [low = 0, high = low] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}
