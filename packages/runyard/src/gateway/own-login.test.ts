import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { controlClient } from "./control-client.ts";
import type { RegisteredRun } from "./protocol.ts";
import { call, type RawAnswer } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { openaiAt, sendJson, type TestProvider, useProviders } from "./testing/provider.ts";

// Agents that call with logins of their own, against real sockets: theirs goes to its maker, and nothing else does, nowhere else.
const { shared, newHost } = useHosts();
const startProvider = useProviders();
const KEY = "sk-key-of-the-gateway-0123456789";
const TOKEN = "eyJ.decoy-access-token-of-the-login.sig";
const ACCOUNT = "acc-1";

const ANSWER = {
  id: "r",
  status: "completed",
  output: [],
  usage: { input_tokens: 1_000, output_tokens: 30, input_tokens_details: { cached_tokens: 400 } },
};
const QUESTION = { model: "gpt-x", input: "Say hello." };
const code = (answer: RawAnswer): string => (JSON.parse(answer.body) as { error: { code: string } }).error.code;

interface Lab {
  readonly host: TestHost;
  readonly gateway: Gateway;
  readonly maker: TestProvider;
  readonly provider: TestProvider;
  readonly run: RegisteredRun;
}

async function lab(change: Partial<RegisteredRun> = {}, at?: { host: TestHost; gateway: Gateway }): Promise<Lab> {
  const { host, gateway } = at ?? (await shared());
  const maker = await startProvider((_, response) => sendJson(response, 200, { ...ANSWER, echo: `Bearer ${TOKEN}` }));
  const provider = await startProvider((_, response) => sendJson(response, 200, ANSWER));
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run: RegisteredRun = {
    ...newRun(),
    ownLogin: {
      provider: {
        name: "codex-login",
        api: "openai",
        baseUrl: `${maker.baseUrl}/backend`,
        apiKey: null,
        model: null,
        prices: { "gpt-x": { inputUsdPerMillion: 1, outputUsdPerMillion: 5 } },
      },
      tokenHash: createHash("sha256").update(TOKEN).digest("hex"),
      accountId: ACCOUNT,
    },
    ...change,
  };
  await gateway.openRun(run);
  return { host, gateway, maker, provider, run };
}

function ask({ gateway, run }: Lab, headers: Record<string, string> = {}, more: { path?: string; method?: string; body?: unknown } = {}) {
  const own = { "x-runyard-token": run.token, authorization: `Bearer ${TOKEN}`, "chatgpt-account-id": ACCOUNT };
  return call(gateway, { path: "/v1/responses", body: QUESTION, headers: { ...own, ...headers }, ...more });
}

test("the agent's own login goes out to its maker, and what Runyard holds does not", async () => {
  const at = await lab();
  const answer = await ask(at, {
    "user-agent": "codex/1",
    originator: "codex",
    "session-id": "s",
    "x-codex-window-id": "w",
    "x-api-key": "sk-of-somebody-else-0123456789",
    "openai-organization": "org-of-somebody-else",
    cookie: "a=b",
    "x-forwarded-for": "10.0.0.1",
  });
  expect(answer.status).toBe(200);
  expect(at.provider.seen).toEqual([]);
  expect(at.maker.seen).toHaveLength(1);
  const [seen] = at.maker.seen;
  expect(seen).toMatchObject({ method: "POST", url: "/v1/backend/responses", body: QUESTION });
  const { host: _, connection: __, "content-length": ___, ...headers } = seen?.headers ?? {};
  expect(headers).toEqual({
    authorization: `Bearer ${TOKEN}`,
    "chatgpt-account-id": ACCOUNT,
    "user-agent": "codex/1",
    originator: "codex",
    "session-id": "s",
    "x-codex-window-id": "w",
    "accept-encoding": "identity",
    "content-type": "application/json",
  });
  // Tokens are counted; what they cost nobody knows, though there is a price for them.
  expect(at.host.closes(at.run.runId)).toMatchObject([
    { provider: "codex-login", model: "gpt-x", inputTokens: 1_000, outputTokens: 30, cachedInputTokens: 400, costNanoUsd: null, ok: true },
  ]);
});

test("neither the journal nor the recording has the login, though the maker echoes it", async () => {
  const at = await lab();
  await ask(at, {}, { body: { ...QUESTION, input: `My login is ${TOKEN}` } });
  await expect.poll(() => at.host.closes(at.run.runId).length).toBe(1);
  const dir = path.join(at.host.home.gatewayDir, "runs", at.run.runId);
  const texts = (): string =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), "utf8"))
      .join("\n");
  await expect.poll(texts).toContain("My login is [redacted]");
  // What was answered is written down later than what was asked.
  await expect.poll(texts).toContain("Bearer [redacted]");
  expect(texts()).not.toContain(TOKEN);
});

test.each<[string, Record<string, string>]>([
  ["another token", { authorization: "Bearer eyJ.of-somebody-else.sig" }],
  ["the run's token in its place", { authorization: "Bearer " }],
  ["a key in place of a login", { authorization: "", "x-api-key": TOKEN }],
  ["another account", { "chatgpt-account-id": "acc-2" }],
])("%s is refused, and nobody is called", async (_, headers) => {
  const at = await lab();
  const answer = await ask(at, headers);
  expect([answer.status, code(answer)]).toEqual([401, "foreign_login"]);
  expect([...at.maker.seen, ...at.provider.seen]).toEqual([]);
  expect(() => at.host.lines(at.run.runId)).toThrow("ENOENT");
});

test("a login of one run is worth nothing to another, nor without a run", async () => {
  const at = await lab();
  const other = newRun();
  await at.gateway.openRun(other);
  // The other one has no login: its calls go with the key, whatever its agent says.
  await call(at.gateway, {
    path: "/v1/responses",
    body: QUESTION,
    headers: { "x-runyard-token": other.token, authorization: `Bearer ${TOKEN}` },
  });
  expect(at.provider.seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${KEY}`]);
  const alone = await call(at.gateway, { path: "/v1/responses", body: QUESTION, token: TOKEN });
  expect([alone.status, code(alone)]).toEqual([401, "invalid_api_key"]);
  expect(at.maker.seen).toEqual([]);
});

test("it goes nowhere but to its maker: no model's name and no other format finds another provider", async () => {
  const at = await lab();
  await ask(at, {}, { body: { ...QUESTION, model: "openai/gpt-x" } });
  expect(at.maker.seen.map(({ body }) => body["model"])).toEqual(["openai/gpt-x"]);
  const messages = await ask(at, {}, { path: "/v1/messages", body: { model: "claude-x", max_tokens: 5, messages: [] } });
  expect(messages.status).toBe(400);
  const list = await ask(at, {}, { path: "/v1/models", method: "GET" });
  expect([list.status, code(list)]).toEqual([404, "models_not_served"]);
  expect(at.provider.seen).toEqual([]);
});

test("Claude's login goes with its messages and with its questions for their length", async () => {
  const { host, gateway } = await shared();
  const at = await lab({}, { host, gateway });
  const maker = await startProvider((_, response) =>
    sendJson(response, 200, { content: [], input_tokens: 5, usage: { input_tokens: 5, output_tokens: 1 } }),
  );
  const ownLogin = {
    provider: { name: "claude-login", api: "anthropic" as const, baseUrl: maker.baseUrl.replace("/v1", ""), apiKey: null, model: null },
    tokenHash: createHash("sha256").update(TOKEN).digest("hex"),
    accountId: null,
  };
  const run = { ...at.run, ownLogin };
  await gateway.openRun(run);
  const headers = { "x-runyard-token": run.token, authorization: `Bearer ${TOKEN}`, "anthropic-beta": "oauth-2025-04-20", "x-app": "cli" };
  const body = { model: "claude-x", max_tokens: 5, messages: [] };
  for (const asked of ["/v1/messages", "/v1/messages/count_tokens"]) {
    expect((await call(gateway, { path: asked, body, headers })).status).toBe(200);
    expect(
      (await call(gateway, { path: asked, body, headers: { ...headers, authorization: "Bearer other-token-0123456789" } })).status,
    ).toBe(401);
  }
  expect(maker.seen.map(({ url }) => url)).toEqual(["/v1/messages", "/v1/messages/count_tokens"]);
  for (const seen of maker.seen) {
    expect(seen.headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, "anthropic-beta": "oauth-2025-04-20", "x-app": "cli" });
    expect(seen.headers).not.toHaveProperty("x-runyard-token");
    expect(seen.headers).not.toHaveProperty("x-api-key");
  }
});

test("a budget is looked at between calls: requests stay as they are, answers may pass it, and the next call is refused", async () => {
  const budget = { nanoUsd: null, tokens: 3_000, spentNanoUsd: 0, spentTokens: 0, readTo: 0, isShare: false };
  const at = await lab({ budget });
  const long = { ...ANSWER, usage: { input_tokens: 1_000, output_tokens: 9_000 } };
  at.maker.server.removeAllListeners("request");
  at.maker.server.on("request", (request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      at.maker.seen.push({
        body: JSON.parse(Buffer.concat(pieces).toString()) as Record<string, unknown>,
      } as (typeof at.maker.seen)[number]);
      sendJson(response, 200, long);
    });
  });
  const first = await ask(at);
  expect(JSON.parse(first.body)).toEqual(long);
  expect(at.maker.seen.map(({ body }) => body)).toEqual([QUESTION]);
  const second = await ask(at);
  expect([second.status, code(second)]).toEqual([402, "budget_exceeded"]);
  expect(at.maker.seen).toHaveLength(1);
  expect(at.host.budgetLines(at.run.runId)).toMatchObject([{ tokens: 3_000, spentTokens: 10_000 }]);
});

test("the next gateway knows it too, and neither of them knows the login itself", async () => {
  const host = newHost();
  const gateway = await host.open({ mark: "a" });
  const at = await lab({}, { host, gateway });
  const state = JSON.stringify(await controlClient(host.home.gatewayControlSocket).state());
  expect(state).toContain("codex-login");
  expect(state).not.toContain(TOKEN);
  gateway.close();
  const next = await host.open({ mark: "b" });
  expect((await ask({ ...at, gateway: next })).status).toBe(200);
});
