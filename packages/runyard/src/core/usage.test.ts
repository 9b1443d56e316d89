import { expect, test } from "vitest";
import { addCall, NO_USAGE } from "./usage.ts";

test("adds what is known and leaves unknown figures unknown", () => {
  const first = addCall(NO_USAGE, { ok: true, inputTokens: 100, outputTokens: 7, cachedInputTokens: null });
  expect(first).toEqual({ inputTokens: 100, outputTokens: 7, cachedInputTokens: null, modelCalls: 1, failedModelCalls: 0 });
  const second = addCall(first, { ok: false, inputTokens: null, outputTokens: null, cachedInputTokens: null });
  expect(second).toEqual({ ...first, modelCalls: 2, failedModelCalls: 1 });
  expect(addCall(second, { ok: true, inputTokens: 1, outputTokens: 1, cachedInputTokens: 50 })).toMatchObject({
    inputTokens: 101,
    outputTokens: 8,
    cachedInputTokens: 50,
  });
});
