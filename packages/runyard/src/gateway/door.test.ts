import { readFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { expect, test } from "vitest";
import { doorSocket } from "./files.ts";
import type { Gateway } from "./client.ts";
import { CONTROL_PROTOCOL } from "./protocol.ts";
import { call, QUESTION } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, delta, DONE, FINISH, openaiAt, sendJson, type TestProvider, USAGE_EVENT, useProviders } from "./testing/provider.ts";

const { newHost, shared } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-door-1234567890";

async function openWith(
  provider: TestProvider,
  model: string | null = "gpt-x",
): Promise<{ host: TestHost; gateway: Gateway; run: ReturnType<typeof newRun> }> {
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model })]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, gateway, run };
}

test("a streamed answer arrives unchanged but for the usage event, which is counted", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);

  const answer = await call(gateway, { token: run.token, body: { ...QUESTION, stream: true } });

  expect(answer).toMatchObject({ status: 200, complete: true });
  expect(answer.body).toBe(delta("Hello ") + delta("world") + FINISH + DONE);
  expect(answer.headers).toMatchObject({ "content-type": "text/event-stream", "transfer-encoding": "chunked", connection: "close" });
  expect(provider.seen[0]?.body).toEqual({ ...QUESTION, model: "gpt-x", stream: true, stream_options: { include_usage: true } });
  const [open, close] = host.lines(run.runId);
  expect(open).toMatchObject({ type: "open", model: "gpt-x", path: "/v1/chat/completions" });
  expect(close).toMatchObject({ type: "close", id: open?.id, status: 200, ok: true, complete: true, error: null, settled: "measured" });
  expect(close).toMatchObject({ inputTokens: 1_200, outputTokens: 34, cachedInputTokens: 1_000 });
});

test("a client that asks for the usage event gets it, and its other stream options stay", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  const body = { ...QUESTION, model: "m", stream: true, stream_options: { include_usage: true, include_obfuscation: false } };

  const answer = await call(gateway, { token: run.token, body });

  expect(answer.body).toContain(USAGE_EVENT + DONE);
  expect(provider.seen[0]?.text).toBe(JSON.stringify(body));
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, inputTokens: 1_200 }]);
});

test("a whole answer arrives unchanged, chunked, and is counted", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);

  const answer = await call(gateway, { token: run.token });

  expect(JSON.parse(answer.body)).toMatchObject({ choices: [{ message: { content: "Hello world" } }], usage: { prompt_tokens: 1_200 } });
  expect(answer.headers["transfer-encoding"]).toBe("chunked");
  expect(provider.seen[0]?.body).toEqual({ ...QUESTION, model: "gpt-x" });
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, inputTokens: 1_200, outputTokens: 34, cachedInputTokens: 1_000 }]);
});

test("usage that the provider does not tell is null, never 0", async () => {
  const provider = await startProvider((_, response) => sendJson(response, 200, { choices: [], usage: { prompt_tokens: 7 } }));
  const { host, gateway, run } = await openWith(provider);
  await call(gateway, { token: run.token });
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, inputTokens: 7, outputTokens: null, cachedInputTokens: null }]);
});

test("what was asked and answered is recorded, for this user only", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  const answer = await call(gateway, { token: run.token, body: { ...QUESTION, stream: true } });
  const dir = path.join(host.home.gatewayDir, "runs", run.runId);
  const id = host.lines(run.runId)[0]?.id ?? "";
  await expect.poll(() => readFileSync(path.join(dir, `${id}.request.json`), "utf8")).toBe(JSON.stringify({ ...QUESTION, stream: true }));
  await expect.poll(() => readFileSync(path.join(dir, `${id}.response`), "utf8")).toBe(answer.body);
});

test("the alias means the run's model, else the provider's; other names go through", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  const ownModel = { ...newRun(), model: "run-model" };
  await gateway.openRun(ownModel);

  await call(gateway, { token: run.token });
  await call(gateway, { token: ownModel.token });
  await call(gateway, { token: ownModel.token, body: { ...QUESTION, model: "agent-model" } });

  expect(provider.seen.map((request) => request.body["model"])).toEqual(["gpt-x", "run-model", "agent-model"]);
});

test("an alias that stands for nothing is refused, and nothing is called", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider, null);
  const answer = await call(gateway, { token: run.token });
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.body)).toMatchObject({
    error: { code: "model_not_found", message: expect.stringContaining("No model is chosen") },
  });
  expect(provider.seen).toEqual([]);
});

test("the client's headers stay here, but for a few", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  const headers = {
    "openai-organization": "org-evil",
    cookie: "a=b",
    "x-forwarded-for": "1.2.3.4",
    "idempotency-key": "once",
    accept: "text/event-stream",
  };
  await call(gateway, { token: run.token, headers });
  const seen = provider.seen[0]?.headers ?? {};
  expect(seen).toMatchObject({
    authorization: `Bearer ${KEY}`,
    "idempotency-key": "once",
    accept: "text/event-stream",
    "accept-encoding": "identity",
  });
  expect(seen).not.toHaveProperty("openai-organization");
  expect(seen).not.toHaveProperty("cookie");
  expect(seen).not.toHaveProperty("x-forwarded-for");
});

test("the list of models is that of all providers with the alias in front, in the shape that the client reads, and is no model call", async () => {
  const lists: Record<string, object> = {
    "/v1/models": { object: "list", data: [{ id: "gpt-x" }, { id: "meta/llama", context_length: 8_192 }] },
    "/v1/models?limit=1000": { data: [{ id: "claude-x", display_name: "Claude X" }], has_more: true, last_id: "claude x" },
    "/v1/models?limit=1000&after_id=claude%20x": { data: [{ id: "claude-y" }], has_more: false },
    "/v1beta/models?pageSize=1000": {
      models: [
        { name: "models/gemini-x", inputTokenLimit: 1_048_576, supportedGenerationMethods: ["generateContent"] },
        { name: "models/embedding-x", supportedGenerationMethods: ["embedContent"] },
      ],
    },
  };
  const provider = await startProvider((request, response) => sendJson(response, 200, lists[request.url]));
  const { host, gateway, run } = await openWith(provider);
  const root = provider.baseUrl.replace("/v1", "");
  const closed = { name: "closed", api: "openai", baseUrl: "http://127.0.0.1:1/v1", apiKey: null, model: null } as const;
  await gateway.setProviders([
    openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" }),
    { ...closed, name: "anthropic", api: "anthropic", baseUrl: root },
    { ...closed, name: "google", api: "gemini", baseUrl: root },
    closed,
  ]);
  const list = async (url: string, headers: Record<string, string> = {}): Promise<unknown> =>
    JSON.parse((await call(gateway, { token: run.token, method: "GET", path: url, headers })).body);
  const ids = ["openai/gpt-x", "openai/meta/llama", "anthropic/claude-x", "anthropic/claude-y", "google/gemini-x"];
  expect(await list("/v1/models")).toMatchObject({ object: "list", data: ["runyard", ...ids].map((id) => ({ id, object: "model" })) });
  expect(await list("/v1/models", { "anthropic-version": "2023-06-01" })).toMatchObject({
    data: [{ id: "runyard" }, { id: "anthropic/claude-x", display_name: "Claude X" }, { id: "anthropic/claude-y" }],
    has_more: false,
  });
  expect(await list("/v1beta/models")).toMatchObject({
    models: [{ name: "models/runyard" }, { name: "models/google/gemini-x", inputTokenLimit: 1_048_576 }],
  });
  // The lists are kept.
  expect(provider.seen).toHaveLength(4);
  expect(provider.seen[0]).toMatchObject({ url: "/v1/models", headers: { authorization: `Bearer ${KEY}` } });
  expect(() => host.lines(run.runId)).toThrow("ENOENT");

  const told = await gateway.models();
  expect(told.map((one) => [one.provider, one.models.length, one.problem === null])).toEqual([
    ["openai", 2, true],
    ["anthropic", 2, true],
    ["google", 1, true],
    ["closed", 0, false],
  ]);
  expect(told[0]?.models[1]).toMatchObject({ id: "meta/llama", name: null, contextTokens: 8_192 });
  expect(told[3]?.problem).toContain("nothing listens there");
});

test("agents without isolation reach the same door by TCP", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  const port = gateway.tcpPort();
  expect(await call(gateway, { port, token: run.token })).toMatchObject({ status: 200, complete: true });
  expect(await call(gateway, { port, token: "ryg_somebody_elses_token" })).toMatchObject({ status: 401 });
  expect(JSON.parse(readFileSync(path.join(host.home.gatewayDir, "gateway.json"), "utf8"))).toMatchObject({
    tcpPort: port,
    protocol: CONTROL_PROTOCOL,
  });
});

test("only tokens of living runs open the door", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  const other = newRun();
  const refused = { status: 401, complete: true };

  expect(await call(gateway, {})).toMatchObject(refused);
  expect(await call(gateway, { token: "wrong" })).toMatchObject(refused);
  expect(await call(gateway, { token: `${run.token}x` })).toMatchObject(refused);
  expect(await call(gateway, { token: run.token.slice(0, -1) })).toMatchObject(refused);
  expect(await call(gateway, { token: KEY })).toMatchObject(refused);
  expect(await call(gateway, { token: other.token })).toMatchObject(refused);
  expect(await call(gateway, { token: "wrong", path: "/v1/anything" })).toMatchObject(refused);
  expect(provider.seen).toEqual([]);

  await gateway.openRun(other);
  expect(await call(gateway, { token: other.token })).toMatchObject({ status: 200 });
  expect(host.closes(other.runId)).toHaveLength(1);
  expect(() => host.lines(run.runId)).toThrow("ENOENT");

  await gateway.closeRun(other.runId);
  const revoked = await call(gateway, { token: other.token });
  expect(revoked).toMatchObject(refused);
  expect(JSON.parse(revoked.body)).toMatchObject({
    error: { type: "invalid_request_error", code: "invalid_api_key", message: expect.stringContaining("not the token of a living run") },
  });
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
});

test("a new token of a run makes the old one worthless", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  await gateway.openRun({ ...run, token: `${run.token}_second` });
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 401 });
  expect(await call(gateway, { token: `${run.token}_second` })).toMatchObject({ status: 200 });
});

test("there is nothing but the named routes", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  for (const [method, url] of [
    ["GET", "/v1/chat/completions"],
    ["POST", "/v1/models"],
    ["POST", "/v1/embeddings"],
    ["POST", "/v1/chat/completions/../../x"],
    ["GET", "/health"],
    ["GET", "/state"],
  ] as const) {
    const answer = await call(gateway, { token: run.token, method, path: url });
    expect([method, url, answer.status]).toEqual([method, url, 404]);
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: "unknown_url" } });
  }
  expect(provider.seen).toEqual([]);
  expect(await call(gateway, { token: run.token, path: "/v1/chat/completions?x=1" })).toMatchObject({ status: 200 });
});

test.each([
  ["not JSON", "{", "The body is not JSON."],
  ["not an object", "[]", "not a chat completion request"],
  ["no messages", '{"model":"runyard"}', '"messages"'],
  ["a model that is no text", '{"model":1,"messages":[]}', '"model"'],
])("a body that is %s is refused and not journalled", async (_, body, words) => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  const answer = await call(gateway, { token: run.token, body });
  expect(answer.status).toBe(400);
  expect((JSON.parse(answer.body) as { error: { message: string } }).error.message).toContain(words);
  expect(provider.seen).toEqual([]);
  expect(() => host.lines(run.runId)).toThrow("ENOENT");
});

test("a body over 32 MiB is refused, one just under it is taken", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  const bodyOf = (bytes: number): string => {
    const empty = JSON.stringify({ ...QUESTION, padding: "" });
    return JSON.stringify({ ...QUESTION, padding: "x".repeat(bytes - empty.length) });
  };
  const refused = await call(gateway, { token: run.token, body: bodyOf(32 * 1024 * 1024 + 1) });
  expect(refused.status).toBe(413);
  expect(JSON.parse(refused.body)).toMatchObject({ error: { code: "request_too_large" } });
  expect(provider.seen).toEqual([]);
  expect(await call(gateway, { token: run.token, body: bodyOf(32 * 1024 * 1024) })).toMatchObject({ status: 200 });
});

test("HTTP/1.0, where a cut cannot be seen, is refused", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider);
  const socket = net.connect(doorSocket(gateway.doorDir));
  socket.write(`POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer ${run.token}\r\ncontent-length: 2\r\n\r\n{}`);
  let text = "";
  for await (const piece of socket) text += String(piece);
  expect(text).toMatch(/^HTTP\/1\.1 505 /);
  expect(provider.seen).toEqual([]);
});

test("without a provider calls are refused in words, and not tried again", async () => {
  const host = newHost();
  const gateway = await host.open();
  const run = newRun();
  await gateway.openRun(run);
  for (const provider of [undefined, null]) {
    if (provider === null) await gateway.setProviders([]);
    const answer = await call(gateway, { token: run.token });
    expect(answer).toMatchObject({ status: 400, headers: { "x-should-retry": "false" } });
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: "no_model_configured" } });
  }
});

test("a real run is never answered by the scripted model, and a simulated one never by a real model", async () => {
  const provider = await startProvider(answerWell);
  const { host, gateway, run } = await openWith(provider);
  await gateway.setProviders([]);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 400 });

  const simulated = { ...newRun(), simulated: true };
  await gateway.openRun(simulated);
  expect(await call(gateway, { token: simulated.token })).toMatchObject({ status: 200 });
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  expect(await call(gateway, { token: simulated.token, body: { ...QUESTION, model: "gpt-x" } })).toMatchObject({ status: 200 });
  expect(host.lines(simulated.runId).filter((line) => line.type === "open")).toMatchObject([
    { model: "scripted-1" },
    { model: "scripted-1" },
  ]);
  expect(provider.seen).toEqual([]);
});

test("one run cannot take all calls", async () => {
  const provider = await startProvider(() => undefined);
  const { gateway, run } = await openWith(provider);
  const held = Array.from({ length: 64 }, () => call(gateway, { token: run.token }).catch(() => undefined));
  await expect.poll(() => provider.seen.length).toBe(64);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 429, headers: { "retry-after": "5" } });
  const other = newRun();
  await gateway.openRun(other);
  const otherCall = call(gateway, { token: other.token }).catch(() => undefined);
  await expect.poll(() => provider.seen.length).toBe(65);
  provider.server.closeAllConnections();
  await Promise.all([...held, otherCall]);
});

test("what the gateway cannot use is refused in words, without the values, and not remembered", async () => {
  const host = newHost();
  const gateway = await host.open();
  const secret = "sk-secret with spaces";
  await expect(gateway.setProviders([openaiAt({ baseUrl: "http://127.0.0.1/v1", apiKey: secret, model: null })])).rejects.toThrow(
    /apiKey must be one word/,
  );
  await expect(gateway.setProviders([openaiAt({ baseUrl: "ftp://x/", apiKey: null, model: null })])).rejects.toThrow(
    /baseUrl must be an http/,
  );
  await expect(
    gateway.setProviders([openaiAt({ baseUrl: `http://user:${encodeURIComponent(secret)}@x/`, apiKey: null, model: null })]),
  ).rejects.toThrow(/^(?!.*sk-secret).*baseUrl/);
  await expect(gateway.openRun({ ...newRun(), runId: "../../etc" })).rejects.toThrow(/must look like run_/);
  await expect(gateway.openRun({ ...newRun(), token: "short" })).rejects.toThrow(/token must be/);
  const run = newRun();
  await gateway.openRun(run);
  expect(await gateway.health()).toMatchObject({ runs: [run.runId] });
});
