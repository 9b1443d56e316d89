import type { CreateRunRequest } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve({ isPriced: async (model) => model !== "house-model" });
});
afterAll(() => served?.close());

const create = (more: Partial<CreateRunRequest>) => served.client.runs.create({ task: "x", repositoryUrl: "/repository", ...more });
const post = (body: string): Promise<Response> =>
  fetch(`${served.door.url}/v1/agent-runs`, {
    method: "POST",
    headers: { authorization: "Bearer token-a", "content-type": "application/json" },
    body: `{"task":"x","repositoryUrl":"/repository","budget":${body}}`,
  });

test("a run has the budget that it was created with, and one that says none has none", async () => {
  expect((await create({ budget: { usd: 2.5, tokens: 1_000 } })).budget).toEqual({
    usd: 2.5,
    tokens: 1_000,
    spentUsd: 0,
    spentTokens: 0,
    // Without isolation, which is the default here, an agent can go past the gateway.
    enforcement: "advisory",
  });
  expect(await create({})).toMatchObject({ budget: null, credential: "gateway" });
  expect(await create({ budget: {} })).toMatchObject({ budget: null });
});

test.each([
  ["budget.usd", '{"usd":0}'],
  ["budget.usd", '{"usd":-1}'],
  ["budget.usd", '{"usd":1e999}'],
  ["budget.usd", '{"usd":"2.50"}'],
  ["budget.usd", '{"usd":null}'],
  ["budget.usd", '{"usd":2000000}'],
  ["budget.tokens", '{"tokens":0}'],
  ["budget.tokens", '{"tokens":1.5}'],
  ["budget.tokens", '{"tokens":-5}'],
  ["budget.tokens", '{"tokens":9007199254740993}'],
  ["budget.dollars", `{"dollars":1}`],
  ["budget", "5"],
])("%s is refused: %s", async (path, body) => {
  const response = await post(body);
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ code: "invalid_request", errors: [{ path }] });
});

test("no JSON has a budget that is no number", async () => {
  expect((await post('{"usd":NaN}')).status).toBe(400);
});

test("dollars need a price, tokens need none", async () => {
  const model = "house-model";
  await expect(create({ model, budget: { usd: 1 } })).rejects.toMatchObject({ code: "price_unknown", status: 422 });
  expect(await create({ model, budget: { tokens: 5 } })).toMatchObject({ budget: { usd: null, tokens: 5 } });
  // Nobody here knows what such a program calls.
  expect(await create({ agent: { command: ["./agent"] }, model, budget: { usd: 1 } })).toMatchObject({ budget: { usd: 1 } });
});

test("a run that is continued keeps its budget or gets another one", async () => {
  const { id } = await create({ budget: { usd: 1 } });
  await served.complete(await served.claim(id));
  expect(await served.client.runs.continue(id, "more")).toMatchObject({ budget: { usd: 1, tokens: null } });
  await served.complete(await served.claim(id));
  expect(await served.client.runs.continue(id, "more", { budget: { tokens: 7 } })).toMatchObject({ budget: { usd: null, tokens: 7 } });
  await served.complete(await served.claim(id));
  await expect(served.client.runs.continue(id, "more", { budget: { tokens: 0 } })).rejects.toMatchObject({ code: "invalid_request" });
});
