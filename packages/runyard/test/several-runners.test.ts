// Several servers on one database, each with its own home: a runner that is killed or stopped loses its runs to
// another one, and those who serve see and control what others execute.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { readProc } from "../src/sandbox/testing/processes.ts";
import { BEATING_AGENT, beatingAgentOf } from "../src/testing/beating-agent.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const LEASE_MS = 3_000;

/** Kills and stops of runners, by turns, in the long test. */
const BLOWS = 12;

describe("several servers on one database", () => {
  let database: TestDatabase;
  let repository: string;
  let api: TestHome;
  let served: TestServer;
  /** The two runners, by the home's name in the database. */
  const runners = new Map<string, { readonly home: TestHome; server: TestServer }>();
  let serial = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      DATABASE_URL: database.connectionString,
      RUNYARD_TEST_LEASE_MS: String(LEASE_MS),
      // Whoever is not woken sees nothing for longer than any test takes.
      RUNYARD_TEST_POLL_MS: "600000",
    };
    api = makeTestHome(env);
    repository = makeRepository(api.root, { "agent.mjs": BEATING_AGENT });
    served = await api.up("--role", "api", "--unsafe-process");
    const { id } = await create("a run that nobody takes up");
    expect(await served.client.runs.get(id)).toMatchObject({ status: "pending", queuePosition: 1 });
    expect(await served.client.status()).toMatchObject({ role: "api", runners: [] });
    await served.client.runs.cancel(id);

    const start = async (role: string): Promise<void> => {
      const home = makeTestHome(env);
      const server = await home.up("--role", role, "--unsafe-process");
      runners.set(readFileSync(path.join(home.root, "home", "runner-id"), "utf8").trim(), { home, server });
    };
    await Promise.all([start("runner"), start("all")]);
  }, 60_000);
  afterAll(async () => {
    await Promise.all([api, ...[...runners.values()].map(({ home }) => home)].map((home) => home.close()));
    await database.drop();
  }, 60_000);

  interface Beating {
    readonly id: string;
    readonly agentPid: number;
    /** Its runner, and the other one, if there is one. */
    readonly runner: string;
    readonly other: string;
    go(): void;
  }

  const create = (goFile: string): Promise<Run> =>
    served.client.runs.create({ task: "Beat", repositoryUrl: repository, agent: { command: ["node", "agent.mjs", goFile] } });

  /** A run whose agent is at work, created and followed at the API's server. */
  async function startBeating(): Promise<Beating> {
    const goFile = path.join(api.root, `go-${(serial += 1)}`);
    const { id } = await create(goFile);
    const agentPid = await beatingAgentOf(served.client, id, 1);
    const found = (await served.client.status()).runners;
    const runner = found.find(({ runs }) => runs === 1)?.id ?? never();
    const other = found.find(({ id: one }) => one !== runner)?.id ?? "";
    return { id, agentPid, runner, other, go: () => writeFileSync(goFile, "") };
  }

  const runnerAt = (id: string): { readonly home: TestHome; server: TestServer } => runners.get(id) ?? never();
  const states = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await served.client.status()).runners.map(({ id, state }) => [id, state]));

  test("a run goes on elsewhere when its runner is stopped, and when it is killed; neither leaves anything", async () => {
    const { id, agentPid: first, runner, other, go } = await startBeating();
    const stopped = runnerAt(runner).server;
    process.kill(stopped.pid, "SIGSTOP");
    let second: number;
    try {
      second = await beatingAgentOf(served.client, id, 2);
      expect(await states()).toEqual({ [runner]: "lost", [other]: "alive" });
      expect(isAlive(first)).toBe(true);
    } finally {
      process.kill(stopped.pid, "SIGCONT");
    }
    await until("the end of the first agent", () => !isAlive(first));
    await until("a runner that is back", async () => (await states())[runner] === "alive");

    await runnerAt(other).server.kill();
    const third = await beatingAgentOf(served.client, id, 3);
    go();
    const lostWith = (name: string): object => ({ type: "lost", message: expect.stringContaining(name) as string });
    expect(await served.client.runs.waitForEnd(id)).toMatchObject({
      status: "completed",
      attempt: 3,
      error: null,
      failedAttempts: [
        { attempt: 1, error: lostWith(runner) },
        { attempt: 2, error: lostWith(other) },
      ],
    });
    const log = await readLog(served.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    // Nothing of an attempt stands behind its end, and the run and its turn began once.
    expect(log.map((event) => event.attempt)).toEqual(log.map((event) => event.attempt).toSorted((a, b) => a - b));
    for (const type of ["run.started", "turn.started", "run.completed"]) expect(log.filter((event) => event.type === type)).toHaveLength(1);
    expect(log.filter((event) => event.type === "run.retrying").map((event) => [event.attempt, event.data.attempt])).toEqual([
      [1, 2],
      [2, 3],
    ]);
    const notices = log.filter((event) => event.type === "notice");
    expect(notices.map((event) => [event.attempt, event.data.code])).toEqual([
      [2, "workspace-renewed"],
      [3, "workspace-renewed"],
    ]);
    expect(gitIn(repository, "show", `runyard/${id}:result.txt`)).toBe("done");
    expect([first, third].map(isAlive)).toEqual([false, false]);

    // Nobody has ended the agent of the one that was killed: a server that is started there again does.
    expect(isAlive(second)).toBe(true);
    runnerAt(other).server = await runnerAt(other).home.up("--role", "runner", "--unsafe-process");
    await until("the end of the second agent", () => !isAlive(second));

    // What a runner made is in its own cache; here it comes from the branch.
    expect((await served.client.runs.files(id)).data.map((file) => file.path)).toEqual(["result.txt"]);
    expect(Buffer.from(await served.client.runs.file(id, "result.txt")).toString()).toBe("done");
  }, 60_000);

  test("`down` ends what is its own, and a wish to cancel reaches the runner that nobody asked", async () => {
    const mine = await startBeating();
    const down = await runnerAt(mine.other).home.cli(["down", "--json"]);
    expect(JSON.parse(down.stdout)).toMatchObject({ cancelledRuns: 0, killedRuns: 0 });
    expect(await served.client.runs.get(mine.id)).toMatchObject({ status: "running", attempt: 1, cancelRequested: false });
    // Who leaves with nothing in hand is not missed.
    expect(await states()).toEqual({ [mine.runner]: "alive" });
    const status = await api.cli(["status"]);
    expect(status.stdout).toContain(`${mine.runner} alive, 1 run, seen`);

    await served.client.runs.cancel(mine.id);
    expect(await served.client.runs.waitForEnd(mine.id)).toMatchObject({ status: "cancelled", attempt: 1 });
    expect(isAlive(mine.agentPid)).toBe(false);
  }, 60_000);

  test.skipIf(!full)(
    full
      ? "a turn whose last commit was never published begins elsewhere where the run began"
      : "a commit that was never published (npm run test:full)",
    async () => {
      const mine = await startBeating();
      gitIn(repository, "branch", `runyard/${mine.id}`);
      mine.go();
      expect(await served.client.runs.waitForEnd(mine.id)).toMatchObject({
        status: "completed",
        attempt: 1,
        result: { headBranch: null, branchProblem: { code: "branch-in-the-way" } },
      });
      gitIn(repository, "branch", "-D", `runyard/${mine.id}`);
      await runnerAt(mine.runner).home.cli(["down"]);
      const another = [...runners].find(([name]) => name !== mine.runner)?.[1] ?? never();
      another.server = await another.home.up("--unsafe-process");
      await served.client.runs.continue(mine.id, "Once more");
      expect(await served.client.runs.waitForEnd(mine.id)).toMatchObject({ status: "completed", turn: 2, attempt: 2 });
      const notices = (await readLog(served.client, mine.id)).filter((event) => event.type === "notice" && event.turn === 2);
      const codes = notices.map((event) => (event.type === "notice" ? event.data.code : ""));
      expect(codes).toEqual(expect.arrayContaining(["workspace-renewed", "commit-lost"]));
      expect(gitIn(repository, "show", `runyard/${mine.id}:result.txt`)).toBe("done");
      // The one that is left for the test behind this one has nothing in hand.
      expect(Object.values(await states())).toEqual(["alive"]);
    },
    60_000,
  );

  test.skipIf(!full)(
    full ? "the only runner may be away for long, and goes on with its agents" : "the only runner may be away (npm run test:full)",
    async () => {
      const mine = await startBeating();
      await runnerAt(mine.runner).server.kill();
      await until("a lost runner", async () => (await states())[mine.runner] === "lost");
      await sleep(2 * LEASE_MS);
      runnerAt(mine.runner).server = await runnerAt(mine.runner).home.up("--unsafe-process");
      mine.go();
      expect(await served.client.runs.waitForEnd(mine.id)).toMatchObject({ status: "completed", attempt: 1, failedAttempts: [] });
    },
    60_000,
  );

  test.skipIf(!full)(
    full ? `${BLOWS} kills and stops at any moment lose no run, and leave no process` : "kills at any moment (npm run test:full)",
    async () => {
      for (const runner of runners.values())
        if (!isAlive(runner.server.pid)) runner.server = await runner.home.up("--role", "runner", "--unsafe-process");
      const goFile = path.join(api.root, "go-all");
      writeFileSync(goFile, "");
      const ids: string[] = [];
      let enough = false;
      const creating = (async () => {
        // No more than the machine can do: what is queued at the end is waited for.
        for (; !enough; await sleep(250)) if ((await served.client.status()).runs.queued < 30) ids.push((await create(goFile)).id);
      })();
      const pair = [...runners.values()];
      for (let blow = 0; blow < BLOWS; blow += 1) {
        await sleep(Math.random() * 1_500);
        const runner = pair[blow % pair.length] ?? never();
        if (Math.random() < 0.5) {
          await runner.server.kill();
          await sleep(Math.random() * 2 * LEASE_MS);
          runner.server = await runner.home.up("--role", "runner", "--unsafe-process");
        } else {
          process.kill(runner.server.pid, "SIGSTOP");
          await sleep((0.5 + Math.random()) * 2 * LEASE_MS);
          process.kill(runner.server.pid, "SIGCONT");
        }
      }
      enough = true;
      await creating;

      const pids: number[] = [];
      const ends: Record<string, number> = {};
      let losses = 0;
      for (const id of ids) {
        const run = await served.client.runs.waitForEnd(id);
        const log = await readLog(served.client, id);
        expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
        expect(log.map((event) => event.attempt)).toEqual(log.map((event) => event.attempt).toSorted((a, b) => a - b));
        for (const type of ["run.started", "turn.started"]) expect(log.filter((event) => event.type === type)).toHaveLength(1);
        pids.push(...log.flatMap((event) => (event.type === "agent.started" ? (event.data.pid ?? []) : [])));
        losses += log.filter((event) => event.type === "run.retrying").length;
        const end = run.error?.type ?? run.status;
        ends[end] = (ends[end] ?? 0) + 1;
        // Given up are only those that were publishing, and those that lost too many runners.
        expect(["completed", "lost"]).toContain(end);
        if (end === "completed") expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(run.result?.headCommit);
      }
      // Other programs have got some of these numbers since.
      const left = (): number[] => pids.filter((pid) => pair.some(({ home }) => readProc(pid, "cmdline").includes(home.root)));
      await expect.poll(left).toEqual([]);
      expect((await served.client.status()).runs).toMatchObject({ running: 0, waiting: 0, queued: 0 });
      console.info(`${ids.length} runs under ${BLOWS} kills and stops: ${JSON.stringify(ends)}, ${losses} attempts lost on the way`);
    },
    300_000,
  );
});

function isAlive(pid: number): boolean {
  return identifyProcess(pid) !== null;
}

async function until(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  for (const giveUpAt = Date.now() + 50_000; !(await check()); await sleep(20))
    if (Date.now() > giveUpAt) throw new Error(`This did not come: ${what}`);
}

function never(): never {
  throw new Error("there is none");
}
