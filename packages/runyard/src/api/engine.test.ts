import { RunyardClient } from "@runyard/sdk";
import { type NewEvent, problemSchema, type RunEvent, runSchema } from "@runyard/sdk/contract";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NewRequest } from "../agents/acp/conversation.ts";
import { commitStep, readInputs } from "../store/runs.ts";
import { openEvents, until } from "./testing/door.ts";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
let client: RunyardClient;
beforeAll(async () => {
  served = await serve();
  client = served.client;
});
afterAll(() => served?.close());

const create = () => client.runs.create({ task: "Fix it — ü", repositoryUrl: "/repository" });
const line = (text: string): NewEvent => ({ type: "log", data: { text } });
describe("the door over the real engine", () => {
  test("a run from its creation to its cancellation", async () => {
    const run = await create();
    expect(runSchema.parse(run)).toMatchObject({ status: "pending", task: "Fix it — ü" });
    expect(await client.runs.get(run.id)).toEqual({ ...run, usage: expect.anything() as unknown });
    for (let n = 0; n < 4; n += 1) await create();
    const ids: string[] = [];
    for await (const listed of client.runs.list({ limit: 2 })) ids.push(listed.id);
    expect(ids).toContain(run.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect((await client.runs.cancel(run.id)).status).toBe("cancelled");
    await expect(client.runs.cancel(run.id)).rejects.toMatchObject({ code: "run_ended" });
    const events: string[] = [];
    for await (const event of client.runs.events(run.id)) events.push(event.type);
    expect(events).toEqual(["run.created", "message.user", "run.cancelled"]);
    expect(await client.runs.patch(run.id)).toBe("");
  });

  test("a run goes on after its end, once, and its readers with it", async () => {
    const run = await create();
    await expect(client.runs.continue(run.id, "Go on")).rejects.toMatchObject({ status: 409, code: "run_not_ended" });
    const ended = await client.runs.cancel(run.id);
    const both = await Promise.allSettled([client.runs.continue(run.id, "Go on"), client.runs.continue(run.id, "Go on")]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const next = runSchema.parse(await client.runs.get(run.id));
    expect(next).toMatchObject({
      status: "pending",
      turn: 2,
      prompt: "Go on",
      task: "Fix it — ü",
      cancelRequested: false,
      finishedAt: null,
    });
    await client.runs.cancel(run.id);
    const seen: RunEvent[] = [];
    for await (const event of client.runs.events(run.id, { after: ended.lastSeq })) seen.push(event as RunEvent);
    expect(seen.map(({ type, turn, seq }) => [type, turn, seq - ended.lastSeq])).toEqual([
      ["message.user", 2, 1],
      ["run.cancelled", 2, 2],
    ]);
    const other = new RunyardClient({ baseUrl: served.door.url, token: "token-b" });
    await expect(other.runs.continue(run.id, "x")).rejects.toMatchObject({ status: 404, code: "run_not_found" });
    await expect(client.runs.continue(run.id, " ")).rejects.toMatchObject({ status: 422, code: "invalid_request" });
  });

  test("refusals of the engine come as its problems", async () => {
    await expect(client.runs.create({ task: "x", repositoryUrl: "/r", agent: { profile: "nobody" } })).rejects.toMatchObject({
      status: 422,
      code: "unknown_agent",
    });
    await expect(client.runs.list({ cursor: "nonsense" })).rejects.toMatchObject({ status: 422, code: "invalid_request" });
    const run = await create();
    await expect(client.runs.answerPermission(run.id, "perm_1_2", "allow")).rejects.toMatchObject({
      status: 404,
      code: "request_not_found",
    });
  });

  test("another organization sees nothing of a run, on any route", async () => {
    const run = await create();
    const other = new RunyardClient({ baseUrl: served.door.url, token: "token-b" });
    const refused = { status: 404, code: "run_not_found" };
    await expect(other.runs.get(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.cancel(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.patch(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.metrics(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.answerPermission(run.id, "perm_1_2", "allow")).rejects.toMatchObject(refused);
    await expect(other.runs.answerQuestion(run.id, "ask_1_2", "x")).rejects.toMatchObject(refused);
    await expect(other.runs.events(run.id).next()).rejects.toMatchObject(refused);
    expect((await other.runs.list()).data).toEqual([]);
    expect((await client.runs.get(run.id)).status).toBe("pending");
  });

  test("a reader that is cut at every event of a log that grows gets it whole", async () => {
    const run = await create();
    const claimed = await served.claim(run.id);
    const writing = (async () => {
      for (let n = 0; n < 50; n += 1) await served.say(claimed, [line(`a ${n}`), line(`b ${n} ${"ü".repeat(n)}`)]);
      await served.complete(claimed);
    })();
    const joined: string[] = [];
    let after = 0;
    for (let done = false; !done;) {
      const socket = openEvents(served.door.port, `/v1/agent-runs/${run.id}/events`, {
        authorization: "Bearer token-a",
        "last-event-id": String(after),
      });
      let text = "";
      socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      await until(() => /retry: 2000\n\n[^]*?\n\n/.test(text));
      socket.destroy();
      const [, message = ""] = /retry: 2000\n\n([^]*?\n\n)/.exec(text) ?? [];
      done = message.includes("stream.done");
      if (!done) joined.push(message);
      after = Number(/^id: (\d+)$/m.exec(message)?.[1] ?? after);
    }
    await writing;
    const whole = await fetch(`${served.door.url}/v1/agent-runs/${run.id}/events`, {
      headers: { authorization: "Bearer token-a", accept: "text/event-stream" },
    });
    expect(joined.join("")).toBe((await whole.text()).replace("retry: 2000\n\n", "").replace('data: {"type":"stream.done"}\n\n', ""));
    // created, message, started, 100 lines, completed
    expect(joined).toHaveLength(104);
  });

  test("an answer reaches the agent's lines, once", async () => {
    const { id } = await create();
    const run = await served.claim(id);
    const options = [
      { optionId: "yes", kind: "allow_once", name: "Allow" },
      { optionId: "no", kind: "reject_once", name: "Refuse" },
    ];
    const request: NewRequest = {
      kind: "permission",
      id: "perm_1_60",
      offset: 60,
      rpcId: 5,
      title: "rm -r",
      toolKind: "execute",
      payload: { options },
    };
    await commitStep(served.database.db, { run, outTo: 120, requests: [request] });
    const [waiting] = (await client.runs.get(id)).waitingFor;
    expect(waiting).toEqual({ kind: "permission", id: "perm_1_60", title: "rm -r", toolKind: "execute" });
    await expect(client.runs.answerQuestion(id, "ask_1_60", "yes")).rejects.toMatchObject({ code: "request_not_found" });
    expect((await client.runs.answerPermission(id, "perm_1_60", "allow")).waitingFor).toEqual([]);
    await expect(client.runs.answerPermission(id, "perm_1_60", "deny")).rejects.toMatchObject({ status: 409, code: "already_answered" });
    const lines = await readInputs(served.database.db, { run, from: 0 });
    expect(lines.map(({ line: text }) => JSON.parse(text) as unknown)).toEqual([
      { jsonrpc: "2.0", id: 5, result: { outcome: { outcome: "selected", optionId: "yes" } } },
    ]);
  });

  test("a revoked token ends its open stream", async () => {
    await served.addToken("short", { orgId: "org_a", scopes: ["agent:read"] });
    const run = await create();
    const events = new RunyardClient({ baseUrl: served.door.url, token: "short", retryDelayMs: 1 }).runs.events(run.id);
    expect(((await events.next()).value as RunEvent).type).toBe("run.created");
    await events.next();
    const revoke = (): Promise<unknown> =>
      served.database.db.inOrganization("org_a", (tx) => tx.query("update runyard.tokens set revoked_at = now() where id = 'tok_short'"));
    await Promise.all([expect(events.next()).rejects.toMatchObject({ status: 401 }), revoke()]);
  });

  test("no input makes it fail", async () => {
    const run = await create();
    await client.runs.cancel(run.id);
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("", "x".repeat(5_000), "\0", "\ud800", "💥", "../../etc/passwd", "'; drop table runs; --"),
    );
    const body = fc.record(
      { task: text, repositoryUrl: text, branch: text, model: text, agent: fc.record({ command: fc.array(text, { maxLength: 3 }) }) },
      { requiredKeys: ["task", "repositoryUrl"] },
    );
    const cursor = fc.oneof(
      text,
      fc.bigInt().map((number) => Buffer.from(String(number)).toString("base64url")),
      fc.double().map((number) => Buffer.from(String(number)).toString("base64url")),
    );
    const after = fc.oneof(fc.nat().map(String), fc.constantFrom("2147483647", "2147483648", "9007199254740993", "-1", "1e9"));
    const headers = { authorization: "Bearer token-a", "content-type": "application/json" };
    const look = async (path: string, init: RequestInit = {}): Promise<void> => {
      const response = await fetch(`${served.door.url}${path}`, { headers, ...init });
      expect([path, response.status < 500]).toEqual([path, true]);
      if (response.status >= 400) problemSchema.parse(await response.json());
      else await response.text();
    };
    await fc.assert(
      fc.asyncProperty(body, cursor, after, async (value, at, seq) => {
        await look("/v1/agent-runs", { method: "POST", body: JSON.stringify(value) });
        await look(`/v1/agent-runs?cursor=${encodeURIComponent(at.replaceAll(/\p{Surrogate}/gu, "?"))}`);
        await look(`/v1/agent-runs/${run.id}/events?after=${seq}`);
      }),
      { numRuns: 150 },
    );
    expect(served.log.filter(({ level }) => level === "error")).toEqual([]);
  });
});
