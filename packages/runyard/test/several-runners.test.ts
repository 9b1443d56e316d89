// Several servers on one database, each with its own home: a runner that is killed or stopped loses its runs to
// another one, and those who serve see and control what others execute.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const LEASE_MS = 1_000;
/** What the issue of lost runners allows beside the lease. */
const PATIENCE_MS = 5_000;

/** An agent that says a beat every 50 ms until the file that it is told of is there; then it leaves a file of its own. */
const AGENT = `
import { existsSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  const timer = setInterval(() => {
    say("beat ");
    if (!existsSync(process.argv[2])) return;
    clearInterval(timer);
    writeFileSync("result.txt", "done");
    send({ id, result: { stopReason: "end_turn" } });
  }, 50);
}).on("close", () => process.exit(0));
`;

describe("several servers on one database", () => {
  let database: TestDatabase;
  let repository: string;
  const homes: TestHome[] = [];
  const [api, one, two] = [0, 1, 2] as const;
  const home = (index: number): TestHome => homes[index] ?? never();
  let served: TestServer;
  let serial = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      DATABASE_URL: database.connectionString,
      RUNYARD_TEST_LEASE_MS: String(LEASE_MS),
      // Whoever is not woken sees nothing for longer than any test takes.
      RUNYARD_TEST_POLL_MS: "600000",
    };
    homes.push(makeTestHome(env), makeTestHome(env), makeTestHome(env));
    repository = makeRepository(home(api).root, { "agent.mjs": AGENT });
    served = await home(api).up("--role", "api", "--unsafe-process");
  }, 60_000);
  afterAll(async () => {
    await Promise.all(homes.map((each) => each.close()));
    await database.drop();
  }, 60_000);

  interface Beating {
    readonly id: string;
    readonly agentPid: number;
    go(): void;
  }

  /** A run whose agent is at work, created and followed at the API's server. */
  async function startBeating(): Promise<Beating> {
    const goFile = path.join(home(api).root, `go-${(serial += 1)}`);
    const { id } = await served.client.runs.create({
      task: "Beat",
      repositoryUrl: repository,
      agent: { command: ["node", "agent.mjs", goFile] },
    });
    const agentPid = await agentOf(id, 1);
    return { id, agentPid, go: () => writeFileSync(goFile, "") };
  }

  /** The process of a run's agent in an attempt, once it has said something. */
  async function agentOf(runId: string, attempt: number): Promise<number> {
    let pid = 0;
    for await (const event of served.client.runs.events(runId)) {
      const { type, data, attempt: of } = event as RunEvent;
      if (of !== attempt) continue;
      if (type === "agent.started") pid = data.pid ?? 0;
      if (type === "message.delta") return pid;
    }
    throw new Error(`attempt ${attempt} of ${runId} said nothing`);
  }

  function expectWhole(log: readonly RunEvent[]): void {
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    for (const type of ["run.started", "turn.started", "run.completed"]) expect(log.filter((event) => event.type === type)).toHaveLength(1);
    expect(log.map((event) => event.attempt)).toEqual(log.map((event) => event.attempt).toSorted((a, b) => a - b));
  }

  test("a run waits for a runner; of one that is killed, another one has it, and the first leaves nothing", async () => {
    const waiting = served.client.runs.create({ task: "Wait", repositoryUrl: repository, agent: { command: ["true"] } });
    const { id: queued } = await waiting;
    expect(await served.client.runs.get(queued)).toMatchObject({ status: "pending", queuePosition: 1 });
    expect(await served.client.status()).toMatchObject({ role: "api", runners: [] });
    await served.client.runs.cancel(queued);

    const first = await home(one).up("--role", "runner", "--unsafe-process");
    const beating = await startBeating();
    const [runner] = (await served.client.status()).runners;
    expect(runner).toMatchObject({ state: "alive", runs: 1 });
    await home(two).up("--unsafe-process");
    await first.kill();
    const killedAtMs = Date.now();
    const agent = await agentOf(beating.id, 2);
    expect(Date.now() - killedAtMs).toBeLessThan(LEASE_MS + PATIENCE_MS);
    beating.go();
    const run = await served.client.runs.waitForEnd(beating.id);
    const lost = { type: "lost", message: expect.stringContaining(runner?.id ?? "?") as string };
    expect(run).toMatchObject({ status: "completed", attempt: 2, error: null, failedAttempts: [{ attempt: 1, error: lost }] });
    const log = await readLog(served.client, beating.id);
    expectWhole(log);
    expect(log.find((event) => event.type === "run.retrying")).toMatchObject({ attempt: 1, data: { attempt: 2, error: lost, delayMs: 0 } });
    expect(log.find((event) => event.type === "notice")).toMatchObject({ attempt: 2, data: { code: "workspace-renewed" } });
    expect(gitIn(repository, "show", `runyard/${beating.id}:result.txt`)).toBe("done");
    expect(isAlive(agent)).toBe(false);

    const { runners } = await served.client.status();
    expect(runners.map((found) => found.state).toSorted()).toEqual(["alive", "lost"]);
    // Nobody ended the first one's agent yet: its home does when somebody works for it again.
    expect(isAlive(beating.agentPid)).toBe(true);
    const again = await home(one).up("--role", "runner", "--unsafe-process");
    await until("a dead agent", () => !isAlive(beating.agentPid));
    await again.kill();
  }, 60_000);

  test("one that is stopped past its lease writes nothing when it goes on, and its agents are dead", async () => {
    const stopped = await home(one).up("--role", "runner", "--unsafe-process");
    // Only the stopped one may take this one up.
    await home(two).cli(["down"]);
    const beating = await startBeating();
    await home(two).up("--unsafe-process");
    process.kill(stopped.pid, "SIGSTOP");
    try {
      await agentOf(beating.id, 2);
      expect(isAlive(beating.agentPid)).toBe(true);
    } finally {
      process.kill(stopped.pid, "SIGCONT");
    }
    await until("a dead agent", () => !isAlive(beating.agentPid));
    beating.go();
    expect(await served.client.runs.waitForEnd(beating.id)).toMatchObject({ status: "completed", attempt: 2 });
    expectWhole(await readLog(served.client, beating.id));
    await until("a living runner", async () => (await served.client.status()).runners.every((runner) => runner.state === "alive"));
    await stopped.kill();
  }, 60_000);

  test("a restarted server goes on at once with what it had, and `down` ends what is its own", async () => {
    await until("a lost runner", async () => (await served.client.status()).runners.some((runner) => runner.state === "lost"));
    await home(two).cli(["down"]);
    const first = await home(one).up("--role", "runner", "--unsafe-process");
    const mine = await startBeating();
    await first.kill();
    const second = await home(one).up("--role", "runner", "--unsafe-process");
    expect(await second.client.runs.get(mine.id)).toMatchObject({ status: "running", attempt: 1 });
    await sleep(2 * LEASE_MS);
    expect(await second.client.runs.get(mine.id)).toMatchObject({ status: "running", attempt: 1 });
    expect(isAlive(mine.agentPid)).toBe(true);

    await home(two).up("--unsafe-process");
    const down = await home(two).cli(["down", "--json"]);
    expect(JSON.parse(down.stdout)).toMatchObject({ cancelledRuns: 0 });
    expect(await served.client.runs.get(mine.id)).toMatchObject({ status: "running", cancelRequested: false });

    // The wish is another process's: the run's runner looks for it in ten minutes, or is woken.
    const cancelledAtMs = Date.now();
    await served.client.runs.cancel(mine.id);
    expect(await served.client.runs.waitForEnd(mine.id)).toMatchObject({ status: "cancelled", attempt: 1 });
    expect(Date.now() - cancelledAtMs).toBeLessThan(10_000);
    expect(isAlive(mine.agentPid)).toBe(false);
  }, 60_000);

  test("what another home made can be read where it was published", async () => {
    const { data } = await served.client.runs.list({ status: "completed" });
    const id = data[0]?.id ?? never();
    expect((await served.client.runs.files(id)).data.map((file) => file.path)).toEqual(["result.txt"]);
    expect(Buffer.from(await served.client.runs.file(id, "result.txt")).toString()).toBe("done");
    expect((await served.client.runs.diff(id)).files).toHaveLength(1);
  });
});

function isAlive(pid: number): boolean {
  return identifyProcess(pid) !== null;
}

async function until(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  for (const giveUpAt = Date.now() + 15_000; !(await check()); await sleep(20))
    if (Date.now() > giveUpAt) throw new Error(`This did not come: ${what}`);
}

function never(): never {
  throw new Error("there is none");
}
