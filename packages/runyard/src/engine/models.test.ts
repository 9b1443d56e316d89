import { modelListSchema } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { listModels, modelLookUp, type ProviderModels } from "./models.ts";

const PROVIDERS = [
  { name: "openai", api: "openai", host: "api.openai.com" },
  { name: "local", api: "openai", host: "127.0.0.1:11434" },
] as const;
const GPT = {
  id: "gpt-x",
  name: null,
  contextTokens: 128_000,
  inputUsdPerMillion: 1.25,
  outputUsdPerMillion: 10,
  cachedInputUsdPerMillion: null,
};

test("models are named with their provider, and one that does not answer is told with its problem", async () => {
  const list = await listModels({
    providers: () => [...PROVIDERS],
    models: () =>
      Promise.resolve([
        { provider: "openai", models: [GPT], problem: null },
        { provider: "local", models: [], problem: "Nothing listens there." },
      ]),
  });
  expect(modelListSchema.parse(list)).toEqual({
    data: [{ ...GPT, id: "openai/gpt-x", provider: "openai" }],
    providers: [
      { ...PROVIDERS[0], models: 1, problem: null },
      { ...PROVIDERS[1], models: null, problem: "Nothing listens there." },
    ],
  });
});

test("a server without a gateway says that it asks nobody", async () => {
  expect(await listModels({ providers: () => [PROVIDERS[0]], models: () => null })).toEqual({
    data: [],
    providers: [{ ...PROVIDERS[0], models: null, problem: "This server executes no runs and asks no provider. Ask one that does." }],
  });
});

test("a gateway that does not answer is an error that can be tried again", async () => {
  const asked = listModels({ providers: () => [], models: () => Promise.reject(new Error("it took too long")) });
  await expect(asked).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("it took too long") as string });
});

describe("a name that is looked up", () => {
  const openai: ProviderModels = { provider: "openai", models: [GPT], problem: null };
  const local: ProviderModels = { provider: "local", models: [], problem: "Nothing listens there." };
  const codes = async (model: string, ask: Parameters<typeof modelLookUp>[0]): Promise<string[]> =>
    (await modelLookUp(ask, () => 0)(model)).map(({ code }) => code);

  test.each<[string, string[], readonly ProviderModels[] | null]>([
    ["gpt-x", [], [openai]],
    ["openai/gpt-x", [], [openai]],
    ["gpt-y", ["model-unknown"], [openai]],
    ["local/gpt-x", ["model-unknown"], [openai]],
    ["gpt-y", [], [openai, local]],
    ["gpt-y", [], []],
    ["gpt-y", [], null],
  ])("%s is answered with %j", async (model, expected, lists) => {
    expect(await codes(model, () => lists && Promise.resolve(lists))).toEqual(expected);
  });

  test("is not waited for, and a gateway that is away says nothing", async () => {
    expect(await codes("gpt-y", () => new Promise(() => undefined))).toEqual([]);
    expect(await codes("gpt-y", () => Promise.reject(new Error("away")))).toEqual([]);
  });

  test("is asked for once a minute", async () => {
    let now = 0;
    let asked = 0;
    const lookUp = modelLookUp(
      () => {
        asked += 1;
        return Promise.resolve([openai]);
      },
      () => now,
    );
    for (const at of [0, 59_999, 60_000]) {
      now = at;
      await lookUp("gpt-y");
    }
    expect(asked).toBe(2);
  });
});
