import net from "node:net";
import { generateText, streamText, tool, type ToolSet } from "ai";
import { expect, test } from "vitest";
import { z } from "zod";
import type { Gateway } from "./client.ts";
import { call, modelAt, QUESTION } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, beginStream, delta, DONE, FINISH, openaiAt, sendJson, useProviders } from "./testing/provider.ts";

const { shared } = useHosts();
const startProvider = useProviders();

async function openWith(baseUrl: string): Promise<{ host: TestHost; gateway: Gateway; run: ReturnType<typeof newRun> }> {
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl, apiKey: "sk-test-errors-123456", model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, gateway, run };
}

test.each([
  [401, "Incorrect API key provided."],
  [403, "This project may not use that model."],
  [404, "The model gpt-x does not exist."],
  [429, "Too many requests."],
  [500, "The server had an error."],
])("the provider's %i goes to the client as it is", async (status, message) => {
  const body = { error: { message, type: "some_error", param: null, code: null } };
  const headers = {
    // Longer than the gateway waits itself.
    "retry-after": "77",
    "x-ratelimit-remaining-requests": "0",
    "x-request-id": "req_1",
    "set-cookie": "session=1",
    server: "provider",
  };
  const provider = await startProvider((_, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    sendJson(response, status, body);
  });
  const { host, gateway, run } = await openWith(provider.baseUrl);

  for (const stream of [false, true]) {
    const answer = await call(gateway, { token: run.token, body: { ...QUESTION, stream } });
    expect(answer).toMatchObject({
      status,
      complete: true,
      headers: { "content-type": "application/json", "retry-after": "77", "x-ratelimit-remaining-requests": "0", "x-request-id": "req_1" },
    });
    expect(JSON.parse(answer.body)).toEqual(body);
    expect(answer.headers).not.toHaveProperty("set-cookie");
    expect(answer.headers).not.toHaveProperty("server");
  }
  expect(host.closes(run.runId)).toMatchObject(
    Array.from({ length: 2 }, () => ({ status, ok: false, complete: true, error: message, inputTokens: null, outputTokens: null })),
  );

  const failure = await generateText({ model: modelAt(gateway, run), prompt: "Hello", maxRetries: 0 }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ statusCode: status, message });
});

test.each([
  ["a message at the top", JSON.stringify({ message: "no such model" }), "no such model"],
  ["a detail", JSON.stringify({ detail: "Not Found" }), "Not Found"],
  ["a list of details", JSON.stringify({ detail: [{ message: "extra field" }] }), "extra field"],
  ["a list of errors", JSON.stringify([{ error: { message: "quota" } }]), "quota"],
  ["an error that is text", JSON.stringify({ error: "model 'x' not found" }), "model 'x' not found"],
  ["plain text", "upstream connect error", "upstream connect error"],
  ["nothing at all", "", "The model provider answered 418 without words."],
])("an error of another shape is understood: %s", async (_, body, words) => {
  const provider = await startProvider(
    (_request, response) => response.writeHead(418, { "content-type": "text/plain" }).end(body) as never,
  );
  const { host, gateway, run } = await openWith(provider.baseUrl);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 418, body });
  expect(host.closes(run.runId)).toMatchObject([{ status: 418, error: words }]);
});

test("an address where nobody listens: 503 with words, to be tried again", async () => {
  const unused = await freePort();
  const { host, gateway, run } = await openWith(`http://127.0.0.1:${unused}/v1`);
  const answer = await call(gateway, { token: run.token });
  expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "2" } });
  const message = `The model provider at http://127.0.0.1:${unused} could not be reached: nothing listens there.`;
  expect(JSON.parse(answer.body)).toEqual({ error: { message, type: "server_error", param: null, code: "upstream_unreachable" } });
  expect(host.closes(run.runId)).toMatchObject([{ status: null, ok: false, complete: false, error: message }]);
});

test("a host that does not exist: 503", async () => {
  const { gateway, run } = await openWith("http://nothing.invalid/v1");
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 503, body: expect.stringContaining("could not be reached") });
});

test("https to a server that does not speak it: 503 without details of the key", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider.baseUrl.replace("http:", "https:"));
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 503, body: expect.stringContaining("could not be reached") });
  expect(provider.seen).toEqual([]);
});

test.each([false, true])("a connection broken off before the first byte (streamed: %s): 502, to be tried again", async (stream) => {
  const provider = await startProvider((_, response) => void response.destroy());
  const { host, gateway, run } = await openWith(provider.baseUrl);
  const answer = await call(gateway, { token: run.token, body: { ...QUESTION, stream } });
  expect(answer).toMatchObject({
    status: 502,
    complete: true,
    headers: { "retry-after": "2" },
    body: expect.stringContaining("broke the connection off before it answered"),
  });
  expect(host.closes(run.runId)).toMatchObject([{ status: null, ok: false, complete: false }]);
  expect(provider.seen).toHaveLength(1);
});

test("a kept connection that the provider closed meanwhile is not the client's problem", async () => {
  // Answers one request on each connection as if it could be used again, and resets it at the next one.
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    let requests = 0;
    socket.on("error", () => undefined);
    socket.on("data", () => {
      requests += 1;
      const body = JSON.stringify({ choices: [] });
      if (requests === 1)
        socket.write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      else socket.resetAndDestroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as net.AddressInfo;
    const { host, gateway, run } = await openWith(`http://127.0.0.1:${port}/v1`);
    expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
    expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
    expect(connections).toBe(2);
    expect(host.closes(run.runId)).toMatchObject([{ ok: true }, { ok: true }]);
  } finally {
    server.close();
  }
});

test("redirects are not followed", async () => {
  const target = await startProvider(answerWell);
  const provider = await startProvider(
    (_, response) => response.writeHead(307, { location: `${target.baseUrl}/chat/completions` }).end() as never,
  );
  const { host, gateway, run } = await openWith(provider.baseUrl);
  const answer = await call(gateway, { token: run.token });
  expect(answer).toMatchObject({ status: 502, body: expect.stringContaining("a redirect (307), which Runyard does not follow") });
  expect(answer.headers).not.toHaveProperty("location");
  expect((await gateway.models())[0]).toMatchObject({ models: [], problem: expect.stringContaining("a redirect (307)") });
  expect(target.seen).toEqual([]);
  expect(host.closes(run.runId)).toMatchObject([{ status: 307, ok: false }]);
});

test("a compressed answer is refused: nobody could take a key out of it", async () => {
  const provider = await startProvider(
    (_, response) => response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end("x") as never,
  );
  const { gateway, run } = await openWith(provider.baseUrl);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 502, body: expect.stringContaining("compressed (gzip)") });
});

test("a base URL may end in a slash and have a query", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(`${provider.baseUrl}/?api-version=2`);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  expect(provider.seen[0]?.url).toBe("/v1/chat/completions?api-version=2");
});

test("a provider without a key gets none", async () => {
  const provider = await startProvider(answerWell);
  const { gateway, run } = await openWith(provider.baseUrl);
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: null, model: "m" })]);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  expect(provider.seen[0]?.headers).not.toHaveProperty("authorization");
});

test("the client library streams text and tool calls through the gateway", async () => {
  const provider = await startProvider((_, response) => {
    beginStream(response);
    const part = (fields: object): string =>
      `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: fields, finish_reason: null }] })}\n\n`;
    response.write(": keep-alive\n\n");
    response.write(delta("Let me look. ").replaceAll("\n", "\r\n"));
    response.write(part({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "look", arguments: '{"pa' } }] }));
    response.end(
      part({ tool_calls: [{ index: 0, function: { arguments: 'th":"ä.txt"}' } }] }) + FINISH.replace('"stop"', '"tool_calls"') + DONE,
    );
  });
  const { host, gateway, run } = await openWith(provider.baseUrl);
  const look = tool({ description: "Looks at a file", inputSchema: z.object({ path: z.string() }) });
  const result = streamText({ model: modelAt(gateway, run), prompt: "Look", tools: Object.fromEntries([["look", look]]) as ToolSet });
  expect(await result.text).toBe("Let me look. ");
  expect(await result.toolCalls).toMatchObject([{ toolName: "look", input: { path: "ä.txt" } }]);
  expect(await result.finishReason).toBe("tool-calls");
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, complete: true, inputTokens: null }]);
});

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
