// What comes too late, twice, or from nowhere: over a real socket, on the real engine and store.
import { type NewEvent, problemSchema } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { NewRequest } from "../agents/acp/conversation.ts";
import { nextAttempt } from "../store/attempts.ts";
import type { RunRow } from "../store/run-row.ts";
import { commitStep } from "../store/runs.ts";
import { openServedDoor, serve, type Served } from "./testing/served.ts";

const DONE = '{"type":"stream.done"}';
const headers = { authorization: "Bearer token-a" };
let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(() => served?.close());

const line = (text: string): NewEvent => ({ type: "log", data: { text } });
const get = (path: string, accept = "application/json"): Promise<Response> =>
  fetch(`${served.door.url}${path}`, { headers: { ...headers, accept } });

/** A run that a runner has in hand. */
async function begun(): Promise<RunRow> {
  return served.claim((await served.client.runs.create({ task: "x", repositoryUrl: "/repository" })).id);
}

async function ended(): Promise<string> {
  const run = await begun();
  await served.complete(run);
  return run.id;
}

function listen(
  id: string,
  query: string,
  door: Served["door"] = served.door,
): { socket: WebSocket; messages: string[]; closed: Promise<number> } {
  const socket = new WebSocket(`${door.url.replace("http", "ws")}/v1/agent-runs/${id}/stream${query}`, { headers });
  const messages: string[] = [];
  socket.on("message", (data: Buffer) => messages.push(data.toString())).on("error", () => undefined);
  return { socket, messages, closed: new Promise((resolve) => socket.once("close", resolve)) };
}
const seqsOf = (messages: readonly string[]): number[] =>
  messages.filter((text) => text !== DONE).map((text) => (JSON.parse(text) as { seq: number }).seq);
/** What is there now, also of a log that goes on. */
const logOf = async (id: string): Promise<string> => (await get(`/v1/agent-runs/${id}/events?limit=1000`)).text();

describe("after", () => {
  test.each(["-1", "x", "1.5", "1e3", "0x1", " 1", "", "2147483648", "99999999999999999999"])(
    "%j is refused on every way in",
    async (after) => {
      const id = await ended();
      const query = `?after=${encodeURIComponent(after)}`;
      for (const [path, accept] of [
        [`events${query}`, "application/json"],
        [`events${query}`, "application/x-ndjson"],
        [`events${query}`, "text/event-stream"],
        [`logs${query}`, "application/json"],
      ] as const) {
        const response = await get(`/v1/agent-runs/${id}/${path}`, accept);
        expect([path, accept, response.status]).toEqual([path, accept, 422]);
        expect(problemSchema.parse(await response.json())).toMatchObject({ code: "invalid_request", errors: [{ path: "after" }] });
      }
      const { socket } = listen(id, query);
      expect(await new Promise((resolve) => socket.once("unexpected-response", (_, response) => resolve(response.statusCode)))).toBe(422);
    },
  );

  test("beyond the end of a run that has ended gives nothing, and a clean end", async () => {
    const id = await ended();
    for (const after of ["4", "5", "2147483647"]) {
      const path = `/v1/agent-runs/${id}/events?after=${after}`;
      expect(await (await get(path)).json()).toEqual({ data: [], has_more: false, next_after: Number(after) });
      expect(await (await get(path, "application/x-ndjson")).text()).toBe("");
      expect(await (await get(path, "text/event-stream")).text()).toBe(`retry: 2000\n\ndata: ${DONE}\n\n`);
      expect(await (await get(`/v1/agent-runs/${id}/logs?after=${after}`)).json()).toMatchObject({ data: [], has_more: false });
      const { messages, closed } = listen(id, `?after=${after}`);
      expect(await closed).toBe(1000);
      expect(messages).toEqual([DONE]);
    }
  });

  test("beyond the end of a run that goes on waits for what is behind it", async () => {
    const run = await begun();
    const { messages, closed, socket } = listen(run.id, "?after=6");
    await new Promise((resolve) => socket.once("open", resolve));
    // created, message, started are there
    for (let n = 4; n <= 8; n += 1) await served.say(run, [line(String(n))]);
    await served.complete(run);
    expect(await closed).toBe(1000);
    expect(seqsOf(messages)).toEqual([7, 8, 9]);
  });
});

test("a WebSocket that never reads is cut off; what it has not seen is there when it comes back", async () => {
  const run = await begun();
  for (let n = 0; n < 40; n += 1)
    await served.say(
      run,
      Array.from({ length: 100 }, () => line("x".repeat(5_000))),
    );
  await served.complete(run);
  // Who reads 20 MB on a busy machine may be late with an answer to a ping, and is not to be cut off.
  const { door: hasty } = await openServedDoor(served.database.db, { heartbeatMs: 50 });
  const deaf = listen(run.id, "", hasty);
  await new Promise((resolve) => deaf.socket.once("message", resolve));
  deaf.socket.pause();
  // Long enough for the server to give it up; what lies in the socket's buffers is still read then.
  for (let beat = 0; beat < 20; beat += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  deaf.socket.resume();
  expect(await deaf.closed).toBe(1006);
  await hasty.close();
  const seen = seqsOf(deaf.messages);
  expect(seen.length).toBeGreaterThan(0);
  expect(seen.length).toBeLessThan(4_004);
  const back = listen(run.id, `?after=${seen.at(-1)}`);
  expect(await back.closed).toBe(1000);
  const whole = await (await get(`/v1/agent-runs/${run.id}/events`, "application/x-ndjson")).text();
  expect(`${[...deaf.messages, ...back.messages.slice(0, -1)].join("\n")}\n`).toBe(whole);
}, 60_000);

test("a run that has ended is not cancelled, however it ended, and its log stays as it is", async () => {
  const { runs } = served.client;
  const cancelled = await runs.create({ task: "x", repositoryUrl: "/repository" });
  await runs.cancel(cancelled.id);
  const failed = await begun();
  await commitStep(served.database.db, { run: failed, change: { status: "failed" } });
  for (const id of [await ended(), cancelled.id, failed.id]) {
    const before = await logOf(id);
    await expect(runs.cancel(id)).rejects.toMatchObject({ status: 409, code: "run_ended" });
    expect(await logOf(id)).toBe(before);
    expect((await runs.get(id)).cancelRequested).toBe(id === cancelled.id);
  }
});

describe("an answer", () => {
  const ask = (run: RunRow, kind: "permission" | "question", offset: number): Promise<RunRow | undefined> => {
    const options = [
      { optionId: "yes", kind: "allow_once", name: "Allow" },
      { optionId: "no", kind: "reject_once", name: "Refuse" },
    ];
    const id = `${kind === "permission" ? "perm" : "ask"}_${run.attempt}_${offset}`;
    const request: NewRequest = { kind, id, offset, rpcId: 5, title: "x", toolKind: "execute", payload: { options } };
    return commitStep(served.database.db, { run, outTo: run.out_cursor + 10, requests: [request] });
  };
  const gone = [
    ["whose run has ended", "run_ended", (run: RunRow) => served.complete(run)],
    [
      "whose attempt is over",
      "already_answered",
      (run: RunRow) => nextAttempt(served.database.db, { run, events: [], state: {}, delayMs: 0, carry: null }),
    ],
    ["that was answered", "already_answered", (run: RunRow) => served.client.runs.answerPermission(run.id, "perm_1_5", "deny")],
  ] as const;

  test.each(gone)("to a request %s is refused, and nobody hears it", async (_, code, end) => {
    const run = (await ask(await begun(), "permission", 5)) as RunRow;
    await end(run);
    const before = await logOf(run.id);
    await expect(served.client.runs.answerPermission(run.id, "perm_1_5", "allow")).rejects.toMatchObject({ status: 409, code });
    expect(await logOf(run.id)).toBe(before);
  });

  test("to nothing, or of the wrong kind, is not found", async () => {
    const run = (await ask(await begun(), "question", 5)) as RunRow;
    const refused = { status: 404, code: "request_not_found" };
    await expect(served.client.runs.answerQuestion(run.id, "ask_1_99", "x")).rejects.toMatchObject(refused);
    await expect(served.client.runs.answerQuestion(run.id, "perm_1_5", "x")).rejects.toMatchObject(refused);
    await expect(served.client.runs.answerPermission(run.id, "ask_1_5", "allow")).rejects.toMatchObject(refused);
    expect((await served.client.runs.get(run.id)).waitingFor).toHaveLength(1);
  });
});

test("a turn without words is refused, unless it brings in its base; and so is a base that there is not", async () => {
  const id = await ended();
  const { runs } = served.client;
  const post = (body: unknown): Promise<Response> =>
    fetch(`${served.door.url}/v1/agent-runs/${id}/continue`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  for (const body of [{}, { rebase: false }, { rebase: "yes" }, { prompt: " ", rebase: true }]) {
    const answer = await post(body);
    expect([answer.status, problemSchema.parse(await answer.json()).code]).toEqual([422, "invalid_request"]);
  }
  const refused = { status: 422, code: "rebase_not_possible" };
  await expect(runs.continue(id, null, { rebase: true, plan: true })).rejects.toMatchObject(refused);
  await expect(runs.continue(id, "Go on", { rebase: true, plan: true })).rejects.toMatchObject(refused);
  expect(await runs.continue(id, null, { rebase: true })).toMatchObject({ turn: 2, prompt: "Bring the branch up to date with main" });
});

test("a turn that is not over is not continued: queued, running or waiting for somebody", async () => {
  const { runs } = served.client;
  const refused = { status: 409, code: "run_not_ended" };
  const { id } = await runs.create({ task: "x", repositoryUrl: "/repository" });
  await expect(runs.continue(id, "Go on")).rejects.toMatchObject(refused);
  const run = await served.claim(id);
  await expect(runs.continue(id, "Go on")).rejects.toMatchObject(refused);
  await commitStep(served.database.db, { run, outTo: 9, requests: [{ id: "ask_1_1", kind: "question", offset: 1 }] });
  await expect(runs.continue(id, "Go on")).rejects.toMatchObject(refused);
  expect(await runs.get(id)).toMatchObject({ status: "awaiting_input", turn: 1, prompt: "x" });
});
