import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { call, type RawAnswer, type RawCall, until } from "./testing/caller.ts";
import {
  asked,
  beginStreamOf,
  GEMINI_QUESTION,
  keyIn,
  MESSAGES_QUESTION,
  providerOf,
  sendWhole,
  STREAMED,
  streamWell,
  type TestFormat,
  WHOLE,
} from "./testing/formats.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { type SeenRequest, sendJson, useProviders } from "./testing/provider.ts";
import { NO_TOKENS } from "./wire-format.ts";

const { shared } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-formats-123456";
const CUT = "The connection to the model provider broke in the middle of its answer.";
const EARLY = "The model provider ended its answer before it was complete.";

interface Opened {
  readonly host: TestHost;
  readonly gateway: Gateway;
  readonly runId: string;
  readonly token: string;
  readonly seen: SeenRequest[];
  ask(options?: RawCall & { readonly stream?: boolean; readonly fields?: object }): Promise<RawAnswer>;
}

async function openWith(
  format: TestFormat,
  answer: (response: ServerResponse, request: SeenRequest) => void,
  apiKey: string | null = KEY,
): Promise<Opened> {
  const provider = await startProvider((request, response) => answer(response, request));
  const { host, gateway } = await shared();
  await gateway.setProviders([providerOf(format, { baseUrl: provider.baseUrl, apiKey })]);
  const run = newRun();
  await gateway.openRun(run);
  const ask: Opened["ask"] = ({ stream = STREAMED.includes(format), fields, ...options } = {}) =>
    call(gateway, { token: run.token, path: format.path, body: asked(format, stream, fields), ...options });
  return { host, gateway, ...run, seen: provider.seen, ask };
}

describe.each(STREAMED)("$name, streamed", (format) => {
  test("arrives to the byte, and is counted", async () => {
    const { host, runId, seen, ask } = await openWith(format, (response) => streamWell(format, response, ["Hello", " ä€"]));
    const answer = await ask();
    expect(answer).toMatchObject({ status: 200, complete: true, headers: { "content-type": format.contentType } });
    expect(answer.body.trimEnd()).toBe((format.begin + format.say("Hello") + format.say(" ä€") + format.end).trimEnd());
    expect(seen[0]?.url).toBe(format.providerPath);
    expect(keyIn(seen[0] as SeenRequest)).toBe(KEY);
    const [open, close] = host.lines(runId);
    expect(open).toMatchObject({ type: "open", provider: format.api, model: "model-x" });
    expect(close).toMatchObject({ type: "close", status: 200, ok: true, complete: true, error: null, ...format.tokens });
  });

  test("comes as it is made, not when it is whole", async () => {
    let provider: ServerResponse | undefined;
    const { ask } = await openWith(format, (response) => {
      provider = response;
      beginStreamOf(format, response);
      response.write(format.begin + format.say("first"));
    });
    let text = "";
    const answer = ask({ onData: (piece) => (text += String(piece)) });
    await until(() => text.includes("first"), "the first event");
    provider?.end(format.end);
    expect(await answer).toMatchObject({ complete: true });
  });

  const broken: [string, string, (answer: ServerResponse) => void][] = [
    [
      "is reset in the middle",
      CUT,
      (answer) => answer.write(format.say("x"), () => setTimeout(() => answer.socket?.resetAndDestroy(), 50)),
    ],
    [
      "is closed in the middle of an event",
      CUT,
      (answer) => answer.write(format.say("x").slice(0, 9), () => setTimeout(() => answer.destroy(), 50)),
    ],
    ["ends cleanly without its end", EARLY, (answer) => answer.end(format.say("x"))],
    ["has the provider's own error", "Overloaded, try later", (answer) => answer.end(format.error("Overloaded, try later"))],
  ];
  test.each(broken)("one that %s looks broken", async (_, words, finish) => {
    const { host, runId, ask } = await openWith(format, (response) => {
      beginStreamOf(format, response);
      response.write(format.begin + format.say("Hello"));
      finish(response);
    });
    const answer = await ask();
    expect(answer).toMatchObject({ status: 200, complete: false });
    expect(answer.body.startsWith(format.begin + format.say("Hello"))).toBe(true);
    expect(format.lastWords(answer.body)).toBe(words);
    expect(host.closes(runId)).toMatchObject([{ status: 200, ok: false, complete: false, error: words, outputTokens: null }]);
  });

  test("an event that makes no sense goes through, and the call counts as failed", async () => {
    let provider: ServerResponse | undefined;
    const { host, runId, ask } = await openWith(format, (response) => {
      provider = response;
      beginStreamOf(format, response);
      response.write(format.begin + format.say("Hello"));
    });
    // In the middle of a stream that is under way, alone.
    let text = "";
    const answer = ask({ onData: (piece) => (text += String(piece)) });
    await until(() => text.includes("Hello"), "the first event");
    provider?.write(format.nonsense + format.say("x"));
    await until(() => text.includes(format.nonsense), "the nonsense");
    provider?.end(format.end);
    await answer;
    expect(host.closes(runId)).toMatchObject([{ ok: false, error: expect.stringContaining("sent an event that is not") as string }]);
  });

  test("one that breaks before its first event is an error that can be tried again", async () => {
    const { ask } = await openWith(format, (response) => {
      beginStreamOf(format, response);
      response.write(format.begin.slice(0, 6), () => setTimeout(() => response.destroy(), 50));
    });
    const answer = await ask();
    expect(answer).toMatchObject({ status: 502, complete: true, headers: { "retry-after": "2" } });
    expect(format.messageOf(answer.body)).toBe(CUT);
  });

  test("an event that does not end is given up at 8 MiB", async () => {
    const { host, runId, ask } = await openWith(format, (response) => {
      beginStreamOf(format, response);
      response.write(format.begin + format.say("Hello"));
      const [start = ""] = format.say("@@").split("@@");
      response.end(start + "x".repeat(9 * 1024 * 1024));
    });
    const answer = await ask();
    expect(answer.complete).toBe(false);
    expect(format.lastWords(answer.body)).toContain("more than 8388608 bytes");
    expect(host.closes(runId)).toMatchObject([{ ok: false, complete: false }]);
  });

  test.runIf(process.env["RUNYARD_TEST_FULL"])("a stream of 100 MB goes through", async () => {
    const piece = format.say("x".repeat(1024 * 1024));
    const { ask } = await openWith(format, (response) => {
      beginStreamOf(format, response);
      response.write(format.begin);
      for (let count = 0; count < 100; count += 1) response.write(piece);
      response.end(format.end);
    });
    const answer = await ask();
    expect(answer.complete).toBe(true);
    expect(answer.body.length).toBeGreaterThan(100 * piece.length);
  });
});

describe.each(WHOLE)("$name, whole", (format) => {
  test("arrives to the byte, and is counted", async () => {
    const { host, runId, seen, ask } = await openWith(format, (response) => sendWhole(format, response, "Hello"));
    expect(JSON.parse((await ask({ stream: false })).body)).toEqual(format.whole?.("Hello"));
    expect(seen[0]?.url).toBe(format.providerPath);
    expect(host.closes(runId)).toMatchObject([{ ok: true, complete: true, ...format.tokens }]);
  });

  const unusable: [string, string, (answer: ServerResponse) => void][] = [
    [
      "compressed",
      "compressed (gzip)",
      (answer) => answer.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end("x"),
    ],
    [
      "cut",
      CUT,
      (answer) => answer.writeHead(200, { "content-type": "application/json" }).write('{"a', () => setTimeout(() => answer.destroy(), 50)),
    ],
    [
      "too long",
      "longer than 33554432 bytes",
      (answer) => answer.writeHead(200, { "content-type": "application/json" }).end(Buffer.alloc(33 * 1024 * 1024, " ")),
    ],
    ["a page", "The provider's answer is not", (answer) => answer.writeHead(200, { "content-type": "text/html" }).end("<html>")],
  ];
  test.each(unusable)("an answer that is %s is an error in the format's shape", async (_, words, send) => {
    const { host, runId, ask } = await openWith(format, send);
    const answer = await ask({ stream: false });
    expect(answer).toMatchObject({ status: 502, complete: true });
    expect(format.messageOf(answer.body)).toContain(words);
    expect(host.closes(runId)).toMatchObject([{ ok: false, complete: false, ...NO_TOKENS }]);
  });

  test("an answer without usage is counted as one, with figures that are unknown", async () => {
    const { host, runId, ask } = await openWith(format, (response) => {
      const { usage: _usage, usageMetadata: _metadata, ...bare } = { ...format.whole?.("x") } as Record<string, unknown>;
      sendJson(response, 200, bare);
    });
    await ask({ stream: false });
    expect(host.closes(runId)).toMatchObject([{ ok: true, ...NO_TOKENS }]);
  });

  test("the provider's error goes through as it is", async () => {
    const error = { error: { message: "Too long.", extra: 1 } };
    const { host, runId, ask } = await openWith(format, (response) => sendJson(response, 400, error));
    expect(JSON.parse((await ask({ stream: false })).body)).toEqual(error);
    expect(host.closes(runId)).toMatchObject([{ status: 400, ok: false, error: "Too long." }]);
  });

  test("refusals of the gateway's own have the format's shape", async () => {
    const { gateway, runId, ask } = await openWith(format, (response) => sendWhole(format, response, "Hello"));
    const wrongToken = await ask({ token: "ryg_somebody_elses_token" });
    expect(wrongToken.status).toBe(401);
    expect(format.messageOf(wrongToken.body)).toContain("not the token of a living run");
    const wrongBody = await ask({ body: "{" });
    expect(wrongBody.status).toBe(400);
    expect(format.messageOf(wrongBody.body)).toBe("The body is not JSON.");
    await gateway.setProviders([]);
    expect(format.messageOf((await ask()).body)).toContain("No model is connected");
    expect(runId).toBeTruthy();
  });
});

const [chat, responses, messages, gemini] = WHOLE as [TestFormat, TestFormat, TestFormat, TestFormat];

test.each<[string, Record<string, string>, string]>([
  ["Authorization", { authorization: "Bearer TOKEN" }, ""],
  ["x-api-key", { "x-api-key": "TOKEN" }, ""],
  ["x-goog-api-key", { "x-goog-api-key": "TOKEN" }, ""],
  ["?key=", {}, "?key=TOKEN"],
])("the run's token is taken from %s, and goes nowhere", async (_, headers, query) => {
  const { token, seen, ask } = await openWith(gemini, (response) => sendWhole(gemini, response, "Hello"));
  const put = (text: string): string => text.replace("TOKEN", token);
  const told = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, put(value)]));
  const answer = await ask({ headers: { authorization: "Bearer other", ...told }, path: gemini.path + put(query) });
  expect(answer.status).toBe(200);
  expect(JSON.stringify([seen[0]?.url, seen[0]?.headers, seen[0]?.text])).not.toContain(token);
});

test.each<[string, string, Record<string, string>, Record<string, string | undefined>]>([
  [
    "a key",
    "sk-ant-api03-0123456789",
    {},
    { "x-api-key": "sk-ant-api03-0123456789", authorization: undefined, "anthropic-version": "2023-06-01" },
  ],
  [
    "the token of a login",
    "sk-ant-oat01-0123456789",
    {},
    { "x-api-key": undefined, authorization: "Bearer sk-ant-oat01-0123456789", "anthropic-beta": "oauth-2025-04-20" },
  ],
  [
    "the token of a login, with the client's version and betas",
    "sk-ant-oat01-0123456789",
    { "anthropic-version": "2024-01-01", "anthropic-beta": "one,oauth-2025-04-20,two" },
    { "anthropic-version": "2024-01-01", "anthropic-beta": "one,two,oauth-2025-04-20" },
  ],
])("Anthropic is given %s as it takes it", async (_, key, headers, expected) => {
  const { seen, ask } = await openWith(messages, (response) => sendWhole(messages, response, "Hello"), key);
  expect(await ask({ stream: false, headers })).toMatchObject({ status: 200 });
  for (const [name, value] of Object.entries(expected)) expect(seen[0]?.headers[name]).toBe(value);
});

test("Anthropic is told of betas where its own programs tell it, and of nothing else in the URL", async () => {
  const { seen, ask } = await openWith(messages, (response) => sendWhole(messages, response, "Hello"));
  expect(await ask({ stream: false, path: "/v1/messages?beta=true&other=1" })).toMatchObject({ status: 200 });
  expect(seen[0]?.url).toBe("/v1/messages?beta=true");
});

test("chat completions go to every maker with a bearer token", async () => {
  for (const [format, path] of [
    [messages, "/v1/chat/completions"],
    [gemini, "/v1beta/openai/chat/completions"],
  ] as const) {
    const { seen, ask } = await openWith(format, (response) => sendWhole(chat, response, "Hello"));
    expect(await ask({ path: chat.path, body: asked(chat, false) })).toMatchObject({ status: 200 });
    expect(seen[0]).toMatchObject({ url: path, headers: { authorization: `Bearer ${KEY}` } });
  }
});

test.each<[TestFormat, string, object, string, object]>([
  [messages, "/v1/messages/count_tokens", MESSAGES_QUESTION, "/v1/messages/count_tokens", { input_tokens: 7 }],
  [gemini, "/v1beta/models/runyard:countTokens", GEMINI_QUESTION, "/v1beta/models/model-x:countTokens", { totalTokens: 7 }],
])("$name: tokens are counted by the provider, and that is no model call", async (format, path, body, providerPath, answer) => {
  const { host, runId, seen, ask } = await openWith(format, (response) => sendJson(response, 200, answer));
  expect(await ask({ path, body })).toMatchObject({ status: 200, body: JSON.stringify(answer) });
  expect(seen[0]?.url).toBe(providerPath);
  expect(keyIn(seen[0] as SeenRequest)).toBe(KEY);
  expect(() => host.lines(runId)).toThrow("ENOENT");
});

const url = "https://example.com/?q=secret";
test.each<[TestFormat, string, object]>([
  [chat, "images by address", { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] }],
  [responses, "images by address", { input: [{ role: "user", content: [{ type: "input_image", image_url: url }] }] }],
  [
    responses,
    "files that a tool gave, by address",
    { input: [{ type: "function_call_output", output: [{ type: "input_file", file_url: url }] }] },
  ],
  [responses, "earlier answers", { previous_response_id: "resp_1" }],
  [responses, "conversations", { conversation: "conv_1" }],
  [responses, "MCP servers", { tools: [{ type: "mcp", server_url: url }] }],
  [responses, "answers in the background", { background: true }],
  [
    messages,
    "images that a tool gave, by address",
    { messages: [{ role: "user", content: [{ type: "tool_result", content: [{ type: "image", source: { type: "url", url } }] }] }] },
  ],
  [messages, "MCP servers", { mcp_servers: [{ type: "url", url, name: "x" }] }],
  [messages, "containers", { container: "container_1" }],
  [messages, "the fetching tool", { tools: [{ type: "web_fetch_20250910", name: "web_fetch" }] }],
  [gemini, "files by address", { contents: [{ parts: [{ fileData: { fileUri: url } }] }] }],
  [gemini, "stored contents", { cachedContent: "cachedContents/1" }],
  [gemini, "the fetching tool", { tools: [{ urlContext: {} }] }],
])("$name: %s are refused in words, and nothing is called", async (format, _, fields) => {
  const { host, runId, seen, ask } = await openWith(format, (response) => sendWhole(format, response, "Hello"));
  const answer = await ask({ stream: false, fields });
  expect(answer).toMatchObject({ status: 400, headers: { "x-should-retry": "false" } });
  expect(format.messageOf(answer.body)).toMatch(/^Runyard's gateway (passes on no|does not serve)/);
  expect(seen).toEqual([]);
  expect(() => host.lines(runId)).toThrow("ENOENT");
});

test("what stands in the request itself goes through", async () => {
  const data = "data:image/png;base64,AAAA";
  for (const [format, fields] of [
    [chat, { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: data } }] }] }],
    [responses, { input: [{ role: "user", content: [{ type: "input_image", image_url: data }] }] }],
    [
      messages,
      {
        messages: [{ role: "user", content: [{ type: "image", source: { type: "base64", data: "AAAA" } }] }],
        tools: [{ name: "web_fetch" }],
      },
    ],
    [messages, { messages: [{ role: "assistant", content: [{ type: "tool_use", id: "1", name: "x", input: { source: { url } } }] }] }],
    [gemini, { contents: [{ parts: [{ text: url }, { inlineData: { data: "AAAA" } }] }] }],
  ] as [TestFormat, object][]) {
    const { ask } = await openWith(format, (response) => sendWhole(format, response, "Hello"));
    expect(await ask({ stream: false, fields })).toMatchObject({ status: 200 });
  }
});

test("a model's name in a path is one name, whatever stands in it", async () => {
  const { seen, ask } = await openWith(gemini, (response) => sendWhole(gemini, response, "Hello"));
  const at = (model: string) => ask({ path: `/v1beta/models/${model}:generateContent` });
  expect(await at("gemini/gemini-2.5-pro")).toMatchObject({ status: 200 });
  expect(await at("gemini%2F..%2F..%2Fsecret%3Fx")).toMatchObject({ status: 200 });
  expect(await at("%E0%A4%A")).toMatchObject({ status: 404 });
  expect(await at("")).toMatchObject({ status: 404 });
  expect(seen.map((request) => request.url)).toEqual([
    "/v1beta/models/gemini-2.5-pro:generateContent",
    "/v1beta/models/..%2F..%2Fsecret%3Fx:generateContent",
  ]);
});
