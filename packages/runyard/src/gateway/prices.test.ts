import { expect, test } from "vitest";
import { modelFacts } from "./model-facts.ts";
import { costOf, isPriced, ratesOf } from "./prices.ts";
import type { Provider } from "./protocol.ts";
import { NO_TOKENS, type TokenCounts } from "./wire-format.ts";

const at = (baseUrl: string, more: Partial<Provider> = {}): Provider => ({
  name: "p",
  api: "openai",
  baseUrl,
  apiKey: null,
  model: null,
  ...more,
});
const OPENAI = at("https://api.openai.com/v1");
const ANTHROPIC = at("https://api.anthropic.com", { api: "anthropic" });
const GEMINI = at("https://generativelanguage.googleapis.com", { api: "gemini" });
const used = (tokens: Partial<TokenCounts>): TokenCounts => ({ ...NO_TOKENS, ...tokens });

const TABLE = {
  "house-model": { inputUsdPerMillion: 1, outputUsdPerMillion: 10, cachedInputUsdPerMillion: 0.1, cacheWriteUsdPerMillion: 2 },
};

test.each<[string, Provider, string, Partial<TokenCounts>, number | null]>([
  ["input and output", OPENAI, "gpt-4o", { inputTokens: 1_000, outputTokens: 100 }, 3_500_000],
  ["a dated name", OPENAI, "gpt-4o-2024-11-20", { inputTokens: 1_000, outputTokens: 100 }, 3_500_000],
  ["what was read from a cache", OPENAI, "gpt-4o", { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 500 }, 2_875_000],
  [
    "what was written to a cache",
    ANTHROPIC,
    "claude-sonnet-4-5",
    { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 500, cacheWriteTokens: 100 },
    3_225_000,
  ],
  ["the tier of a long input", GEMINI, "gemini-2.5-pro", { inputTokens: 300_000, outputTokens: 100, cachedInputTokens: 10 }, 751_477_500],
  ["the tier of a short one", GEMINI, "gemini-2.5-pro", { inputTokens: 1_000, outputTokens: 100 }, 2_250_000],
  ["fractions, rounded up", OPENAI, "gpt-4o-mini", { inputTokens: 1, outputTokens: 0, cachedInputTokens: 1 }, 75],
  ["parts that are more than the whole", OPENAI, "gpt-4o", { inputTokens: 10, outputTokens: 0, cachedInputTokens: 20 }, 12_500],
  [
    "a proxy in front of a known provider",
    at("https://proxy.test/v1", { pricedAs: "openai" }),
    "gpt-4o",
    { inputTokens: 1_000, outputTokens: 100 },
    3_500_000,
  ],
  [
    "a table",
    at("http://127.0.0.1:1/v1", { prices: TABLE }),
    "house-model",
    { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 400, cacheWriteTokens: 100 },
    1_740_000,
  ],
  ["a model that is not in the table", { ...OPENAI, prices: TABLE }, "gpt-4o", { inputTokens: 1_000, outputTokens: 100 }, 3_500_000],
  ["a provider that is free", at("http://127.0.0.1:1/v1", { prices: "free" }), "any", { inputTokens: 1_000, outputTokens: 100 }, 0],
  ["one that is free and says nothing", at("http://127.0.0.1:1/v1", { prices: "free" }), "any", {}, 0],
  ["no figures", OPENAI, "gpt-4o", { inputTokens: 1_000 }, null],
])("%s", async (_, provider, model, tokens, cost) => {
  expect((await ratesOf(provider, model))?.cost(used(tokens))).toBe(cost);
});

test.each([
  ["an unknown model", OPENAI, "no-such-model"],
  ["a local server with a model of a known name", at("http://127.0.0.1:11434/v1"), "gpt-4o"],
  ["an unknown proxy", at("https://proxy.test/https://api.openai.com"), "gpt-4o"],
  ["a provider that is in no list", at("https://proxy.test", { pricedAs: "nobody" }), "gpt-4o"],
])("%s has no price", async (_, provider, model) => expect(await ratesOf(provider, model)).toBeNull());

test("no call of so many tokens costs more than the dearest way to have them", async () => {
  const sonnet = await ratesOf(ANTHROPIC, "claude-sonnet-4-5");
  expect(sonnet?.atMost({ input: 1_000, output: 100 })).toBe(5_250_000);
  for (const cached of [0, 300, 1_000])
    for (const written of [0, 700 - cached, 1_000 - cached])
      expect(
        sonnet?.cost(used({ inputTokens: 1_000, outputTokens: 100, cachedInputTokens: cached, cacheWriteTokens: Math.max(0, written) })),
      ).toBeLessThanOrEqual(5_250_000);
  const gemini = await ratesOf(GEMINI, "gemini-2.5-pro");
  expect(gemini?.atMost({ input: 200_001, output: 10 })).toBeGreaterThan(gemini?.atMost({ input: 200_000, output: 10 }) ?? Infinity);
});

test("whether a model has a price is known where it is certain who answers", async () => {
  const local = { ...at("http://127.0.0.1:1/v1"), name: "local" };
  const openai = { ...OPENAI, name: "openai" };
  expect(await isPriced([openai], "gpt-4o")).toBe(true);
  expect(await isPriced([openai], "openai/gpt-4o")).toBe(true);
  expect(await isPriced([local], "gpt-4o")).toBe(false);
  expect(await isPriced([openai, local], "local/gpt-4o")).toBe(false);
  expect(await isPriced([openai, local], "gpt-4o")).toBeNull();
  expect(await isPriced([], "gpt-4o")).toBeNull();
  expect(await isPriced([openai], null)).toBeNull();
});

test("calls that are expected cost together what each of them would", async () => {
  const calls = [
    { input: 1_000, cached: 0, output: 100 },
    { input: 1_000, cached: 500, output: 100 },
  ];
  expect(await costOf([OPENAI], "gpt-4o", calls)).toBe(3_500_000 + 2_875_000);
  expect(await costOf([OPENAI], "no-such-model", calls)).toBeNull();
  expect(await costOf([], "gpt-4o", calls)).toBeNull();
});

test("the list of models tells the prices by which calls are priced", async () => {
  const facts = (prices: Provider["prices"], model: string) => modelFacts(at("http://127.0.0.1:9/v1", { prices }), model);
  expect(await facts(TABLE, "house-model")).toEqual({
    contextTokens: null,
    inputUsdPerMillion: 1,
    outputUsdPerMillion: 10,
    cachedInputUsdPerMillion: 0.1,
  });
  expect(await facts("free", "any")).toMatchObject({ inputUsdPerMillion: 0, outputUsdPerMillion: 0 });
  expect(await facts(TABLE, "unknown")).toMatchObject({ contextTokens: null, inputUsdPerMillion: null });
});
