import { expect, test } from "vitest";
import { addCall, type CallUsage, NO_USAGE, nanoUsdOf, usageTotals, usd, usdOrNull } from "./usage.ts";

const CALL: CallUsage = {
  ok: true,
  inputTokens: 100,
  outputTokens: 7,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: 3,
  costNanoUsd: 1_000,
  countedNanoUsd: 1_000,
  countedTokens: 107,
};
const UNKNOWN: CallUsage = {
  ok: false,
  inputTokens: null,
  outputTokens: null,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costNanoUsd: null,
  countedNanoUsd: 0,
  countedTokens: 0,
};

test("adds what is known and leaves unknown figures unknown", () => {
  const first = addCall(NO_USAGE, CALL);
  expect(first).toEqual({
    inputTokens: 100,
    outputTokens: 7,
    cachedInputTokens: null,
    cacheWriteTokens: null,
    reasoningTokens: 3,
    modelCalls: 1,
    failedModelCalls: 0,
    costNanoUsd: 1_000,
    unpricedCalls: 0,
    spentNanoUsd: 1_000,
    spentTokens: 107,
  });
  const second = addCall(first, UNKNOWN);
  expect(second).toEqual({ ...first, modelCalls: 2, failedModelCalls: 1, unpricedCalls: 1 });
  expect(addCall(second, { ...CALL, cachedInputTokens: 50, cacheWriteTokens: 20 })).toMatchObject({
    inputTokens: 200,
    outputTokens: 14,
    cachedInputTokens: 50,
    cacheWriteTokens: 20,
    costNanoUsd: 2_000,
    unpricedCalls: 1,
  });
});

test("a call that ended without figures counts with what was set aside for it", () => {
  expect(addCall(NO_USAGE, { ...UNKNOWN, countedNanoUsd: 5_000, countedTokens: 40 })).toMatchObject({
    costNanoUsd: null,
    unpricedCalls: 1,
    spentNanoUsd: 5_000,
    spentTokens: 40,
  });
});

test("what an earlier version counted has no known cost", () => {
  const stored = { inputTokens: 10, outputTokens: 5, cachedInputTokens: null, modelCalls: 2, failedModelCalls: 1 };
  expect(usageTotals(stored)).toEqual({ ...NO_USAGE, ...stored, unpricedCalls: 2, spentTokens: 15 });
  expect(usageTotals({ modelCalls: 0, failedModelCalls: 0 })).toEqual(NO_USAGE);
});

test.each([
  [0, 0],
  [0.003225, 3_225_000],
  [0.1 + 0.2, 300_000_000],
  [2.5, 2_500_000_000],
  [1.0000000001e-9, 1],
  [1.5e-9, 2],
  [1e-11, 1],
])("%d US dollars are %d nano, rounded up", (dollars, nano) => expect(nanoUsdOf(dollars)).toBe(nano));

test("dollars are told as numbers, and unknown ones as null", () => {
  expect(usd(3_225_000)).toBe(0.003225);
  expect([usdOrNull(null), usdOrNull(2_500_000_000)]).toEqual([null, 2.5]);
});
