import { modelListSchema } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { listModels } from "./models.ts";

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
