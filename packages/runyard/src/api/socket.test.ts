import { request } from "node:http";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { type Door, openDoor, OWNER, sendBytes, until } from "./testing/door.ts";

const DONE = '{"type":"stream.done"}';

interface Listener {
  readonly socket: WebSocket;
  readonly messages: string[];
  /** Code and reason of the close. */
  readonly closed: Promise<[number, string]>;
  /** The status that it was refused with. */
  readonly refused: Promise<number>;
}

function listen(door: Door, path: string, headers: Record<string, string> = { authorization: "Bearer owner" }): Listener {
  const socket = new WebSocket(`ws://127.0.0.1:${door.port}${path}`, { headers });
  const messages: string[] = [];
  socket.on("message", (data: Buffer) => messages.push(data.toString()));
  socket.on("error", () => undefined);
  const closed = new Promise<[number, string]>((resolve) => socket.once("close", (code, reason) => resolve([code, reason.toString()])));
  const refused = new Promise<number>((resolve) => socket.once("unexpected-response", (_, response) => resolve(response.statusCode ?? 0)));
  return { socket, messages, closed, refused };
}

const streamOf = (id: string, query = ""): string => `/v1/agent-runs/${id}/stream${query}`;
const seqs = (messages: readonly string[]): number[] =>
  messages.filter((text) => text !== DONE).map((text) => (JSON.parse(text) as { seq: number }).seq);

test("a log comes event by event, live, and ends with its turn", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  door.engine.append(id, "log", { text: "Größe \u2028 \n" });
  const live = listen(door, streamOf(id));
  await until(() => live.messages.length === 1);
  for (let n = 0; n < 3_000; n += 1) door.engine.append(id, "log", { text: String(n) });
  door.engine.append(id, "run.completed");
  expect(await live.closed).toEqual([1000, "The turn is over."]);
  expect(live.messages.at(-1)).toBe(DONE);
  expect(seqs(live.messages)).toEqual(Array.from({ length: 3_002 }, (_, i) => i + 1));
  const page = await door.fetch(`/v1/agent-runs/${id}/events`, { headers: { accept: "application/x-ndjson" } });
  expect(`${live.messages.slice(0, -1).join("\n")}\n`).toBe(await page.text());
  expect(door.engine.subscriptions()).toBe(0);
  expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
  await door.close();
});

test("a client that is cut anywhere goes on behind what it has; past the end it waits for more", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  for (let n = 0; n < 300; n += 1) door.engine.append(id, "log", { text: "x".repeat(n) });
  const all: string[] = [];
  for (let cuts = 0; all.length < 290; cuts += 1) {
    const part = listen(door, streamOf(id, `?after=${all.length}`));
    await until(() => part.messages.length > (cuts * 7) % 30);
    const got = part.messages.slice();
    part.socket.terminate();
    all.push(...got);
  }
  expect(seqs(all)).toEqual(all.map((_, i) => i + 1));
  const waiting = listen(door, streamOf(id, "?after=300"));
  await until(() => door.engine.subscriptions() > 0);
  door.engine.append(id, "run.failed");
  await waiting.closed;
  expect(seqs(waiting.messages)).toEqual([301]);
  await door.close();
});

test("with follow=1 the next turn comes too", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  door.engine.append(id, "run.completed");
  const staying = listen(door, streamOf(id, "?follow=1"));
  await until(() => staying.messages.length === 1);
  door.engine.append(id, "turn.started");
  await until(() => staying.messages.length === 2);
  expect(staying.messages).not.toContain(DONE);
  staying.socket.close();
  await until(() => door.engine.subscriptions() === 0);
  await door.close();
});

test.each([
  ["no token", 401, (id: string) => streamOf(id), {}],
  ["a token without the scope", 403, (id: string) => streamOf(id), { authorization: "Bearer narrow" }],
  ["a page of another site", 403, (id: string) => streamOf(id), { authorization: "Bearer owner", origin: "http://evil.example" }],
  ["another name of the server", 403, (id: string) => streamOf(id), { authorization: "Bearer owner", host: "evil.example" }],
  ["a run that is not there", 404, () => streamOf("run_01k9zzzzzzzzzzzzzzzzzzzzzz"), { authorization: "Bearer owner" }],
  ["a place that is no number", 422, (id: string) => streamOf(id, "?after=-1"), { authorization: "Bearer owner" }],
  ["a place past any end", 422, (id: string) => streamOf(id, "?after=99999999999"), { authorization: "Bearer owner" }],
  ["an unknown parameter", 422, (id: string) => streamOf(id, "?limit=3"), { authorization: "Bearer owner" }],
] as const)("%s is refused before anything is opened", async (_, status, path, headers) => {
  const door = await openDoor();
  door.tokens.set("narrow", { ...OWNER, scopes: ["agent:write"] });
  const { id } = door.engine.addRun(OWNER.orgId);
  const { refused } = listen(door, path(id), headers);
  expect(await refused).toBe(status);
  expect(door.engine.subscriptions()).toBe(0);
  await door.close();
});

test("a token that is revoked closes its sockets; so does a log that cannot be read, and the server's own end", async () => {
  const door = await openDoor({ timings: { recheckMs: 20 } });
  door.tokens.set("short", { ...OWNER, tokenId: "token_short" });
  const { id } = door.engine.addRun(OWNER.orgId);
  const revoked = listen(door, streamOf(id), { authorization: "Bearer short" });
  await until(() => door.engine.subscriptions() === 1);
  door.tokens.delete("short");
  expect(await revoked.closed).toEqual([1008, "This token is not valid any more."]);

  const [first, second] = [listen(door, streamOf(id)), listen(door, streamOf(id, "?follow=1"))];
  await until(
    () => door.engine.subscriptions() === 1 && second.socket.readyState === WebSocket.OPEN && first.socket.readyState === WebSocket.OPEN,
  );
  const { readEvents } = door.engine;
  door.engine.readEvents = () => Promise.reject(new Error("the database is gone"));
  door.engine.append(id, "log");
  expect((await first.closed)[0]).toBe(1011);
  expect((await second.closed)[0]).toBe(1011);
  door.engine.readEvents = readEvents;

  const last = listen(door, streamOf(id));
  await until(() => last.messages.length > 0);
  await door.close();
  expect(await last.closed).toEqual([1001, "The server is closing."]);
});

test("a client that never reads costs one page and is cut off; one that never pongs too", async () => {
  const door = await openDoor({ timings: { heartbeatMs: 50 } });
  const { id } = door.engine.addRun(OWNER.orgId);
  for (let n = 0; n < 5_000; n += 1) door.engine.append(id, "log", { text: "x".repeat(4_000) });
  const deaf = listen(door, streamOf(id));
  await new Promise((resolve) => deaf.socket.once("open", resolve));
  deaf.socket.pause();
  await until(() => door.engine.subscriptions() === 0);
  expect(door.engine.reads.events).toBeLessThan(2_500);
  deaf.socket.terminate();

  const silent = new WebSocket(`ws://127.0.0.1:${door.port}${streamOf(id, "?after=5000")}`, {
    headers: { authorization: "Bearer owner" },
    autoPong: false,
  });
  const code = await new Promise((resolve) => silent.once("close", resolve));
  expect(code).toBe(1006);
  await until(() => door.engine.subscriptions() === 0);
  await door.close();
});

test("what a client says is passed over, and much of it ends the connection", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  const talking = listen(door, streamOf(id));
  await new Promise((resolve) => talking.socket.once("open", resolve));
  talking.socket.send("hello?");
  door.engine.append(id, "log");
  await until(() => talking.messages.length === 1);
  talking.socket.send("x".repeat(100_000));
  expect((await talking.closed)[0]).toBe(1009);
  await until(() => door.engine.subscriptions() === 0);
  await door.close();
});

test("without a WebSocket the path says so; offers of other protocols are passed over, with their bodies", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  const plain = await door.fetch(streamOf(id));
  expect([plain.status, plain.headers.get("upgrade"), ((await plain.json()) as { code: string }).code]).toEqual([
    426,
    "websocket",
    "upgrade_required",
  ]);

  const body = JSON.stringify({ task: "x", repositoryUrl: "/r", unknown: 1 });
  const offering = await new Promise<{ status: number; body: string }>((resolve) => {
    const headers = {
      authorization: "Bearer owner",
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      connection: "Upgrade, HTTP2-Settings",
      upgrade: "h2c",
      "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA",
    };
    const sent = request({ port: door.port, method: "POST", path: "/v1/agent-runs", headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    sent.end(body);
  });
  expect([offering.status, offering.body]).toEqual([422, expect.stringContaining("unknown")]);
  const elsewhere = `GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n`;
  expect(await sendBytes(door.port, elsewhere)).toContain("200 OK");
  await door.close();
});

test("garbage in the handshake and behind it is answered or dropped", async () => {
  const door = await openDoor();
  const { id } = door.engine.addRun(OWNER.orgId);
  const head = (more: string): string =>
    `GET ${streamOf(id)} HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nAuthorization: Bearer owner\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`;
  for (const more of [
    "",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n",
  ]) {
    expect(await sendBytes(door.port, head(more))).toMatch(/^HTTP\/1\.1 4\d\d/);
  }
  const raw = connect(door.port, "127.0.0.1");
  raw.on("error", () => undefined);
  const gone = new Promise((resolve) => raw.once("close", resolve));
  raw.write(head("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"));
  raw.on("data", () => raw.write(Buffer.alloc(200, 0xff)));
  await gone;
  await until(() => door.engine.subscriptions() === 0);
  expect((await door.fetch("/livez")).status).toBe(200);
  expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
  await door.close();
});
