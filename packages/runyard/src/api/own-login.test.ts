import type { CreateRunRequest } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
let why: string | null = null;
let connected = true;
beforeAll(async () => {
  served = await serve({
    whyNoLogin: () => why,
    model: () => ({ connected, simulated: false, model: connected ? "some-model" : null }),
  });
});
beforeEach(() => {
  [why, connected] = [null, true];
});
afterAll(() => served?.close());

const create = (more: Partial<CreateRunRequest> = {}) =>
  served.client.runs.create({ task: "x", repositoryUrl: "/repository", agent: { profile: "codex", login: "own" }, ...more });

test("a run records whose credentials its model calls have", async () => {
  expect(await create()).toMatchObject({ credential: "inside", budget: null, model: null, status: "pending", error: null });
  expect(await create({ model: "gpt-x" })).toMatchObject({ credential: "inside", model: "gpt-x" });
  expect(await create({ agent: { profile: "codex" } })).toMatchObject({ credential: "gateway", model: "some-model" });
  expect(await create({ agent: { profile: "codex", login: "gateway" } })).toMatchObject({ credential: "gateway" });
});

test("it needs no provider that is connected", async () => {
  connected = false;
  expect(await create()).toMatchObject({ credential: "inside", status: "pending" });
  expect(await create({ agent: { profile: "codex" } })).toMatchObject({ status: "failed", error: { type: "no-model-configured" } });
});

test.each<[string, CreateRunRequest["agent"]]>([
  ["the built-in agent", { login: "own" }],
  ["a program of the user's own", { command: ["./agent"], login: "own" }],
])("%s has none", async (_, agent) => {
  await expect(create({ agent })).rejects.toMatchObject({ code: "login_not_usable", status: 422 });
  await expect(served.client.runs.estimate({ task: "x", repositoryUrl: "/repository", agent })).rejects.toMatchObject({
    code: "login_not_usable",
  });
});

test("one that cannot be used is refused with the reason", async () => {
  why = "Codex's login has expired. Renew it there: codex login.";
  await expect(create()).rejects.toMatchObject({ code: "login_not_usable", status: 422, message: why });
});

test("its budget is of tokens, and advisory, which must be said", async () => {
  await expect(create({ budget: { tokens: 5 } })).rejects.toMatchObject({
    code: "budget_not_enforced",
    status: 422,
    message: expect.stringContaining("--budget-advisory") as string,
  });
  await expect(create({ budget: { tokens: 5, advisory: false } })).rejects.toMatchObject({ code: "budget_not_enforced" });
  await expect(create({ budget: { usd: 5, advisory: true } })).rejects.toMatchObject({ code: "price_unknown" });
  const settings = { sandboxDriver: "bwrap" } as const;
  const run = await create({ budget: { tokens: 5, advisory: true }, settings });
  expect(run.budget).toEqual({ usd: null, tokens: 5, spentUsd: 0, spentTokens: 0, enforcement: "advisory" });
  const keyed = await create({ agent: { profile: "codex" }, budget: { tokens: 5, advisory: true }, settings });
  expect(keyed.budget).toMatchObject({ enforcement: "enforced" });
});

test("what it would cost nobody knows", async () => {
  const agent = { profile: "codex", login: "own" } as const;
  expect(await served.client.runs.estimate({ task: "x", repositoryUrl: "/repository", agent })).toMatchObject({
    cost: null,
    basis: "unknown",
  });
});

test("a later turn has the login that there is then, and a budget that says the same", async () => {
  const { id } = await create();
  await served.complete(await served.claim(id));
  why = "It has expired.";
  await expect(served.client.runs.continue(id, "more")).rejects.toMatchObject({ code: "login_not_usable" });
  why = null;
  await expect(served.client.runs.continue(id, "more", { budget: { tokens: 7 } })).rejects.toMatchObject({ code: "budget_not_enforced" });
  connected = false;
  const budget = { tokens: 7, advisory: true };
  expect(await served.client.runs.continue(id, "more", { budget })).toMatchObject({ credential: "inside", status: "pending", model: null });
});

test("a saved agent may say it, a run may say otherwise, and only an agent that can may say it", async () => {
  const { agents } = served.client;
  const saved = await agents.create({ name: "subscriber", profile: "codex", login: "own" });
  expect(saved.login).toBe("own");
  expect(await create({ agent: { name: "subscriber" } })).toMatchObject({ credential: "inside" });
  expect(await create({ agent: { name: "subscriber", login: "gateway" } })).toMatchObject({ credential: "gateway" });
  await expect(agents.update("subscriber", { profile: "builtin" })).rejects.toMatchObject({ code: "login_not_usable" });
  expect(await agents.update("subscriber", { login: null })).toMatchObject({ login: "gateway" });
  expect(await create({ agent: { name: "subscriber" } })).toMatchObject({ credential: "gateway" });
  await expect(agents.create({ name: "other", login: "own" })).rejects.toMatchObject({ code: "login_not_usable" });
});

test("no other word is a login", async () => {
  const response = await fetch(`${served.door.url}/v1/agent-runs`, {
    method: "POST",
    headers: { authorization: "Bearer token-a", "content-type": "application/json" },
    body: JSON.stringify({ task: "x", repositoryUrl: "/repository", agent: { profile: "codex", login: "mine" } }),
  });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ code: "invalid_request", errors: [{ path: "agent.login" }] });
});
