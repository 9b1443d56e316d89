// An attempt that breaks is followed by the next one, where the run asked for that: on real parts, with the
// server killed and people changing their minds in between.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { hostMemoryBytes } from "../src/sandbox/host-memory.ts";
import { probeLimits } from "../src/sandbox/probe-limits.ts";
import { isSameProcess, readShimPid } from "../src/sandbox/run-directory.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const canLimitMemory = probeLimits().memory;
const hasHighMemory = hostMemoryBytes() >= 16 * 1024 ** 3;
/** Calls that the built-in agent makes before it gives a broken provider up. */
const CALLS_OF_ONE_ATTEMPT = 3;

/**
 * An agent that fails as often as it is told. Words: a diary outside of the workspace, how many attempts
 * fail, and how. It writes down its token, and what became of the first one's.
 */
const FLAKY = `
import { appendFileSync, readFileSync, existsSync } from "node:fs";
import { createInterface } from "node:readline";
const [diary, failures, how] = process.argv.slice(2);
const before = existsSync(diary) ? readFileSync(diary, "utf8").trim().split("\\n").map((line) => JSON.parse(line)) : [];
const token = process.env.OPENAI_API_KEY;
const statusOf = async (bearer) =>
  (await fetch(process.env.OPENAI_BASE_URL + "/models", { headers: { authorization: "Bearer " + bearer } })).status;
const statuses = { own: await statusOf(token), first: await statusOf(before[0]?.token ?? "none") };
appendFileSync(diary, JSON.stringify({ token, pid: process.pid, fresh: !existsSync("left"), ...statuses }) + "\\n");
appendFileSync("left", "by an attempt\\n");
let prompts = 0;
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") continue;
  if (++prompts === 2) appendFileSync("corrected", "\\n");
  if (before.length < Number(failures)) {
    if (how === "hang") continue;
    process.exit(3);
  }
  send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "Done." } } } });
  send({ id, result: { stopReason: "end_turn" } });
}
`;

/** An agent that fills 2.5 GB of memory before it ends its turn. */
const GREEDY = `
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") continue;
  const kept = Array.from({ length: 10 }, () => Buffer.alloc(256 << 20, 1));
  const text = "Filled " + kept.length + ".";
  send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
  send({ id, result: { stopReason: "end_turn" } });
}
`;

describe.skipIf(unavailable !== null)(unavailable === null ? "retries" : `retries cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  /** Creates a run of the flaky agent; `diary` tells what its attempts saw. */
  async function flaky(
    failures: number,
    how: "exit" | "hang",
    settings: CreateRunRequest["settings"],
    verify: CreateRunRequest["verify"] = [],
  ): Promise<{ id: string; repository: string; diary(): { token: string; pid: number; fresh: boolean; own: number; first: number }[] }> {
    serial += 1;
    const repository = makeRepository(line.home.root, { "flaky.mjs": FLAKY }, `flaky-${serial}`);
    const file = path.join(line.home.root, `diary-${serial}`);
    const command = ["node", "flaky.mjs", file, String(failures), how];
    const { id } = await line.client.runs.create({
      task: "Do it",
      repositoryUrl: repository,
      agent: { command },
      verify,
      settings: { sandboxDriver: "process", ...settings },
    });
    const diary = (): ReturnType<Awaited<ReturnType<typeof flaky>>["diary"]> =>
      readFileSync(file, "utf8")
        .trim()
        .split("\n")
        .map((text) => JSON.parse(text) as { token: string; pid: number; fresh: boolean; own: number; first: number });
    return { id, repository, diary };
  }

  /** The run once it waits for its next attempt, and for so many milliseconds more. */
  async function longWait(id: string, moreMs = 3_000): Promise<Run> {
    for (;;) {
      const run = await line.client.runs.get(id);
      if (run.finishedAt !== null) throw new Error(`ended: ${JSON.stringify(run.error)}`);
      if (run.retryAt !== null && Date.parse(run.retryAt) - Date.now() > moreMs) return run;
      await sleep(20);
    }
  }

  const typesOf = (log: readonly RunEvent[]): string[] => log.map((event) => event.type);

  test("a provider that is down for one attempt, and up for the next, which begins afresh", async () => {
    const client = await line.serve([
      { run: "test ! -e left && touch left" },
      { fail: 503, times: CALLS_OF_ONE_ATTEMPT, message: "the decoy reason", say: "Done." },
    ]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "down");
    const { id } = await client.runs.create({ task: "Write", repositoryUrl: repository, settings: { maxRetries: 3 } });
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({
      status: "completed",
      attempt: 2,
      error: null,
      retryAt: null,
      settings: {
        maxRetries: 3,
        retryStrategy: "exponential-backoff",
        retryableErrors: ["network-error", "rate-limit", "sandbox-unavailable", "lost"],
      },
      failedAttempts: [{ attempt: 1, error: { type: "network-error" } }],
      usage: { failedModelCalls: CALLS_OF_ONE_ATTEMPT, modelCalls: CALLS_OF_ONE_ATTEMPT + 3 },
    });
    const log = await readLog(client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    expect(typesOf(log).filter((type) => ["turn.started", "run.retrying", "run.completed"].includes(type))).toEqual([
      "turn.started",
      "run.retrying",
      "run.completed",
    ]);
    const retrying = log.findIndex((event) => event.type === "run.retrying");
    expect(log[retrying]).toMatchObject({ attempt: 1, data: { attempt: 2, error: { type: "network-error" }, timeout: 3_600_000 } });
    expect(log.slice(0, retrying).every((event) => event.attempt <= 1)).toBe(true);
    expect(log.slice(retrying + 1).every((event) => event.attempt === 2)).toBe(true);
    expect(log[retrying + 1]).toMatchObject({ type: "run.phase", data: { phase: "preparing" } });
    // Both attempts found the workspace as the base commit has it.
    const exits = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.exitCode] : []));
    expect(exits).toEqual([0, 0]);
    expect(gitIn(repository, "ls-tree", "--name-only", `runyard/${id}`).split("\n")).toEqual(["README.md", "left"]);
    const shown = await line.home.cli(["show", id]);
    expect(shown.stdout).toMatch(/attempt 1.*network-error/);
  }, 120_000);

  test("a run that did not ask for retries is not tried again", async () => {
    await line.serve([]);
    const { id, diary } = await flaky(1, "exit", {});
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "failed", attempt: 1, error: { type: "agent-error" } });
    expect(diary()).toHaveLength(1);
    // Nor is one whose error was not named.
    const other = await flaky(1, "exit", { maxRetries: 2 });
    expect(await line.client.runs.waitForEnd(other.id)).toMatchObject({ status: "failed", attempt: 1, failedAttempts: [] });
  }, 60_000);

  fullTest(
    "each attempt has a token and a workspace of its own, and the old token is worth nothing",
    async () => {
      const { id, diary } = await flaky(2, "exit", { maxRetries: 2, retryableErrors: ["agent-error"] });
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 3 });
      const attempts = diary();
      expect(new Set(attempts.map((attempt) => attempt.token)).size).toBe(3);
      expect(attempts.map((attempt) => [attempt.fresh, attempt.own, attempt.first])).toEqual([
        [true, 200, 401],
        [true, 200, 401],
        [true, 200, 401],
      ]);
      const ends = await flaky(9, "exit", { maxRetries: 1, retryableErrors: ["agent-error"] });
      expect(await line.client.runs.waitForEnd(ends.id)).toMatchObject({ status: "failed", attempt: 2, error: { type: "agent-error" } });
      expect(typesOf(await readLog(line.client, ends.id)).filter((type) => type === "run.failed")).toHaveLength(1);
    },
    90_000,
  );

  test("an agent whose supervisor died goes on where it was: the same workspace and conversation, without a retry", async () => {
    await line.serve([
      { run: "echo kept >kept.txt" },
      { run: "test -e again || { touch again; sleep 600; }" },
      { run: "rm again; cat kept.txt" },
      { say: "Done." },
    ]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "lost");
    const { id } = await line.client.runs.create({ task: "Keep it", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
    const dirs = path.join(line.home.root, "home", "runs", id, "1");
    while (!existsSync(path.join(dirs, "workspace", "again"))) await sleep(20);
    const shim = readShimPid(path.join(dirs, "steps", "agent"));
    process.kill(shim?.pid ?? 0, "SIGKILL");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", turn: 1, attempt: 2, failedAttempts: [{ attempt: 1, error: { type: "lost" } }] });
    expect(shim !== null && isSameProcess(shim)).toBe(false);
    expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${id}`).split("\n")).toEqual(["README.md", "kept.txt"]);
    const log = await readLog(line.client, id);
    const [session, resumed] = log.flatMap((event) => (event.type === "agent.started" ? [event.data.sessionId] : []));
    expect(resumed).toBe(session);
    expect(log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []))).toEqual(["attempt-goes-on"]);
    const asked = line.model.requests.at(-1)?.messages.filter((message) => message.role === "user") ?? [];
    expect(asked.map((message) => message.content)).toEqual([
      expect.stringContaining("Keep it"),
      expect.stringMatching(/^You were stopped [^]*Keep it$/),
    ]);
  }, 60_000);

  test("an agent that cannot take up its conversation goes on in its workspace, and nothing of the dead attempt lives on", async () => {
    const { id, diary } = await flaky(1, "hang", {});
    const dir = path.join(line.home.root, "home", "runs", id, "1", "steps", "agent");
    for await (const event of line.client.runs.events(id)) if (event.type === "agent.started") break;
    process.kill(readShimPid(dir)?.pid ?? 0, "SIGKILL");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", attempt: 2, failedAttempts: [{ attempt: 1, error: { type: "lost" } }] });
    expect(identifyProcess(diary()[0]?.pid ?? 0)).toBeNull();
    const notices = (await readLog(line.client, id)).flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
    expect(notices).toEqual(["attempt-goes-on", "conversation-restarted"]);
  }, 60_000);

  test("a server that is killed during the wait: the next one waits for the same moment, once", async () => {
    const { id, diary } = await flaky(3, "exit", { maxRetries: 10, retryableErrors: ["agent-error"] });
    // Waits are anything from nothing to 1, 2 and 4 s; now and then none of them is long enough to be met.
    const waiting = await longWait(id, 500).catch(() => null);
    await line.restart();
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", attempt: 4 });
    expect(diary()).toHaveLength(4);
    const log = await readLog(line.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    expect(log.filter((event) => event.type === "run.retrying").map((event) => event.attempt)).toEqual([1, 2, 3]);
    const begun = log.filter((event) => event.type === "run.phase" && event.data.phase === "preparing");
    expect(begun.map((event) => event.attempt)).toEqual([1, 2, 3, 4]);
    const next = begun.find((event) => event.attempt === waiting?.attempt);
    if (waiting !== null) expect(Date.parse(next?.at ?? "")).toBeGreaterThanOrEqual(Date.parse(waiting.retryAt ?? ""));
  }, 120_000);

  test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "servers that are killed at any moment: every attempt, prompt and check happens once (in the full tests)",
    async () => {
      const verify = [{ run: "sleep 0.5; test -e corrected", kind: "test" as const }];
      const { id, diary } = await flaky(2, "exit", { maxRetries: 2, retryableErrors: ["agent-error"] }, verify);
      for (const afterMs of [150, 700, 1_300, 400, 1_000, 50, 900]) {
        await sleep(afterMs);
        await line.restart();
      }
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", attempt: 3, error: null });
      expect(diary()).toHaveLength(3);
      const log = await readLog(line.client, id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      const told = log.flatMap((event) => {
        if (event.type === "verify.finished") return [`${event.attempt} ${event.data.round} ${event.data.passed ? "passed" : "failed"}`];
        return ["agent.started", "run.retrying", "verify.started", "message.user", "run.completed"].includes(event.type)
          ? [`${event.attempt} ${event.type}`]
          : [];
      });
      const attempts = ["0 message.user", "1 agent.started", "1 run.retrying", "2 agent.started", "2 run.retrying", "3 agent.started"];
      const checks = ["3 verify.started", "3 1 failed", "3 message.user", "3 verify.started", "3 2 passed", "3 run.completed"];
      expect(told).toEqual([...attempts, ...checks]);
    },
    120_000,
  );

  test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "a timeout doubles the time once, and every attempt that timed out begins with all of it",
    async () => {
      // Time enough for an agent to begin on a busy machine; the three wait for their ends together.
      const recovered = await flaky(1, "hang", { timeout: 6_000, recovery: { timeout: "double" } });
      const twice = await flaky(2, "hang", { timeout: 4_000, recovery: { timeout: "double" } });
      const retried = await flaky(1, "hang", { timeout: 6_000, maxRetries: 1, retryableErrors: ["timeout"] });
      const { runs } = line.client;
      expect(await runs.waitForEnd(recovered.id)).toMatchObject({
        status: "completed",
        attempt: 2,
        settings: { timeout: 6_000 },
        inForce: { timeout: 12_000 },
        failedAttempts: [{ error: { type: "timeout" } }],
      });
      const ended = await runs.waitForEnd(twice.id);
      expect(ended).toMatchObject({ status: "timeout", attempt: 2, inForce: { timeout: 8_000 } });
      expect(ended.error?.message).toContain("0.1 minutes");
      expect(await runs.waitForEnd(retried.id)).toMatchObject({ status: "completed", attempt: 2, inForce: { timeout: 6_000 } });
    },
    120_000,
  );

  test.skipIf(!canLimitMemory)(
    hasHighMemory ? "out of memory moves to high-memory once" : "out of memory cannot move to high-memory, and says so",
    async () => {
      const repository = makeRepository(line.home.root, { "greedy.mjs": GREEDY }, "greedy");
      const agent = { command: ["node", "greedy.mjs"] };
      const plain = await line.client.runs.create({ task: "Fill", repositoryUrl: repository, agent });
      expect(await line.client.runs.waitForEnd(plain.id)).toMatchObject({
        status: "failed",
        attempt: 1,
        error: { type: "out-of-memory" },
      });
      const settings = { recovery: { outOfMemory: "high-memory" } } as const;
      const { id } = await line.client.runs.create({ task: "Fill", repositoryUrl: repository, agent, settings });
      const run = await line.client.runs.waitForEnd(id);
      if (!hasHighMemory) {
        expect(run.error?.message).toMatch(/this machine has .* GB/);
        return;
      }
      expect(run).toMatchObject({
        status: "completed",
        attempt: 2,
        result: { summary: "Filled 10." },
        inForce: { sandboxType: "high-memory" },
        sandbox: { requested: { memoryBytes: 16 * 1024 ** 3, cpus: 4 }, granted: { memoryBytes: 16 * 1024 ** 3 } },
      });
    },
    120_000,
  );

  test.each([
    ["settings.maxRetries", { maxRetries: 11 }],
    ["settings.maxRetries", { maxRetries: 1.5 }],
    ["settings.retryStrategy", { retryStrategy: "hope" }],
    ["settings.retryableErrors[0]", { maxRetries: 1, retryableErrors: ["budget-exceeded"] }],
    ["settings.recovery.timeout", { recovery: { timeout: "triple" } }],
    ["settings.recovery.outOfMemory", { recovery: { outOfMemory: "high-cpu" } }],
    ["settings.sandboxType", { sandboxType: "huge" }],
    ["settings", { sandboxType: "standard", machineType: "small" }],
  ])("a wrong %s is refused by its path", async (wrong, settings) => {
    const response = await fetch(`${line.server.url}/v1/agent-runs`, {
      method: "POST",
      headers: { authorization: `Bearer ${line.server.token}`, "content-type": "application/json" },
      body: JSON.stringify({ task: "x", repositoryUrl: line.home.root, settings }),
    });
    expect(response.status).toBe(422);
    const problem = (await response.json()) as { errors: { path: string }[] };
    expect(problem.errors.map((error) => error.path)).toEqual([wrong]);
  });

  fullTest(
    "a cancel during the wait works at once, and `down` ends such a run, too",
    async () => {
      const [one, other] = await Promise.all([0, 1].map(() => flaky(99, "exit", { maxRetries: 10, retryableErrors: ["agent-error"] })));
      if (one === undefined || other === undefined) throw new Error("no runs");
      const waiting = await longWait(one.id);
      expect(waiting).toMatchObject({ status: "running", phase: "preparing" });
      await line.client.runs.cancel(one.id);
      const run = await line.client.runs.waitForEnd(one.id);
      expect(run).toMatchObject({ status: "cancelled", attempt: waiting.attempt, retryAt: null });
      expect(Date.parse(run.finishedAt ?? "")).toBeLessThan(Date.parse(waiting.retryAt ?? ""));
      expect(one.diary()).toHaveLength(waiting.attempt - 1);

      await longWait(other.id);
      expect(await line.home.cli(["down"])).toMatchObject({ code: 0 });
      await line.restart();
      expect(await line.client.runs.get(other.id)).toMatchObject({ status: "cancelled" });
    },
    120_000,
  );
});
