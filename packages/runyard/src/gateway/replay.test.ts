import { readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import type { DivergenceLine } from "./exchange-journal.ts";
import { bodyFile } from "./files.ts";
import type { RegisteredRun } from "./protocol.ts";
import { call, QUESTION, type RawAnswer, type RawCall, until } from "./testing/caller.ts";
import { asked, beginStreamOf, providerOf, sendWhole, STREAMED, streamWell, WHOLE } from "./testing/formats.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, beginStream, delta, DONE, FINISH, openaiAt, type SeenRequest, sendJson, useProviders } from "./testing/provider.ts";

const { newHost, shared } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-replay-1234567890";

type Body = Record<string, unknown>;
const ask = (content: string, more: Body = {}): Body => ({ ...QUESTION, messages: [{ role: "user", content }], stream: true, ...more });

interface Recorded {
  readonly host: TestHost;
  readonly gateway: Gateway;
  readonly run: RegisteredRun;
  readonly answers: readonly RawAnswer[];
  /** A file of the recording's exchange number n, from 1. */
  file(n: number, side: "request" | "response"): string;
}

/** Makes these calls one after the other, and takes the provider away. */
async function record(
  bodies: readonly Body[] | ((run: RegisteredRun) => readonly Body[]),
  answer: (request: SeenRequest, response: ServerResponse) => void = answerWell,
): Promise<Recorded> {
  const provider = await startProvider(answer);
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  const answers: RawAnswer[] = [];
  for (const body of typeof bodies === "function" ? bodies(run) : bodies) answers.push(await call(gateway, { token: run.token, body }));
  await gateway.closeRun(run.runId);
  await gateway.setProviders([]);
  provider.server.closeAllConnections();
  provider.server.close();
  const ids = host.lines(run.runId).flatMap((line) => (line.type === "open" ? [line.id] : []));
  const file: Recorded["file"] = (n, side) => bodyFile(host.home.gatewayDir, { runId: run.runId, id: ids[n - 1] ?? "", side });
  await until(() => host.closes(run.runId).every((_, i) => sizeOf(file(i + 1, "request")) > 0), "the recorded requests");
  return { host, gateway, run, answers, file };
}

/** 0 for a file that is not there (yet). */
function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** A run that is answered from a recording. */
async function replaying({
  gateway,
  run,
}: Pick<Recorded, "gateway" | "run">): Promise<{ run: RegisteredRun; ask: (body: Body, more?: RawCall) => Promise<RawAnswer> }> {
  const replay = { ...newRun(), replay: { runId: run.runId, turn: 1 } };
  await gateway.openRun(replay);
  return { run: replay, ask: (body, more = {}) => call(gateway, { token: replay.token, body, ...more }) };
}

const divergencesOf = ({ host }: Pick<Recorded, "host">, run: RegisteredRun): DivergenceLine[] => host.divergences(run.runId);
const seen = ({ status, body, complete, headers }: RawAnswer): unknown => ({ status, body, complete, type: headers["content-type"] });

test("a replay gets what was recorded, byte for byte, and nobody is called", async () => {
  const recorded = await record([ask("One"), ask("Two"), { ...QUESTION }]);
  const replay = await replaying(recorded);
  const answers = [await replay.ask(ask("One")), await replay.ask(ask("Two")), await replay.ask({ ...QUESTION })];
  expect(answers.map(seen)).toEqual(recorded.answers.map(seen));
  expect(divergencesOf(recorded, replay.run)).toEqual([]);
  const [first, last] = [recorded.run, replay.run].map(({ runId }) => recorded.host.lines(runId));
  const ids = first?.flatMap((line) => (line.type === "open" ? [line.id] : []));
  const opens = last?.flatMap((line) => (line.type === "open" ? [line] : []));
  expect(opens?.map((line) => line.replays)).toEqual(ids);
  expect(opens?.[0]).toMatchObject({ provider: "openai", model: "gpt-x", path: "/v1/chat/completions" });
  expect(recorded.host.closes(replay.run.runId)).toMatchObject(
    Array.from({ length: 3 }, () => ({ status: 200, ok: true, complete: true, tries: 0, inputTokens: null, outputTokens: null })),
  );
  // Nothing that opens a provider is in what was written down.
  const dir = path.dirname(recorded.file(1, "request"));
  for (const name of readdirSync(dir)) expect(readFileSync(path.join(dir, name), "utf8")).not.toContain(KEY);
});

test("errors and cuts are as they were", async () => {
  const recorded = await record([ask("Busy"), ask("Cut"), ask("Silent"), ask("Garbled", { stream: false })], ({ text }, response) => {
    if (text.includes("Busy")) {
      response.setHeader("retry-after-ms", "7");
      return sendJson(response, 429, { error: { message: "too many" } });
    }
    if (text.includes("Garbled")) {
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end('{"half');
    }
    if (text.includes("Silent")) return void response.destroy();
    beginStream(response);
    response.write(delta("half"), () => response.destroy());
  });
  expect(recorded.answers.map(({ status, complete }) => [status, complete])).toEqual([
    [429, true],
    [200, false],
    [502, true],
    [502, true],
  ]);
  const replay = await replaying(recorded);
  const answers: RawAnswer[] = [];
  for (const words of ["Busy", "Cut", "Silent"]) answers.push(await replay.ask(ask(words)));
  answers.push(await replay.ask(ask("Garbled", { stream: false })));
  expect(answers.slice(0, 2).map(seen)).toEqual(recorded.answers.slice(0, 2).map(seen));
  expect(answers[0]?.headers["retry-after-ms"]).toBe("7");
  expect(answers[1]?.body).toContain("half");
  expect(answers.slice(2).map(({ status, headers }) => [status >= 500, headers["retry-after"]])).toEqual([
    [true, "2"],
    [true, "2"],
  ]);
  const ends = [recorded.run, replay.run].map(({ runId }) =>
    recorded.host.closes(runId).map(({ status, ok, complete, error }) => ({ status, ok, complete, error })),
  );
  expect(ends[1]).toEqual(ends[0]);
  expect(divergencesOf(recorded, replay.run)).toEqual([]);
});

test("the first difference is told once, with its place, and the answers go on", async () => {
  const recorded = await record([ask("One"), ask("Two"), ask("Three")]);
  const replay = await replaying(recorded);
  expect((await replay.ask(ask("One"))).status).toBe(200);
  expect(seen(await replay.ask(ask("Other")))).toEqual(seen(recorded.answers[1] as RawAnswer));
  expect((await replay.ask(ask("Another"))).status).toBe(200);
  expect(divergencesOf(recorded, replay.run)).toMatchObject([
    { kind: "request", exchange: 2, path: "messages[0].content", recorded: "Two", replayed: "Other" },
  ]);
});

test("a recording that was changed shows where", async () => {
  const recorded = await record([ask("One")]);
  const request = recorded.file(1, "request");
  // As long as before: what is shorter is not whole.
  writeFileSync(request, readFileSync(request, "utf8").replace("One", "Uno"));
  const replay = await replaying(recorded);
  await replay.ask(ask("One"));
  expect(divergencesOf(recorded, replay.run)).toMatchObject([
    { exchange: 1, path: "messages[0].content", recorded: "Uno", replayed: "One" },
  ]);
});

test("tokens of runs and what differs by nature are no difference", async () => {
  const words = (of: RegisteredRun, day: string): Body => ask(`I am ${of.runId} with ${of.token} on ${day}`);
  const recorded = await record((run) => [words(run, "2026-11-20")]);
  const replay = await replaying(recorded);
  expect((await replay.ask(words(replay.run, "2026-12-24"))).status).toBe(200);
  expect(divergencesOf(recorded, replay.run)).toEqual([]);
});

test("one call too many is refused, and not to be tried again", async () => {
  const recorded = await record([ask("One")]);
  const replay = await replaying(recorded);
  await replay.ask(ask("One"));
  const tooMany = [await replay.ask(ask("Two")), await replay.ask(ask("Two"))];
  for (const answer of tooMany)
    expect(answer).toMatchObject({
      status: 400,
      headers: { "x-should-retry": "false" },
      body: expect.stringContaining("asks once more than was recorded") as string,
    });
  expect(divergencesOf(recorded, replay.run)).toMatchObject([{ kind: "extra-call", exchange: 2, path: null }]);
  expect(recorded.host.closes(replay.run.runId).map(({ ok }) => ok)).toEqual([true, false, false]);
});

test("a difference, and then a call too many, are both told", async () => {
  const recorded = await record([ask("One")]);
  const replay = await replaying(recorded);
  await replay.ask(ask("Other"));
  await replay.ask(ask("Two"));
  expect(divergencesOf(recorded, replay.run).map(({ kind }) => kind)).toEqual(["request", "extra-call"]);
});

test.each([
  ["an answer that is torn", ({ file }: Recorded) => truncateSync(file(1, "response"), 10)],
  ["an answer that is missing", ({ file }: Recorded) => rmSync(file(1, "response"))],
  ["a request that is torn", ({ file }: Recorded) => truncateSync(file(1, "request"), 10)],
  ["a request that is missing", ({ file }: Recorded) => rmSync(file(1, "request"))],
])("%s is not replayed", async (_, harm) => {
  const recorded = await record([ask("One")]);
  harm(recorded);
  const replay = await replaying(recorded);
  expect(await replay.ask(ask("One"))).toMatchObject({
    status: 400,
    body: expect.stringContaining("The recording of exchange 1 is not whole") as string,
  });
  expect(divergencesOf(recorded, replay.run)).toMatchObject([{ kind: "not-recorded", exchange: 1 }]);
});

test("a call that has no end in the journal breaks where its answer does", async () => {
  const recorded = await record([ask("One")]);
  const journal = recorded.gateway.exchangesFile(recorded.run.runId);
  const [open = ""] = readFileSync(journal, "utf8").split("\n");
  writeFileSync(journal, `${open}\n{"type":"close","id":"1-`);
  const replay = await replaying(recorded);
  expect(await replay.ask(ask("One"))).toMatchObject({ status: 200, complete: false, body: recorded.answers[0]?.body });
  expect(recorded.host.closes(replay.run.runId)).toMatchObject([{ ok: false, complete: false }]);
});

test("calls that were under way together may come in another order", async () => {
  const held: ServerResponse[] = [];
  const provider = await startProvider((_, response) => void held.push(response));
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  const calls: Promise<RawAnswer>[] = [];
  for (const words of ["Title", "Work"]) {
    calls.push(call(gateway, { token: run.token, body: ask(words) }));
    await until(() => held.length === calls.length, "the call");
  }
  for (const [n, response] of held.entries()) {
    beginStream(response);
    response.end(delta(`answer ${n}`) + FINISH + DONE);
  }
  const answers = await Promise.all(calls);
  await gateway.setProviders([]);
  const replay = await replaying({ gateway, run });
  expect((await replay.ask(ask("Work"))).body).toBe(answers[1]?.body);
  expect((await replay.ask(ask("Title"))).body).toBe(answers[0]?.body);
  expect(divergencesOf({ host }, replay.run)).toEqual([]);
});

test("two replays of one run know nothing of each other", async () => {
  const recorded = await record([ask("One"), ask("Two")]);
  const replays = await Promise.all([replaying(recorded), replaying(recorded)]);
  for (const words of ["One", "Two"]) {
    const answers = await Promise.all(replays.map((replay) => replay.ask(ask(words))));
    expect(answers.map(({ body }) => body)).toEqual([recorded.answers[0]?.body, recorded.answers[0]?.body]);
  }
  for (const { run } of replays) expect(divergencesOf(recorded, run)).toEqual([]);
});

test("the models of a replay are those of its recording, and other paths are not there", async () => {
  const recorded = await record([ask("One")]);
  const replay = await replaying(recorded);
  const models = await replay.ask({}, { method: "GET", path: "/v1/models" });
  expect(JSON.parse(models.body)).toMatchObject({ data: [{ id: "runyard" }, { id: "openai/gpt-x" }] });
  expect((await replay.ask(ask("One"), { path: "/v1/responses" })).status).toBe(400);
  expect((await replay.ask(ask("One"), { path: "/v1/nothing" })).status).toBe(404);
});

test("a gateway that takes over in the middle goes on where it was", async () => {
  const host = newHost();
  const provider = await startProvider(answerWell);
  const first = await host.open();
  await first.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await first.openRun(run);
  for (const words of ["One", "Two"]) await call(first, { token: run.token, body: ask(words) });
  await first.closeRun(run.runId);
  const { run: replay, ask: again } = await replaying({ gateway: first, run });
  await again(ask("One"));
  const second = await host.open({ mark: "b" });
  expect((await call(second, { token: replay.token, body: ask("Two") })).status).toBe(200);
  expect((await call(second, { token: replay.token, body: ask("Two") })).status).toBe(400);
  expect(divergencesOf({ host }, replay).map(({ kind, exchange }) => [kind, exchange])).toEqual([["extra-call", 3]]);
  expect(provider.seen).toHaveLength(2);
});

const FORMS = [...STREAMED.map((format) => ({ format, stream: true })), ...WHOLE.map((format) => ({ format, stream: false }))];

test.each(FORMS.map((form) => [`${form.format.name}, ${form.stream ? "streamed" : "whole"}`, form] as const))(
  "%s is replayed to the byte, broken where it broke, and refused in its own words",
  async (_, { format, stream }) => {
    let count = 0;
    const provider = await startProvider((_request, response) => {
      count += 1;
      if (!stream) return count === 1 ? sendWhole(format, response, "Hello") : void response.destroy();
      if (count === 1) return streamWell(format, response, ["Hello", " ä€"]);
      beginStreamOf(format, response);
      response.write(format.begin + format.say("Hello"), () => response.destroy());
    });
    const { host, gateway } = await shared();
    await gateway.setProviders([providerOf(format, { baseUrl: provider.baseUrl, apiKey: KEY })]);
    const run = newRun();
    await gateway.openRun(run);
    const asking = { path: format.path, body: asked(format, stream) };
    const answers = [await call(gateway, { token: run.token, ...asking }), await call(gateway, { token: run.token, ...asking })];
    await gateway.setProviders([]);
    const calls = provider.seen.length;
    const replay = await replaying({ gateway, run });
    const again = [await replay.ask({}, asking), await replay.ask({}, asking)];
    if (stream) expect(again.map(seen)).toEqual(answers.map(seen));
    else expect([seen(again[0] as RawAnswer), again[1]?.status]).toEqual([seen(answers[0] as RawAnswer), 503]);
    expect(divergencesOf({ host }, replay.run)).toEqual([]);
    const tooMany = await replay.ask({}, asking);
    expect(tooMany).toMatchObject({ status: 400, headers: { "content-type": "application/json" } });
    expect(tooMany.body).toContain("asks once more than was recorded");
    expect(provider.seen).toHaveLength(calls);
  },
);

test("lists of models come in the shape that is asked for, and tokens are not counted", async () => {
  const recorded = await record([ask("One")]);
  const replay = await replaying(recorded);
  const gemini = await replay.ask({}, { method: "GET", path: "/v1beta/models" });
  expect(JSON.parse(gemini.body)).toMatchObject({ models: [{ name: "models/runyard" }, { name: "models/openai/gpt-x" }] });
  const counted = await replay.ask({ messages: [], model: "runyard" }, { path: "/v1/messages/count_tokens" });
  expect([counted.status, counted.body]).toEqual([400, expect.stringContaining("is not recorded")]);
});
