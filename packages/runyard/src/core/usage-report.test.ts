import type { ModelCall, UsageSum } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { reportUsage, type UsageEvent } from "./usage-report.ts";

const CALL: ModelCall = {
  exchangeId: "1-ab",
  provider: "openai",
  model: "gpt-4o",
  inputTokens: 100,
  outputTokens: 10,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costUsd: 0.1,
  durationMs: 5,
  status: 200,
  ok: true,
};
const TOTAL: UsageSum = {
  modelCalls: 4,
  failedModelCalls: 1,
  inputTokens: 300,
  outputTokens: 30,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costUsd: 0.3,
  unpricedCalls: 1,
};
const event = (turn: number, calls: readonly ModelCall[] | undefined): UsageEvent => ({
  turn,
  attempt: turn,
  at: "2026-11-20T10:00:00.000Z",
  data: {
    source: "gateway",
    inputTokens: null,
    outputTokens: null,
    cachedInputTokens: null,
    modelCalls: 0,
    failedModelCalls: 0,
    ...(calls === undefined ? {} : { calls: [...calls] }),
  },
});

test("sums by turn and by model, with every call in its place", () => {
  const broken: ModelCall = { ...CALL, exchangeId: "3-ab", inputTokens: null, outputTokens: null, costUsd: null, status: null, ok: false };
  const other: ModelCall = { ...CALL, exchangeId: "4-ab", provider: "anthropic", model: "claude", reasoningTokens: 7 };
  const report = reportUsage(TOTAL, [event(1, [CALL, { ...CALL, exchangeId: "2-ab", costUsd: 0.2 }]), event(2, [broken, other])]);
  expect(report.total).toBe(TOTAL);
  expect(report.turns).toMatchObject([
    { turn: 1, modelCalls: 2, failedModelCalls: 0, inputTokens: 200, costUsd: 0.3, unpricedCalls: 0 },
    { turn: 2, modelCalls: 2, failedModelCalls: 1, inputTokens: 100, costUsd: 0.1, unpricedCalls: 1, reasoningTokens: 7 },
  ]);
  expect(report.models).toMatchObject([
    { provider: "openai", model: "gpt-4o", modelCalls: 3, failedModelCalls: 1, costUsd: 0.3, unpricedCalls: 1 },
    { provider: "anthropic", model: "claude", modelCalls: 1, costUsd: 0.1 },
  ]);
  expect(report.calls.map(({ exchangeId, turn, attempt }) => [exchangeId, turn, attempt])).toEqual([
    ["1-ab", 1, 1],
    ["2-ab", 1, 1],
    ["3-ab", 2, 2],
    ["4-ab", 2, 2],
  ]);
});

test("events of earlier versions name no calls", () => {
  expect(reportUsage(TOTAL, [event(1, undefined)])).toEqual({ total: TOTAL, turns: [], models: [], calls: [] });
});
