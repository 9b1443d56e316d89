import { expect, test } from "vitest";
import type { Provider } from "./protocol.ts";
import { createModelLists } from "./provider-models.ts";
import { openaiAt, sendJson, useProviders } from "./testing/provider.ts";

const startProvider = useProviders();
const UNKNOWN = { name: null, contextTokens: null, inputUsdPerMillion: null, outputUsdPerMillion: null, cachedInputUsdPerMillion: null };

/** A list of models as a provider of OpenAI's API gives it. */
async function listOf(value: unknown, provider: Partial<Provider> = {}): ReturnType<ReturnType<typeof createModelLists>["of"]> {
  const { baseUrl } = await startProvider((_, response) => sendJson(response, 200, value));
  return await createModelLists().of([{ ...openaiAt({ baseUrl, apiKey: null, model: null }), ...provider }]);
}

test.each<[string, object, object]>([
  ["OpenAI and Ollama", { id: "m", object: "model", owned_by: "x" }, {}],
  [
    "OpenRouter",
    {
      id: "m",
      name: "Maker: M",
      context_length: 200_000,
      pricing: { prompt: "0.000003", completion: "0.000015", input_cache_read: "0.0000003", image: "0.0048" },
    },
    { name: "Maker: M", contextTokens: 200_000, inputUsdPerMillion: 3, outputUsdPerMillion: 15, cachedInputUsdPerMillion: 0.3 },
  ],
  ["OpenRouter, where the price varies", { id: "m", pricing: { prompt: "-1", completion: "-1" } }, {}],
  ["Mistral", { id: "m", max_context_length: 131_072, name: "M" }, { name: "M", contextTokens: 131_072 }],
  ["Groq", { id: "m", context_window: 8_192 }, { contextTokens: 8_192 }],
  ["vLLM", { id: "m", max_model_len: 4_096 }, { contextTokens: 4_096 }],
  ["llama.cpp", { id: "m", meta: { n_ctx_train: 32_768 } }, { contextTokens: 32_768 }],
  ["a server that says odd things", { id: "m", context_length: "long", pricing: 3, name: 7 }, {}],
])("what %s says of a model is understood", async (_, model, expected) => {
  expect(await listOf({ object: "list", data: [model] })).toEqual([
    { provider: "openai", models: [{ ...UNKNOWN, id: "m", ...expected }], problem: null },
  ]);
});

test("at its maker's address a model has the price and the context of the public lists, and nowhere else", async () => {
  const known: Provider = {
    ...openaiAt({ baseUrl: "https://api.openai.com/v1", apiKey: null, model: null }),
    models: ["gpt-4o", "no-such"],
  };
  const local: Provider = { ...known, name: "local", baseUrl: "http://127.0.0.1:1/v1" };
  const [first, second] = await createModelLists().of([known, local]);
  expect(first?.models).toEqual([
    { id: "gpt-4o", name: null, contextTokens: 128_000, inputUsdPerMillion: 2.5, outputUsdPerMillion: 10, cachedInputUsdPerMillion: 1.25 },
    { ...UNKNOWN, id: "no-such" },
  ]);
  expect(second?.models[0]).toEqual({ ...UNKNOWN, id: "gpt-4o" });
});

test.each<[string, (response: Parameters<typeof sendJson>[0]) => void, string]>([
  [
    "refuses",
    (response) => sendJson(response, 401, { error: { message: "No such key sk-decoy-1234567" } }),
    "It answered 401: No such key [redacted]",
  ],
  ["has no list", (response) => sendJson(response, 404, {}), "It answered 404: no words"],
  ["lists something else", (response) => sendJson(response, 200, { data: "x" }), "What it answered is no list of models."],
  ["answers with a page", (response) => void response.writeHead(200).end("<html>"), "What it answered is no list of models."],
  ["compresses", (response) => void response.writeHead(200, { "content-encoding": "gzip" }).end("x"), "is compressed (gzip)"],
  ["breaks off", (response) => void response.destroy(), "broke the connection off"],
])("a provider that %s is one with a problem", async (_, answer, words) => {
  const { baseUrl } = await startProvider((_request, response) => answer(response));
  const provider = openaiAt({ baseUrl, apiKey: "sk-decoy-1234567", model: null });
  expect(await createModelLists().of([provider])).toEqual([
    { provider: "openai", models: [], problem: expect.stringContaining(words) as string },
  ]);
});

test("a list is asked for once by all, and again when it has grown old", async () => {
  let now = 0;
  let isBroken = true;
  const { baseUrl, seen } = await startProvider((_, response) => sendJson(response, isBroken ? 500 : 200, { data: [] }));
  const provider = openaiAt({ baseUrl, apiKey: null, model: null });
  const lists = createModelLists(() => now);
  await Promise.all([lists.of([provider]), lists.of([provider])]);
  expect(seen).toHaveLength(1);
  // One that could not be had is asked for sooner.
  isBroken = false;
  now += 10_000;
  expect(await lists.of([provider])).toMatchObject([{ problem: null }]);
  now += 299_999;
  await lists.of([provider]);
  expect(seen).toHaveLength(2);
  now += 1;
  await lists.of([provider]);
  expect(seen).toHaveLength(3);
  await lists.of([{ ...provider, apiKey: "another-key-0123" }]);
  expect(seen).toHaveLength(4);
});
