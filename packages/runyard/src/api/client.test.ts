import { connect, createServer, type Server, type Socket } from "node:net";
import { isKnownEvent, RunyardApiError, RunyardClient, type RunyardClientOptions } from "@runyard/sdk";
import { runSchema } from "@runyard/sdk/contract";
import { afterEach, describe, expect, test } from "vitest";
import { type Door, openDoor, OWNER, until } from "./testing/door.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(): Promise<Door> {
  const door = await openDoor();
  closers.push(door.close);
  return door;
}

const clientOf = (url: string, more: Partial<RunyardClientOptions> = {}): RunyardClient =>
  new RunyardClient({ baseUrl: url, token: "owner", retryDelayMs: 1, ...more });

/** A relay that passes on so many bytes of an answer and then cuts the connection, again and again. */
async function cuttingProxy(target: number, bytesOf: () => number): Promise<{ url: string; cuts: () => number }> {
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    let left = bytesOf();
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.end());
    // The door answers to its own name only.
    client.on("data", (chunk) => upstream.write(chunk.toString("latin1").replace(/^host: .*$/im, `host: 127.0.0.1:${target}`), "latin1"));
    upstream.on("data", (chunk) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left > 0) return;
      cuts += 1;
      client.destroySoon();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, cuts: () => cuts };
}

describe("the client at the door", () => {
  test("creates, reads, lists, answers, cancels", async () => {
    const door = await open();
    const { runs } = clientOf(door.url);
    const created = await runs.create({ task: "Fix it", repositoryUrl: "/tmp/repository" });
    expect(runSchema.parse(created)).toEqual(await runs.get(created.id));
    for (let n = 0; n < 5; n += 1) door.engine.addRun(OWNER.orgId);
    const ids: string[] = [];
    for await (const run of runs.list({ limit: 2 })) ids.push(run.id);
    expect([ids.length, ids.at(-1)]).toEqual([6, created.id]);
    expect((await runs.list({ limit: 2 })).data).toHaveLength(2);
    const waitingFor = [{ kind: "permission" as const, id: "perm_1_2", title: "rm", toolKind: "execute" as const }];
    const asking = door.engine.addRun(OWNER.orgId, { waitingFor });
    expect((await runs.answerPermission(asking.id, "perm_1_2", "deny")).waitingFor).toEqual([]);
    await expect(runs.answerQuestion(asking.id, "ask_1_2", "yes")).rejects.toMatchObject({ code: "request_not_found" });
    expect(await runs.patch(created.id)).toContain("diff --git");
    expect((await runs.cancel(created.id)).status).toBe("cancelled");
    await expect(runs.cancel(created.id)).rejects.toMatchObject({ status: 409, code: "run_ended", retryable: false });
    expect((await runs.waitForEnd(created.id)).status).toBe("cancelled");
  });

  test("errors carry what the door says, with its request id", async () => {
    const door = await open();
    const error: unknown = await clientOf(door.url)
      .runs.create({ task: "", repositoryUrl: "/x" })
      .catch((thrown: unknown) => thrown);
    if (!RunyardApiError.is(error)) throw new Error("no error");
    expect(error).toMatchObject({ status: 422, code: "invalid_request", errors: [{ path: "task", message: "must say what to do" }] });
    expect(door.log.at(-1)?.requestId).toBe(error.requestId);
    await expect(clientOf(door.url, { token: "wrong" }).runs.list()).rejects.toMatchObject({ status: 401 });
  });

  test("follows a run while it happens and returns at its end", async () => {
    const door = await open();
    const { runs } = clientOf(door.url);
    const { id } = door.engine.addRun(OWNER.orgId);
    const ended = runs.waitForEnd(id);
    const texts: string[] = [];
    const following = (async () => {
      for await (const event of runs.events(id)) if (isKnownEvent(event) && event.type === "log") texts.push(event.data.text);
    })();
    await until(() => door.engine.subscriptions() === 1);
    for (const text of ["one", "two"]) door.engine.append(id, "log", { text });
    door.engine.append(id, "run.completed");
    await following;
    expect(texts).toEqual(["one", "two"]);
    expect((await ended).status).toBe("completed");
  });

  test("through a line that is cut all the time, a log of 300 events comes whole", async () => {
    const door = await open();
    const { id } = door.engine.addRun(OWNER.orgId);
    for (let n = 1; n < 300; n += 1) door.engine.append(id, "log", { text: `ü ${"x".repeat((n * 13) % 97)}` });
    door.engine.append(id, "run.completed");
    let connections = 0;
    // Somewhere between the head of an answer and some events further on, at another byte each time.
    const proxy = await cuttingProxy(door.port, () => 700 + ((connections++ * 131) % 900));
    const joined: string[] = [];
    for await (const event of clientOf(proxy.url).runs.events(id)) joined.push(JSON.stringify(event));
    const { events } = await door.engine.readEvents(OWNER, id, { after: 0, limit: 1_000 });
    expect(joined).toEqual(events.map(({ json }) => json));
    expect(proxy.cuts()).toBeGreaterThan(50);
    await until(() => door.engine.subscriptions() === 0);
  });

  test("outlives a restart of the server", async () => {
    const door = await open();
    const { id } = door.engine.addRun(OWNER.orgId);
    door.engine.append(id, "log", { text: "before" });
    const seen: number[] = [];
    const following = (async () => {
      for await (const event of clientOf(door.url, { retryDelayMs: 20 }).runs.events(id)) seen.push(event.seq);
    })();
    await until(() => seen.length === 1);
    await door.close();
    const again = await openDoor({ engine: door.engine }, door.port);
    closers.push(again.close);
    door.engine.append(id, "run.completed");
    await following;
    expect(seen).toEqual([1, 2]);
  });

  test("a token that is revoked ends its stream with the error", async () => {
    const door = await openDoor({ timings: { recheckMs: 10 } });
    closers.push(door.close);
    door.tokens.set("short", OWNER);
    const { id } = door.engine.addRun(OWNER.orgId);
    const events = clientOf(door.url, { token: "short" }).runs.events(id);
    const next = events.next();
    await until(() => door.engine.subscriptions() === 1);
    door.tokens.delete("short");
    await expect(next).rejects.toMatchObject({ status: 401, code: "unauthorized" });
  });
});
