import type { ServerResponse } from "node:http";
import { generateText, streamText } from "ai";
import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { call, modelAt, QUESTION, until } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { beginStream, chunk, delta, DONE, FINISH, openaiAt, USAGE_EVENT, useProviders } from "./testing/provider.ts";

const { shared } = useHosts();
const startProvider = useProviders();
const STREAMED = { ...QUESTION, stream: true };

async function openWith(
  answer: (response: ServerResponse) => void,
): Promise<{ host: TestHost; gateway: Gateway; run: ReturnType<typeof newRun>; seen: { aborted: boolean }[] }> {
  const provider = await startProvider((_, response) => answer(response));
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: "sk-test-breaks-123456", model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, gateway, run, seen: provider.seen };
}

/** What the client library makes of a streamed call: the text, and the first error if there was one. */
async function streamWithLibrary(gateway: Gateway, token: string): Promise<{ text: string; error: unknown }> {
  let error: unknown;
  const result = streamText({
    model: modelAt(gateway, { token }),
    prompt: "Hello",
    maxRetries: 0,
    onError: (event) => void (error ??= event.error),
  });
  let text = "";
  try {
    for await (const part of result.textStream) text += part;
  } catch (thrown) {
    error ??= thrown;
  }
  return { text, error };
}

const CUT = "The connection to the model provider broke in the middle of its answer.";
const EARLY = "The model provider ended its answer before it was complete.";

const broken: [string, string, (response: ServerResponse) => void][] = [
  [
    "is reset in the middle",
    CUT,
    (response) => response.write(delta("Hel") + delta("lo"), () => setTimeout(() => response.socket?.resetAndDestroy(), 50)),
  ],
  [
    "is closed in the middle of a chunk",
    CUT,
    (response) => response.write(delta("Hel") + delta("lo") + 'data: {"cho', () => setTimeout(() => response.destroy(), 50)),
  ],
  ["ends cleanly without its last event", EARLY, (response) => response.end(delta("Hel") + delta("lo"))],
  [
    "ends cleanly in the middle of an event",
    "The provider sent an event that is not a chat completion chunk.",
    (response) => response.end(`${delta("Hel")}${delta("lo")}data: {"choices":[{"ind`),
  ],
  [
    "finishes one choice of two",
    EARLY,
    (response) => response.end(delta("Hel") + delta("lo") + chunk({ choices: [{ index: 1, delta: {}, finish_reason: "stop" }] })),
  ],
  [
    "is reset after the finish reason",
    CUT,
    (response) => response.write(delta("Hel") + delta("lo") + FINISH, () => setTimeout(() => response.socket?.resetAndDestroy(), 50)),
  ],
];

test.each(broken)("a stream that %s looks broken", async (_, words, finish) => {
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    finish(response);
  });

  const answer = await call(gateway, { token: run.token, body: STREAMED });
  expect(answer).toMatchObject({ status: 200, complete: false });
  expect(answer.body.startsWith(delta("Hel") + delta("lo"))).toBe(true);
  const lastEvent = answer.body.trimEnd().split("\n\n").at(-1) ?? "";
  expect(JSON.parse(lastEvent.slice("data: ".length))).toEqual({
    error: { message: words, type: "server_error", param: null, code: "upstream_interrupted" },
  });

  const library = await streamWithLibrary(gateway, run.token);
  expect(library.text).toBe("Hello");
  expect(library.error).toBeDefined();

  expect(host.closes(run.runId)).toMatchObject(
    Array.from({ length: 2 }, () => ({ status: 200, ok: false, complete: false, error: words, settled: "measured" })),
  );
});

test("what was counted before a break is kept", async () => {
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.write(delta("x") + USAGE_EVENT, () => setTimeout(() => response.destroy(), 50));
  });
  await call(gateway, { token: run.token, body: STREAMED });
  expect(host.closes(run.runId)).toMatchObject([{ ok: false, inputTokens: 1_200, outputTokens: 34 }]);
});

/** What the provider sends, and what the client gets where that differs. */
const whole: [string, string, string?][] = [
  ["[DONE] and nothing behind it", delta("Hello") + FINISH + DONE],
  ["[DONE] without a blank line", `${delta("Hello")}${FINISH}data: [DONE]`, delta("Hello") + FINISH + DONE],
  ["[DONE] with one newline and no space", `${delta("Hello")}${FINISH}data:[DONE]\n`, `${delta("Hello")}${FINISH}data:[DONE]\n\n`],
  ["a finish reason and no [DONE]", delta("Hello") + FINISH],
  ["a finish reason, usage and no [DONE]", delta("Hello") + FINISH + USAGE_EVENT, delta("Hello") + FINISH],
  ["a finish reason in an event that nothing ends", `${delta("Hel")}${delta("lo", "stop").trimEnd()}`, delta("Hel") + delta("lo", "stop")],
  ["a chunk for the same choice behind its finish reason", delta("Hello", "stop") + delta("")],
];

test.each(whole)("a stream that ends with %s is whole", async (_, text, expected = text) => {
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.end(text);
  });
  expect(await call(gateway, { token: run.token, body: STREAMED })).toMatchObject({ status: 200, complete: true, body: expected });
  expect(await streamWithLibrary(gateway, run.token)).toEqual({ text: "Hello", error: undefined });
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, complete: true, error: null }, { ok: true }]);
});

test("an answer is over with [DONE], even when the provider keeps the connection open or says more", async () => {
  const { host, gateway, run, seen } = await openWith((response) => {
    beginStream(response);
    response.write(delta("Hello") + FINISH + DONE + delta("more"));
  });
  expect(await call(gateway, { token: run.token, body: STREAMED })).toMatchObject({ complete: true, body: delta("Hello") + FINISH + DONE });
  expect(host.closes(run.runId)).toMatchObject([{ ok: true }]);
  await until(() => seen[0]?.aborted, "the gateway to give the connection up");
});

test("the journal knows of an answer's end before the client does", async () => {
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.end(delta("Hello") + FINISH + DONE);
  });
  let closesAtDone: number | undefined;
  const onData = (piece: Buffer): void => {
    if (piece.includes("[DONE]")) closesAtDone = host.closes(run.runId).length;
  };
  await call(gateway, { token: run.token, body: STREAMED, onData });
  expect(closesAtDone).toBe(1);
});

test("the provider's own error event goes through, and the answer looks broken", async () => {
  const event = 'data: {"error":{"message":"Overloaded, try later","type":"server_error"}}\n\n';
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.end(delta("Hel") + event);
  });
  const answer = await call(gateway, { token: run.token, body: STREAMED });
  expect(answer).toMatchObject({ complete: false });
  expect(answer.body.startsWith(delta("Hel") + event)).toBe(true);
  expect((await streamWithLibrary(gateway, run.token)).error).toMatchObject({ message: "Overloaded, try later" });
  expect(host.closes(run.runId)).toMatchObject([{ ok: false, complete: false, error: "Overloaded, try later" }, { ok: false }]);
});

test("an event that makes no sense goes through, and the call counts as failed", async () => {
  const text = `${delta("Hel")}data: {"choices": oops}\n\n${delta("lo")}${FINISH}${DONE}`;
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.end(text);
  });
  expect(await call(gateway, { token: run.token, body: STREAMED })).toMatchObject({ complete: true, body: text });
  expect(host.closes(run.runId)).toMatchObject([
    { ok: false, complete: true, error: "The provider sent an event that is not a chat completion chunk." },
  ]);
});

test("a stream that breaks before its first event is an error that can be tried again", async () => {
  const { gateway, run } = await openWith((response) => {
    beginStream(response);
    response.write('data: {"choi', () => setTimeout(() => response.destroy(), 50));
  });
  expect(await call(gateway, { token: run.token, body: STREAMED })).toMatchObject({
    status: 502,
    complete: true,
    headers: { "retry-after": "2" },
    body: expect.stringContaining(CUT),
  });
});

test("an event without an end is given up at 8 MiB", async () => {
  const { host, gateway, run } = await openWith((response) => {
    beginStream(response);
    response.write(delta("Hello"));
    response.end(`data: {"x":"${"x".repeat(9 * 1024 * 1024)}`);
  });
  expect(await call(gateway, { token: run.token, body: STREAMED })).toMatchObject({
    complete: false,
    body: expect.stringContaining("more than 8388608 bytes"),
  });
  expect(host.closes(run.runId)).toMatchObject([{ ok: false, complete: false }]);
});

test.each([
  ["its length told", { "content-length": "100" }],
  ["in chunks", {}],
])("a whole answer that is cut (%s) is an error, never a short answer", async (_, headers) => {
  const { host, gateway, run } = await openWith((response) => {
    response.writeHead(200, { "content-type": "application/json", ...headers });
    response.write('{"choices":[{"index":0', () => setTimeout(() => response.destroy(), 50));
  });
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 502, complete: true, body: expect.stringContaining(CUT) });
  await expect(generateText({ model: modelAt(gateway, run), prompt: "Hello", maxRetries: 0 })).rejects.toThrow(CUT);
  expect(host.closes(run.runId)).toMatchObject([{ status: 200, ok: false, complete: false, error: CUT }, { ok: false }]);
});

test("a whole answer that ends early with its connection, so that nothing else tells it, is an error too", async () => {
  const { gateway, run } = await openWith((response) => {
    response.removeHeader("transfer-encoding");
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, { "content-type": "application/json", connection: "close" });
    response.end('{"choices":[{"index":0');
  });
  expect(await call(gateway, { token: run.token })).toMatchObject({
    status: 502,
    complete: true,
    body: expect.stringContaining("not a chat completion"),
  });
});
