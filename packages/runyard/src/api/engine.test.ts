import { createHash } from "node:crypto";
import { RunyardClient } from "@runyard/sdk";
import { type NewEvent, problemSchema, type RunEvent, runSchema, SCOPES } from "@runyard/sdk/contract";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type NewRequest, permissionAnswer, questionAnswer } from "../agents/acp/conversation.ts";
import { createEngine } from "../engine/engine.ts";
import { authenticate } from "../engine/identity.ts";
import { createWakes } from "../engine/wakes.ts";
import { ensureAdministrator } from "../store/identities.ts";
import type { RunRow } from "../store/run-row.ts";
import { claimRun, commitStep, readInputs } from "../store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { createApi } from "./api.ts";
import type { ApiLogEntry } from "./context.ts";
import type { Listening } from "./listen.ts";
import { openEvents, until } from "./testing/door.ts";

// The door over the real engine and a real PostgreSQL: the API as it is served, but for agents and git.
const wakes = createWakes();
const log: ApiLogEntry[] = [];
let database: TestDatabase;
let door: Listening;
let client: RunyardClient;

beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  for (const name of ["a", "b"]) {
    const tokenHash = createHash("sha256").update(`token-${name}`).digest();
    await ensureAdministrator(db, {
      orgId: `org_${name}`,
      orgName: name,
      userId: `user_${name}`,
      userName: name,
      tokenId: `tok_${name}`,
      tokenHash,
      scopes: SCOPES,
    });
  }
  const engine = createEngine({
    db,
    wakes,
    now: Date.now,
    describeAgent: (profile) => (profile === "builtin" ? { needsModel: true } : undefined),
    agentNames: () => ["builtin", "custom"],
    inspectRepository: async (url, branch) => ({ root: url, branch: branch ?? "main", commit: "a".repeat(40), notices: [] }),
    model: () => ({ connected: true, simulated: false, model: "some-model" }),
    defaultDriver: "process",
    probeSandbox: async () => ({ available: true, reason: null, isolation: { filesystem: "none", network: "none", processes: "none" } }),
    answers: {
      permission: (request, decision) => permissionAnswer(request as NewRequest, decision),
      question: (request, answer) => questionAnswer(request as NewRequest, answer),
    },
    readPatch: async ({ base, head }) => `${base}..${head}`,
  });
  const api = createApi({
    engine,
    authenticate: (bearer) => authenticate(db, bearer),
    allowedHosts: () => [],
    log: (entry) => void log.push(entry),
    version: "0",
    timings: { recheckMs: 50 },
  });
  door = await api.listen({ host: "127.0.0.1", port: 0 });
  client = new RunyardClient({ baseUrl: door.url, token: "token-a" });
});
afterAll(async () => {
  await door?.close();
  await database?.drop();
});

const create = () => client.runs.create({ task: "Fix it — ü", repositoryUrl: "/repository" });

/** Claims this very run as a runner does; others that are queued are ended. */
async function claim(runId: string): Promise<RunRow> {
  for (;;) {
    const events: NewEvent[] = [{ type: "run.started", data: { runnerId: "runner" } }];
    const run = await claimRun(database.db, { owner: "owner", runnerId: "runner", events });
    if (run === undefined) throw new Error("nothing to claim");
    if (run.id === runId) return run;
    await commitStep(database.db, { run, change: { status: "failed" } });
  }
}

/** Commits events as a runner does, and wakes the readers. */
async function say(run: RunRow, events: readonly NewEvent[], status?: "completed"): Promise<void> {
  const after = await commitStep(database.db, { run, events, ...(status === undefined ? {} : { change: { status } }) });
  expect(after).toBeDefined();
  wakes.notify(run.id);
}

const line = (text: string): NewEvent => ({ type: "log", data: { text } });
const completed: NewEvent = {
  type: "run.completed",
  data: {
    result: {
      summary: "done",
      headBranch: null,
      headCommit: null,
      baseCommit: "a".repeat(40),
      filesChanged: 0,
      insertions: 0,
      deletions: 0,
    },
  },
};

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
    const other = new RunyardClient({ baseUrl: door.url, token: "token-b" });
    const refused = { status: 404, code: "run_not_found" };
    await expect(other.runs.get(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.cancel(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.patch(run.id)).rejects.toMatchObject(refused);
    await expect(other.runs.answerPermission(run.id, "perm_1_2", "allow")).rejects.toMatchObject(refused);
    await expect(other.runs.answerQuestion(run.id, "ask_1_2", "x")).rejects.toMatchObject(refused);
    await expect(other.runs.events(run.id).next()).rejects.toMatchObject(refused);
    expect((await other.runs.list()).data).toEqual([]);
    expect((await client.runs.get(run.id)).status).toBe("pending");
  });

  test("a reader that is cut at every event of a log that grows gets it whole", async () => {
    const run = await create();
    const claimed = await claim(run.id);
    const writing = (async () => {
      for (let n = 0; n < 50; n += 1) await say(claimed, [line(`a ${n}`), line(`b ${n} ${"ü".repeat(n)}`)]);
      await say(claimed, [completed], "completed");
    })();
    const joined: string[] = [];
    let after = 0;
    for (let done = false; !done;) {
      const socket = openEvents(door.port, `/v1/agent-runs/${run.id}/events`, {
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
    const whole = await fetch(`${door.url}/v1/agent-runs/${run.id}/events`, {
      headers: { authorization: "Bearer token-a", accept: "text/event-stream" },
    });
    expect(joined.join("")).toBe((await whole.text()).replace("retry: 2000\n\n", "").replace('data: {"type":"stream.done"}\n\n', ""));
    // created, message, started, 100 lines, completed
    expect(joined).toHaveLength(104);
  });

  test("an answer reaches the agent's lines, once", async () => {
    const { id } = await create();
    const run = await claim(id);
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
    await commitStep(database.db, { run, outTo: 120, requests: [request] });
    const [waiting] = (await client.runs.get(id)).waitingFor;
    expect(waiting).toEqual({ kind: "permission", id: "perm_1_60", title: "rm -r", toolKind: "execute" });
    await expect(client.runs.answerQuestion(id, "ask_1_60", "yes")).rejects.toMatchObject({ code: "request_not_found" });
    expect((await client.runs.answerPermission(id, "perm_1_60", "allow")).waitingFor).toEqual([]);
    await expect(client.runs.answerPermission(id, "perm_1_60", "deny")).rejects.toMatchObject({ status: 409, code: "already_answered" });
    const lines = await readInputs(database.db, { run, from: 0 });
    expect(lines.map(({ line: text }) => JSON.parse(text) as unknown)).toEqual([
      { jsonrpc: "2.0", id: 5, result: { outcome: { outcome: "selected", optionId: "yes" } } },
    ]);
  });

  test("a revoked token ends its open stream", async () => {
    const tokenHash = createHash("sha256").update("short").digest();
    await ensureAdministrator(database.db, {
      orgId: "org_a",
      orgName: "a",
      userId: "user_a",
      userName: "a",
      tokenId: "tok_short",
      tokenHash,
      scopes: ["agent:read"],
    });
    const run = await create();
    const events = new RunyardClient({ baseUrl: door.url, token: "short", retryDelayMs: 1 }).runs.events(run.id);
    expect(((await events.next()).value as RunEvent).type).toBe("run.created");
    await events.next();
    const next = events.next();
    await database.db.inOrganization("org_a", (tx) => tx.query("update runyard.tokens set revoked_at = now() where id = 'tok_short'"));
    await expect(next).rejects.toMatchObject({ status: 401 });
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
      const response = await fetch(`${door.url}${path}`, { headers, ...init });
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
    expect(log.filter(({ level }) => level === "error")).toEqual([]);
  });
});
