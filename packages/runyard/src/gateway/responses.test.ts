import { existsSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { prepareRequest, readWholeAnswer, watchStream } from "./openai-responses.ts";
import { readEvent } from "./wire-format.ts";
import { call, until, type RawAnswer } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { beginStream, openaiAt, type SeenRequest, sendJson, useProviders } from "./testing/provider.ts";
import { COMPLETED, CREATED, HELLO, response, RESPONSES_QUESTION, responsesEvent, respondWell } from "./testing/responses.ts";
import { NO_TOKENS } from "./wire-format.ts";

const { newHost, shared } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-responses-123456";
const CUT = "The connection to the model provider broke in the middle of its answer.";
const EARLY = "The model provider ended its answer before it was complete.";
const COUNTED = { inputTokens: 1_200, outputTokens: 34, cachedInputTokens: 1_000 };

interface Opened {
  readonly host: TestHost;
  readonly gateway: Gateway;
  readonly runId: string;
  readonly token: string;
  readonly seen: SeenRequest[];
  ask(body?: object): Promise<RawAnswer>;
}

async function openWith(
  answer: (request: SeenRequest, answer: ServerResponse) => void,
  where: Promise<{ host: TestHost; gateway: Gateway }> = shared(),
): Promise<Opened> {
  const provider = await startProvider(answer);
  const { host, gateway } = await where;
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  const ask: Opened["ask"] = (body) => call(gateway, { token: run.token, path: "/v1/responses", body: { ...RESPONSES_QUESTION, ...body } });
  return { host, gateway, ...run, seen: provider.seen, ask };
}

const stream = { stream: true };

test("a streamed answer arrives to the byte, is counted from its last event, and is recorded", async () => {
  const { host, gateway, runId, seen, ask } = await openWith(respondWell);
  const answer = await ask(stream);
  expect(answer).toMatchObject({ status: 200, complete: true, body: CREATED + HELLO + COMPLETED });
  expect(seen[0]).toMatchObject({ url: "/v1/responses", headers: { authorization: `Bearer ${KEY}` } });
  expect(seen[0]?.body).toEqual({ model: "gpt-x", input: "Say hello.", stream: true });
  const [open, close] = host.lines(runId);
  expect(open).toMatchObject({ type: "open", model: "gpt-x", path: "/v1/responses" });
  expect(close).toMatchObject({ type: "close", status: 200, ok: true, complete: true, error: null, ...COUNTED, settled: "measured" });
  const recorded = path.join(path.dirname(gateway.exchangesFile(runId)), open?.id ?? "");
  await until(() => existsSync(`${recorded}.response`) && readFileSync(`${recorded}.response`, "utf8") === answer.body, "the recording");
  expect(JSON.parse(readFileSync(`${recorded}.request.json`, "utf8"))).toEqual({ ...RESPONSES_QUESTION, stream: true });
});

test("a whole answer is counted too, and figures that nobody told are null", async () => {
  const bodies = [response(), response({ usage: { input_tokens: 7 } }), response({ usage: undefined })];
  const { host, runId, seen, ask } = await openWith((_, answer) => sendJson(answer, 200, bodies[seen.length - 1]));
  for (const body of bodies) expect(JSON.parse((await ask()).body)).toEqual(JSON.parse(JSON.stringify(body)));
  expect(host.closes(runId)).toMatchObject([
    { ok: true, ...COUNTED },
    { ok: true, ...NO_TOKENS, inputTokens: 7 },
    { ok: true, ...NO_TOKENS },
  ]);
});

const broken: [string, string, (answer: ServerResponse) => void][] = [
  ["is reset in the middle", CUT, (answer) => answer.write(HELLO, () => setTimeout(() => answer.socket?.resetAndDestroy(), 50))],
  [
    "is closed in the middle of an event",
    CUT,
    (answer) => answer.write(`${HELLO}data: {"ty`, () => setTimeout(() => answer.destroy(), 50)),
  ],
  ["ends cleanly without its last event", EARLY, (answer) => answer.end(HELLO)],
  [
    "ends with chat's last event",
    "The provider sent an event that is not one of Responses.",
    (answer) => answer.end(`${HELLO}data: [DONE]\n\n`),
  ],
];

test.each(broken)("a stream that %s looks broken", async (_, words, finish) => {
  const { host, runId, ask } = await openWith((_request, answer) => {
    beginStream(answer);
    answer.write(CREATED);
    finish(answer);
  });
  const answer = await ask(stream);
  expect(answer).toMatchObject({ status: 200, complete: false });
  expect(answer.body.startsWith(CREATED + HELLO)).toBe(true);
  const last = answer.body.trimEnd().split("\n\n").at(-1)?.split("\n") ?? [];
  expect(last[0]).toBe("event: error");
  expect(JSON.parse(last[1]?.slice("data: ".length) ?? "")).toEqual({
    type: "error",
    code: "upstream_interrupted",
    message: words,
    param: null,
    sequence_number: 2,
  });
  expect(host.closes(runId)).toMatchObject([{ status: 200, ok: false, complete: false, error: words, ...NO_TOKENS }]);
});

const FAILED = responsesEvent("response.failed", {
  response: response({ status: "failed", error: { code: "server_error", message: "overloaded" }, usage: null }),
});
const INCOMPLETE = responsesEvent("response.incomplete", {
  response: response({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }),
});
const MUTE = responsesEvent("response.failed", { response: null });

test.each<[string, string, object]>([
  ["that the provider says failed", FAILED, { ok: false, complete: true, error: "overloaded", ...NO_TOKENS }],
  ["that failed without words", MUTE, { ok: false, error: "The provider reported a failure without words.", ...NO_TOKENS }],
  ["that reached the model's limit", INCOMPLETE, { ok: true, complete: true, error: null, ...COUNTED }],
])("an answer %s comes whole, and is judged by its last event", async (_, last, close) => {
  const { host, runId, ask } = await openWith((_request, answer) => {
    beginStream(answer);
    answer.end(HELLO + last);
  });
  expect(await ask(stream)).toMatchObject({ status: 200, complete: true, body: HELLO + last });
  expect(host.closes(runId)).toMatchObject([close]);
});

test("an answer is over with its last event, even when the provider keeps the connection open", async () => {
  const { host, runId, seen, ask } = await openWith((_, answer) => {
    beginStream(answer);
    answer.write(HELLO + COMPLETED + HELLO);
  });
  expect(await ask(stream)).toMatchObject({ complete: true, body: HELLO + COMPLETED });
  expect(host.closes(runId)).toMatchObject([{ ok: true }]);
  await until(() => seen[0]?.aborted, "the gateway to give the connection up");
});

test("the provider's own error event goes through, and the answer looks broken", async () => {
  const event = responsesEvent("error", { code: "overloaded", message: "Overloaded, try later", param: null }, 2);
  const { host, runId, ask } = await openWith((_, answer) => {
    beginStream(answer);
    answer.end(HELLO + event);
  });
  const answer = await ask(stream);
  expect(answer.complete).toBe(false);
  expect(answer.body.startsWith(HELLO + event)).toBe(true);
  expect(host.closes(runId)).toMatchObject([{ ok: false, complete: false, error: "Overloaded, try later" }]);
});

test("a stream that breaks before its first event, and a whole answer that is cut, are errors that can be tried again", async () => {
  const { host, runId, ask } = await openWith((request, answer) => {
    if (request.body["stream"] === true) beginStream(answer);
    else answer.writeHead(200, { "content-type": "application/json" });
    answer.write('{"outp', () => setTimeout(() => answer.destroy(), 50));
  });
  for (const body of [stream, {}])
    expect(await ask(body)).toMatchObject({
      status: 502,
      complete: true,
      headers: { "retry-after": "2" },
      body: expect.stringContaining(CUT),
    });
  expect(host.closes(runId)).toMatchObject(Array.from({ length: 2 }, () => ({ ok: false, complete: false, error: CUT })));
});

test.each([401, 429, 500])("the provider's %i goes to the client as it is", async (status) => {
  const body = { error: { message: "No.", type: "some_error", param: null, code: null } };
  const { host, runId, ask } = await openWith((_, answer) => sendJson(answer, status, body));
  for (const kind of [stream, {}]) expect(await ask(kind)).toMatchObject({ status, complete: true, body: JSON.stringify(body) });
  expect(host.closes(runId)).toMatchObject(Array.from({ length: 2 }, () => ({ status, ok: false, complete: true, error: "No." })));
});

test("a call without a token, one that is no request, and one for the background are refused and not made", async () => {
  const { gateway, seen, ask } = await openWith(respondWell);
  expect(await call(gateway, { path: "/v1/responses", body: RESPONSES_QUESTION })).toMatchObject({ status: 401 });
  const refused = await ask({ model: 7 });
  expect(refused).toMatchObject({ status: 400, body: expect.stringContaining("not a Responses request") });
  expect(await ask({ background: true })).toMatchObject({ status: 400, body: expect.stringContaining("background") });
  expect(seen).toEqual([]);
  expect(await ask()).toMatchObject({ status: 200 });
});

test("a call that the gateway's kill -9 broke off is cut for the client and settled in the journal", async () => {
  const host = newHost();
  const opened = host.open().then((gateway) => ({ host, gateway }));
  const { gateway, runId, seen, ask } = await openWith((request, answer) => {
    if (seen.length > 1) return respondWell(request, answer);
    beginStream(answer);
    answer.write(CREATED + HELLO);
  }, opened);
  const cut = ask(stream);
  await until(() => seen.length === 1, "the call");
  const { pid } = await gateway.health();
  process.kill(pid, "SIGKILL");
  expect(await cut.catch(() => ({ complete: false }))).toMatchObject({ complete: false });
  await expect
    .poll(
      async () =>
        await gateway.health().then(
          (health) => health.pid !== pid,
          () => false,
        ),
    )
    .toBe(true);
  await until(() => host.closes(runId).length === 1, "the call's end");
  expect(await ask(stream)).toMatchObject({ complete: true });
  expect(host.closes(runId)).toMatchObject([
    { status: null, ok: false, complete: false, ...NO_TOKENS, settled: "estimate" },
    { ok: true, ...COUNTED, settled: "measured" },
  ]);
});

describe("the format", () => {
  test("a request that needs no change stays as it is, to the byte; else only the model changes", () => {
    const raw = Buffer.from('{ "input": [],\n"seed": 12345678901234567890, "model": "m" }');
    const provider = openaiAt({ baseUrl: "http://127.0.0.1/v1", apiKey: null, model: null });
    expect(prepareRequest(raw, (model) => ({ provider, model })).body).toBe(raw);
    const body = { model: "a", input: [{ type: "message", role: "user", odd: { a: [1] } }], store: false, stream: true };
    const prepared = prepareRequest(Buffer.from(JSON.stringify(body)), () => ({ provider, model: "b" }));
    expect(prepared).toMatchObject({ model: "b", stream: true });
    expect(JSON.parse(String(prepared.body))).toEqual({ ...body, model: "b" });
  });

  test.each(["-1", "1.5", '"12"', "null", "{}"])("a count of %s is no count", (count) => {
    const watcher = watchStream();
    const usage = `{"input_tokens":${count},"output_tokens":3,"input_tokens_details":{"cached_tokens":${count}}}`;
    expect(watcher.see(readEvent(Buffer.from(`data: {"type":"response.completed","response":{"usage":${usage}}}\n\n`)))).toBe("last");
    expect(watcher.report().tokens).toEqual({ ...NO_TOKENS, outputTokens: 3 });
  });

  test("comments and events of no known type go through", () => {
    const watcher = watchStream();
    expect(watcher.see(readEvent(Buffer.from(": keep-alive\n\n")))).toBe("forward");
    expect(watcher.see(readEvent(Buffer.from('data: {"type":"response.new_thing"}\n\n')))).toBe("forward");
    expect(watcher.report()).toEqual({ complete: false, error: null, tokens: NO_TOKENS });
  });

  test("a whole answer is judged by what it says", () => {
    const judge = (value: unknown) => readWholeAnswer(Buffer.from(JSON.stringify(value)));
    expect(judge(response({ status: "failed", error: { message: "no quota" } }))).toMatchObject({ complete: true, error: "no quota" });
    expect(judge(response({ status: "incomplete" }))).toMatchObject({ complete: true, error: null });
    expect(judge({ error: { message: "no such model" } })).toMatchObject({
      complete: true,
      error: "The provider's answer is not one of Responses: no such model",
    });
    expect(readWholeAnswer(Buffer.from('{"output":[{"ty'))).toMatchObject({ complete: false });
  });
});
