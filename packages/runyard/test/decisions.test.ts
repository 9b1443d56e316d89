// People decide about plans, answer, follow up and cancel, two at once and again, while the server is killed under them, and what watches over agents and steps.
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunyardApiError, RunyardConnectionError } from "@runyard/sdk";
import { isTerminalEventType, type Run, type RunEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess, signalProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { processesWith, readProc } from "../src/sandbox/testing/processes.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

/** Asks for a permission first where the task says so, plans with words, works by a file, and remembers nothing. */
const AGENT = `
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
const options = [{ optionId: "yes", name: "Yes", kind: "allow_once" }, { optionId: "no", name: "No", kind: "reject_once" }];
let prompt = null;
const end = (stopReason) => { send({ id: prompt.id, result: { stopReason } }); prompt = null; };
const work = () => {
  if (/hand in the (plan|whole)/.test(prompt.text)) say("The plan, once more.");
  else { appendFileSync("work.txt", "worked\\n"); say("Worked."); }
  end("end_turn");
};
for await (const text of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(text);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  else if (method === "session/new") send({ id, result: { sessionId: "s" } });
  else if (method === "session/cancel") { if (prompt) end("cancelled"); }
  else if (method === "session/prompt") {
    prompt = { id, text: params.prompt.map((part) => part.text ?? "").join("") };
    if (prompt.text.includes("[ask]")) send({ id: 99, method: "session/request_permission", params: { sessionId: "s", toolCall: { toolCallId: "t" + Math.random(), title: "Do", kind: "execute" }, options } });
    else work();
  } else if (id === 99 && prompt) work();
}
`;

const [RUNS, KILLS] = [40, 20];
const FIRST_SEED = Number(process.env["RUNYARD_TEST_SEED"] ?? Date.now() % 1_000_000);
const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

/** What a person was told was done. */
interface Acknowledged {
  readonly runId: string;
  readonly what: "approved" | "revised" | "rejected" | "answered" | "cancelled" | "continued";
  /** The plan's version, the request's id, or the turn that was begun. */
  readonly key: string;
}

describe.skipIf(unavailable !== null)(unavailable === null ? "decisions" : `decisions cannot be tested: ${unavailable}`, () => {
  /** Runs that somebody wanted to end, whether he was told that it was done or not. */
  const unwanted = new Set<string>();
  let seed = FIRST_SEED;
  const random = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x7fffffff;
  let database: TestDatabase;
  let home: TestHome;
  let server: TestServer;
  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString, RUNYARD_TEST_POLL_MS: "200" });
    server = await home.up("--max-runs", "3");
  }, 120_000);
  afterAll(async () => {
    await home?.close();
    await database?.drop();
  });

  test(`each that was acknowledged stands in the log once, and every run ends in its right state (seed ${FIRST_SEED})`, async () => {
    const repository = makeRepository(home.root, { "agent.mjs": AGENT });
    const done: Acknowledged[] = [];
    const ids: string[] = [];
    for (let n = 0; n < RUNS; n += 1) {
      const plan = n % 2 === 0;
      const created = await server.client.runs.create({
        task: n % 3 === 0 ? "Work" : "Work [ask]",
        repositoryUrl: repository,
        agent: { command: ["node", "agent.mjs"] },
        permissionPolicy: { ask: ["execute"] },
        plan,
        settings: { sandboxDriver: n % 4 === 3 ? "process" : "bwrap", agentWait: n % 5 === 0 ? 600_000 : 1_000 },
      });
      ids.push(created.id);
    }

    let kills = 0;
    let calm = false;
    const killing = (async () => {
      for (; kills < KILLS; kills += 1) {
        await sleep(300 + random() * 2_500);
        killOne(shimsOf(path.join(home.root, "home", "runs")));
        if (kills % 2 === 1) continue;
        await server.kill();
        server = await home.up("--max-runs", "3");
      }
      calm = true;
    })();
    const people = ids.map((id) => decideUntilEnded(id, { done, isCalm: () => calm }));
    await Promise.all([killing, ...people]);

    for (const id of ids) {
      const [log, run] = [await readLog(server.client, id), await server.client.runs.get(id)];
      check({ log, run, done: done.filter((one) => one.runId === id), isWanted: !unwanted.has(id) });
    }
    const admin = new pg.Client({ connectionString: database.connectionString });
    await admin.connect();
    const { rows: slots } = await admin.query("select active, queued from runyard.org_slots");
    const { rows: open } = await admin.query("select count(*)::int as open from runyard.requests where closed_at is null");
    await admin.end();
    expect(slots).toEqual([{ active: 0, queued: 0 }]);
    expect(open).toEqual([{ open: 0 }]);
    expect(kills).toBe(KILLS);
    expect([...losses.keys()]).not.toContain("");
  }, 900_000);

  /** How often each run has lost a process: what loses four fails, and rightly so. */
  const losses = new Map<string, number>();

  /** kill -9 of one of these processes; none may be there, and one may have ended meanwhile. */
  function killOne(pids: readonly number[]): void {
    const mayDie = pids.filter((pid) => (losses.get(runOf(pid)) ?? 0) < 3);
    const pid = mayDie[Math.floor(random() * mayDie.length)];
    const identity = pid === undefined ? null : identifyProcess(pid);
    if (pid === undefined || identity === null) return;
    losses.set(runOf(pid), (losses.get(runOf(pid)) ?? 0) + 1);
    signalProcess(identity, "SIGKILL");
  }

  /** Two people who look at a run again and again, and do what it waits for at the same time. */
  async function decideUntilEnded(id: string, options: { done: Acknowledged[]; isCalm: () => boolean }): Promise<void> {
    let followUps = random() < 0.4 ? 1 : 0;
    for (;;) {
      await sleep(20 + random() * 200);
      const run = await server.client.runs.get(id).catch(ignoreGone);
      if (run === undefined) continue;
      if (run.finishedAt !== null && followUps === 0) return;
      await Promise.all([decide(run, options.done), decide(run, options.done)]);
      if (run.finishedAt !== null) followUps -= 1;
      else if (!options.isCalm() && random() < 0.01) await cancel(run, options.done);
    }
  }

  async function decide(run: Run, done: Acknowledged[]): Promise<void> {
    const { runs } = server.client;
    const note = (what: Acknowledged["what"], key: string) => (): void => void done.push({ runId: run.id, what, key });
    const version = run.plan?.version ?? 0;
    const [first] = run.waitingFor;
    const chance = random();
    if (run.finishedAt !== null) await runs.continue(run.id, "Again").then(note("continued", String(run.turn + 1)), ignoreRefused);
    else if (run.status === "awaiting_plan" && chance < 0.5)
      await runs.confirmPlan(run.id, { version }).then(note("approved", String(version)), ignoreRefused);
    else if (run.status === "awaiting_plan" && chance < 0.85)
      await runs.revisePlan(run.id, { version, feedback: "Again" }).then(note("revised", String(version)), ignoreRefused);
    else if (run.status === "awaiting_plan" && unwanted.add(run.id))
      await runs.rejectPlan(run.id, { version }).then(note("rejected", String(version)), ignoreRefused);
    else if (first !== undefined && chance < 0.7)
      await runs.answerPermission(run.id, first.id, chance < 0.5 ? "allow" : "deny").then(note("answered", first.id), ignoreRefused);
  }

  async function cancel(run: Run, done: Acknowledged[]): Promise<void> {
    const { id: runId } = run;
    unwanted.add(runId);
    await server.client.runs.cancel(runId).then(() => void done.push({ runId, what: "cancelled", key: "" }), ignoreRefused);
  }
});

interface Outcome {
  readonly log: readonly RunEvent[];
  readonly run: Run;
  readonly done: readonly Acknowledged[];
  readonly isWanted: boolean;
}

/** The processes that watch over steps and agents of runs; those below them only carry bytes. */
function shimsOf(runsDir: string): number[] {
  const shims = processesWith("shim.sh").filter((pid) => readProc(pid, "cmdline").includes(runsDir));
  return shims.filter((pid) => !shims.includes(parentOf(pid)));
}

/** The run whose directory a shim works for. */
function runOf(pid: number): string {
  return /run_[0-9a-z]{26}/.exec(readProc(pid, "cmdline"))?.[0] ?? "";
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readProc(pid, "status"))?.[1]);
}

/** Somebody was faster, or the server died before it answered. */
function ignoreRefused(error: unknown): void {
  if (error instanceof RunyardConnectionError || (error instanceof RunyardApiError && [404, 409, 422, 503].includes(error.status))) return;
  throw error;
}

function ignoreGone(error: unknown): undefined {
  ignoreRefused(error);
}

function check({ log, run, done, isWanted }: Outcome): void {
  const story = JSON.stringify({
    run: run.id,
    status: run.status,
    error: run.error,
    done,
    types: log.map((event) => event.type).join(" "),
  });
  expect(
    log.map((event) => event.seq),
    story,
  ).toEqual(log.map((_, at) => at + 1));
  for (let turn = 1; turn <= run.turn; turn += 1) {
    const ends = log.filter((event) => event.turn === turn && isTerminalEventType(event.type));
    expect(ends, story).toHaveLength(1);
  }
  expect(isTerminalEventType(log.at(-1)?.type ?? ""), story).toBe(true);
  expect(run.error, story).toBeNull();
  const told = (what: Acknowledged["what"], key: string): number =>
    log.filter((event) => {
      if (event.type === "plan.approved" || event.type === "plan.revised" || event.type === "plan.rejected")
        return event.type === `plan.${what}` && String(event.data.version) === key;
      if (event.type === "permission.resolved") return what === "answered" && event.data.permissionId === key && event.data.by === "person";
      if (event.type === "run.cancelled") return what === "cancelled";
      if (event.type === "turn.started") return what === "continued" && String(event.turn) === key;
      return false;
    }).length;
  for (const { what, key } of done) {
    const times = told(what, key);
    // A cancel that comes while the run ends may find that it has ended.
    if (what === "cancelled") continue;
    // A turn that was cancelled while it was queued was never started.
    if (what === "continued" && times === 0)
      expect(
        log.some((event) => String(event.turn) === key && event.type === "run.cancelled"),
        story,
      ).toBe(true);
    else expect(times, `${what} ${key}: ${story}`).toBe(1);
  }
  const decided = log.flatMap((event) =>
    event.type === "plan.approved" || event.type === "plan.rejected" ? [String(event.data.version)] : [],
  );
  expect(new Set(decided).size, story).toBe(decided.length);
  // An answer may come while its attempt is being ended, for want of the agent: then both stand there, first what was answered.
  const resolved = log.flatMap((event) =>
    event.type === "permission.resolved" && event.data.decision !== "cancelled" ? [event.data.permissionId] : [],
  );
  expect(new Set(resolved).size, story).toBe(resolved.length);
  if (isWanted) expect(run.status, story).toBe("completed");
}
