import { connect } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { type Door, openDoor, openEvents, OWNER, until } from "./testing/door.ts";

const DONE = 'data: {"type":"stream.done"}\n\n';
const SSE = { accept: "text/event-stream" };
const NDJSON = { accept: "application/x-ndjson" };

/** A run with a log of so many events; the last one ends it. */
function endedRun(door: Door, count: number): string {
  const { id } = door.engine.addRun(OWNER.orgId);
  for (let seq = 1; seq < count; seq += 1) door.engine.append(id, "log", { text: `line ${seq} — ü💥 ${"x".repeat((seq * 7) % 50)}` });
  door.engine.append(id, "run.completed", {});
  return id;
}

const eventsOf = (id: string): string => `/v1/agent-runs/${id}/events`;

/** Reads until the body ends. */
async function readAll(door: Door, path: string, headers: Record<string, string>): Promise<string> {
  return (await door.fetch(path, { headers })).text();
}

/** What an open stream has sent so far, without its head. */
function collect(socket: ReturnType<typeof openEvents>): { text: () => string; closed: () => boolean } {
  let bytes = Buffer.alloc(0);
  let closed = false;
  socket.on("data", (chunk) => (bytes = Buffer.concat([bytes, chunk])));
  socket.on("close", () => (closed = true));
  return { text: () => bytes.toString().replace(/^[^]*?\r\n\r\n/, ""), closed: () => closed };
}

/** What this process holds, without what is only waiting to be collected. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe("server-sent events", () => {
  test("the whole log of a run that has ended, framed", async () => {
    const door = await openDoor();
    const id = endedRun(door, 3);
    const response = await door.fetch(eventsOf(id), { headers: SSE });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const { events } = await door.engine.readEvents(OWNER, id, { after: 0, limit: 10 });
    const frames = events.map(({ seq, json }) => `id: ${seq}\ndata: ${json}\n\n`).join("");
    expect(await response.text()).toBe(`retry: 2000\n\n${frames}${DONE}`);
    await door.close();
  });

  test("a client that is cut at every event of a log and resumes gets the same bytes", async () => {
    const door = await openDoor();
    const id = endedRun(door, 300);
    const whole = (await readAll(door, eventsOf(id), SSE)).replace("retry: 2000\n\n", "");
    let joined = "";
    let after = 0;
    for (let cut = 1; cut <= 301; cut += 1) {
      const socket = openEvents(door.port, eventsOf(id), after === 0 ? {} : { "last-event-id": String(after) });
      const seen = collect(socket);
      // Cut once one message is complete; whatever else has come in the meantime is thrown away with the connection.
      await until(() => /^retry: 2000\n\n[^]*?\n\n/.test(seen.text()));
      socket.destroy();
      const [, message = ""] = /^retry: 2000\n\n([^]*?\n\n)/.exec(seen.text()) ?? [];
      joined += message;
      after = Number(/^id: (\d+)$/m.exec(message)?.[1] ?? after);
    }
    expect(after).toBe(300);
    expect(joined).toBe(whole);
    await until(() => door.engine.subscriptions() === 0);
    await door.close();
  });

  test("events arrive as they are appended, and the stream ends with the turn", async () => {
    // Without the second look that a lost wake-up would get.
    const door = await openDoor({ timings: { pollMs: 600_000 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    const socket = openEvents(door.port, eventsOf(id));
    const seen = collect(socket);
    await until(() => seen.text().includes("retry"));
    for (const text of ["one", "two"]) {
      door.engine.append(id, "log", { text });
      await until(() => seen.text().includes(`"text":"${text}"`));
    }
    // A burst is one read of the log.
    const before = door.engine.reads.count;
    for (let n = 0; n < 50; n += 1) door.engine.append(id, "log", { text: `burst ${n}` });
    await until(() => seen.text().includes("burst 49"));
    expect(door.engine.reads.count - before).toBeLessThanOrEqual(2);
    expect(seen.closed()).toBe(false);
    door.engine.append(id, "run.cancelled");
    await until(() => seen.closed());
    expect(seen.text().endsWith(DONE)).toBe(true);
    expect(seen.text()).not.toMatch(/^event:/m);
    expect(door.engine.subscriptions()).toBe(0);
    await door.close();
  });

  test("follow stays for later turns", async () => {
    const door = await openDoor();
    const id = endedRun(door, 2);
    const socket = openEvents(door.port, `${eventsOf(id)}?follow=1`);
    const seen = collect(socket);
    await until(() => seen.text().includes("run.completed"));
    door.engine.append(id, "turn.started", { prompt: "more" });
    await until(() => seen.text().includes("turn.started"));
    door.engine.append(id, "run.completed");
    await until(() => seen.text().includes("id: 4"));
    expect(seen.text()).not.toContain("stream.done");
    expect(seen.closed()).toBe(false);
    socket.destroy();
    await until(() => door.engine.subscriptions() === 0);
    await door.close();
  });

  test("a wake-up that is lost costs no more than the next look", async () => {
    const door = await openDoor({ timings: { pollMs: 20 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    door.engine.subscribe = () => () => undefined;
    const seen = collect(openEvents(door.port, eventsOf(id)));
    await until(() => seen.text().includes("retry"));
    door.engine.append(id, "run.completed");
    await until(() => seen.closed());
    expect(seen.text().endsWith(DONE)).toBe(true);
    await door.close();
  });

  test("a silent stream sends comments", async () => {
    const door = await openDoor({ timings: { pollMs: 10, heartbeatMs: 30 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    const seen = collect(openEvents(door.port, eventsOf(id)));
    await until(() => seen.text().endsWith(":\n\n:\n\n"));
    expect(seen.text()).toMatch(/^retry: 2000\n\n(:\n\n)+$/);
    await door.close();
  });

  test("the place: header before query, exclusive, and nothing but numbers", async () => {
    const door = await openDoor();
    const id = endedRun(door, 5);
    const first = async (path: string, headers = {}) => /^id: (\d+)$/m.exec(await readAll(door, path, { ...SSE, ...headers }))?.[1];
    expect(await first(`${eventsOf(id)}?after=3`)).toBe("4");
    expect(await first(`${eventsOf(id)}?after=1`, { "last-event-id": "2" })).toBe("3");
    expect(await readAll(door, `${eventsOf(id)}?after=5`, SSE)).toBe(`retry: 2000\n\n${DONE}`);
    expect(await readAll(door, `${eventsOf(id)}?after=2147483647`, SSE)).toBe(`retry: 2000\n\n${DONE}`);
    for (const bad of ["-1", "1.5", "abc", "", "0x1", "1e3", "2147483648", "99999999999999999999"]) {
      const query = await door.fetch(`${eventsOf(id)}?after=${bad}`, { headers: SSE });
      const header = await door.fetch(eventsOf(id), { headers: { ...SSE, "last-event-id": bad } });
      expect([bad, query.status, header.status]).toEqual([bad, 422, 422]);
    }
    expect((await door.fetch(`${eventsOf(id)}?limit=5`, { headers: SSE })).status).toBe(422);
    expect((await door.fetch(`${eventsOf(id)}?follow=yes`, { headers: SSE })).status).toBe(422);
    await door.close();
  });
});

describe("NDJSON and JSON", () => {
  test("NDJSON is the same envelopes, one a line, live to the end", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    const body = readAll(door, eventsOf(id), NDJSON);
    await until(() => door.engine.subscriptions() === 1);
    door.engine.append(id, "log", { text: "a\nb" });
    door.engine.append(id, "run.failed");
    const { events } = await door.engine.readEvents(OWNER, id, { after: 0, limit: 10 });
    expect(await body).toBe(events.map(({ json }) => `${json}\n`).join(""));
    await door.close();
  });

  test("JSON pages tell whether there is more and where it begins", async () => {
    const door = await openDoor();
    const id = endedRun(door, 150);
    const page = async (query: string) =>
      (await door.fetch(`${eventsOf(id)}${query}`)).json() as Promise<{ data: { seq: number }[]; has_more: boolean; next_after: number }>;
    const first = await page("");
    expect([first.data.length, first.has_more, first.next_after]).toEqual([100, true, 100]);
    const second = await page(`?after=${first.next_after}`);
    expect([second.data.length, second.has_more, second.next_after, second.data[0]?.seq]).toEqual([50, false, 150, 101]);
    expect(await page("?after=150")).toEqual({ data: [], has_more: false, next_after: 150 });
    expect((await page("?limit=150")).has_more).toBe(false);
    for (const bad of ["limit=0", "limit=1001", "limit=x", "follow=1", "after=-1", "x=1"]) {
      expect([bad, (await door.fetch(`${eventsOf(id)}?${bad}`)).status]).toEqual([bad, 422]);
    }
    await door.close();
  });

  test("a page of large events is cut short, never empty", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    for (let n = 0; n < 4; n += 1) door.engine.append(id, "log", { text: "x".repeat(n === 1 ? 5_000_000 : 1_500_000) });
    const sizes: number[] = [];
    for (let after = 0, more = true; more;) {
      const page = (await (await door.fetch(`${eventsOf(id)}?after=${after}`)).json()) as {
        data: unknown[];
        has_more: boolean;
        next_after: number;
      };
      sizes.push(page.data.length);
      more = page.has_more;
      after = page.next_after;
    }
    expect(sizes).toEqual([1, 1, 2]);
    await door.close();
  });

  test("the kind of answer follows Accept", async () => {
    const door = await openDoor();
    const id = endedRun(door, 1);
    const type = async (accept: string) =>
      (await door.fetch(eventsOf(id), { headers: { accept } })).headers.get("content-type")?.split(";")[0];
    expect(await type("*/*")).toBe("application/json");
    expect(await type("text/event-stream")).toBe("text/event-stream");
    expect(await type("application/x-ndjson, application/json;q=0.5")).toBe("application/x-ndjson");
    expect(await type("text/event-stream;q=0.1, application/json")).toBe("application/json");
    expect(await type("text/html")).toBe("application/json");
    await door.close();
  });
});

describe("readers that hold the server up, and their end", () => {
  test("50 readers who do not read make the server hold next to nothing", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    for (let n = 0; n < 7_999; n += 1) door.engine.append(id, "log", { text: "x".repeat(4_000) });
    door.engine.append(id, "run.completed");
    const logBytes = 8_000 * 4_000;
    const before = heldBytes();
    const sockets = Array.from({ length: 50 }, () => openEvents(door.port, eventsOf(id)).pause());
    // They have stalled when nothing was read for them for a while.
    for (let last = -1; last !== door.engine.reads.count || last < 50;) {
      last = door.engine.reads.count;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(door.engine.reads.events * 4_000).toBeLessThan((50 * logBytes) / 2);
    expect(heldBytes() - before).toBeLessThan(50 * 1024 * 1024);
    // The control: one that reads gets all of it, past the others who stand still.
    const whole = await readAll(door, eventsOf(id), SSE);
    expect(whole.length).toBeGreaterThan(logBytes);
    expect(whole.endsWith(DONE)).toBe(true);
    for (const socket of sockets) socket.destroy();
    await until(() => door.engine.subscriptions() === 0);
    await door.close();
  });

  test.each([
    ["is revoked", null],
    ["may not read any more", { ...OWNER, scopes: OWNER.scopes.filter((scope) => scope !== "agent:read") }],
    ["is of another organization by now", { ...OWNER, orgId: "org_b" }],
  ])("a token that %s ends its streams, a valid one's go on", async (_, now) => {
    const door = await openDoor({ timings: { recheckMs: 20 } });
    door.tokens.set("short", { ...OWNER, tokenId: "token_short" });
    const { id } = door.engine.addRun(OWNER.orgId);
    const revoked = collect(openEvents(door.port, eventsOf(id), { authorization: "Bearer short" }));
    const valid = collect(openEvents(door.port, eventsOf(id)));
    await until(() => door.engine.subscriptions() === 1 && revoked.text() !== "" && valid.text() !== "");
    if (now === null) door.tokens.delete("short");
    else door.tokens.set("short", { ...now, tokenId: "token_short" });
    await until(() => revoked.closed());
    expect(revoked.text()).not.toContain("stream.done");
    door.engine.append(id, "run.completed");
    await until(() => valid.closed());
    expect(valid.text().endsWith(DONE)).toBe(true);
    await door.close();
  });

  test("a token that cannot be looked at for a while keeps its streams", async () => {
    let looks = 0;
    const authenticate = (): Promise<typeof OWNER> =>
      (looks += 1) > 1 ? Promise.reject(new Error("the database is away")) : Promise.resolve(OWNER);
    const door = await openDoor({ timings: { recheckMs: 10 }, authenticate });
    const { id } = door.engine.addRun(OWNER.orgId);
    const stream = collect(openEvents(door.port, eventsOf(id)));
    await until(() => looks > 4);
    door.engine.append(id, "run.completed");
    await until(() => stream.closed());
    expect(stream.text().endsWith(DONE)).toBe(true);
    await door.close();
  });

  test("a read that fails ends the stream without its last word, and is logged", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    const stream = collect(openEvents(door.port, eventsOf(id)));
    await until(() => stream.text() !== "");
    door.engine.readEvents = () => Promise.reject(new Error("the database is gone"));
    door.engine.append(id, "run.completed");
    await until(() => stream.closed());
    expect(stream.text()).toBe("retry: 2000\n\n");
    expect(door.engine.subscriptions()).toBe(0);
    expect(String(door.log.find(({ level }) => level === "error")?.error)).toContain("the database is gone");
    await door.close();
  });

  test("a revoked reader who does not read is cut", async () => {
    const door = await openDoor({ timings: { recheckMs: 20 } });
    door.tokens.set("short", { ...OWNER, tokenId: "token_short" });
    const { id } = door.engine.addRun(OWNER.orgId);
    for (let n = 0; n < 5_000; n += 1) door.engine.append(id, "log", { text: "x".repeat(4_000) });
    const socket = openEvents(door.port, eventsOf(id), { authorization: "Bearer short" }).pause();
    await until(() => door.engine.reads.count > 1);
    door.tokens.delete("short");
    await until(() => door.engine.subscriptions() === 0);
    expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
    socket.destroy();
    await door.close();
  });

  test("closing ends open streams without their last word, and lets requests finish", async () => {
    const door = await openDoor({ timings: { closeMs: 600_000, pollMs: 600_000 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    const stream = collect(openEvents(door.port, eventsOf(id)));
    // On a connection that would be kept for the next request.
    const kept = await door.fetch(eventsOf(id), { headers: SSE });
    const { getRun } = door.engine;
    let asked = false;
    let goOn: () => void = () => undefined;
    door.engine.getRun = async (principal, runId) => {
      asked = true;
      await new Promise<void>((resolve) => (goOn = resolve));
      return getRun(principal, runId);
    };
    const request = door.fetch(`/v1/agent-runs/${id}`);
    await until(() => stream.text() !== "" && asked);
    const closing = door.close();
    await until(() => stream.closed());
    expect([stream.text(), await kept.text()]).toEqual(["retry: 2000\n\n", "retry: 2000\n\n"]);
    expect(door.engine.subscriptions()).toBe(0);
    await expect(fetch(`${door.url}/livez`)).rejects.toThrow("fetch failed");
    goOn();
    const answer = await request;
    expect([answer.status, answer.headers.get("connection")]).toEqual([200, "close"]);
    await closing;
  });

  test("nothing begins on a connection that was kept while the server closes", async () => {
    const door = await openDoor({ timings: { closeMs: 600_000 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    let asked = false;
    let goOn: () => void = () => undefined;
    const { getRun } = door.engine;
    door.engine.getRun = async (principal, runId) => {
      asked = true;
      await new Promise<void>((resolve) => (goOn = resolve));
      return getRun(principal, runId);
    };
    const socket = connect(door.port, "127.0.0.1");
    const seen = collect(socket);
    const head = `Host: 127.0.0.1:${door.port}\r\nAuthorization: Bearer owner\r\nAccept: text/event-stream\r\n\r\n`;
    socket.write(`GET /v1/agent-runs/${id} HTTP/1.1\r\n${head}`);
    await until(() => asked);
    const closing = door.close();
    socket.write(`GET ${eventsOf(id)} HTTP/1.1\r\n${head}`);
    await until(() => door.log.some(({ status }) => status === 503));
    goOn();
    await closing;
    await until(() => seen.closed());
    expect(door.engine.subscriptions()).toBe(0);
    expect(seen.text()).toContain(`"id":"${id}"`);
  });

  test("a stream that was on its way when the server began to close ends as soon as it begins", async () => {
    const door = await openDoor({ timings: { closeMs: 600_000 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    const { readEvents } = door.engine;
    let asked = false;
    let goOn: () => void = () => undefined;
    door.engine.readEvents = async (...read) => {
      asked = true;
      await new Promise<void>((resolve) => (goOn = resolve));
      return readEvents(...read);
    };
    const stream = collect(openEvents(door.port, eventsOf(id)));
    await until(() => asked);
    const closing = door.close();
    goOn();
    await until(() => stream.closed());
    await closing;
    expect(stream.text()).toBe("retry: 2000\n\n");
    expect(door.engine.subscriptions()).toBe(0);
  });

  test("closing does not wait for ever", async () => {
    const door = await openDoor({ timings: { closeMs: 100 } });
    const { id } = door.engine.addRun(OWNER.orgId);
    let asked = false;
    door.engine.getRun = () => {
      asked = true;
      return new Promise(() => undefined);
    };
    const request = door.fetch(`/v1/agent-runs/${id}`);
    request.catch(() => undefined);
    await until(() => asked);
    await door.close();
    await expect(request).rejects.toThrow("fetch failed");
  });
});
