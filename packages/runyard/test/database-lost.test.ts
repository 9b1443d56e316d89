// The embedded database is killed, or has no disk left, under a server and a living run: the server brings
// it back, and the run goes on with the same agent and an exact log.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";
import { whyNoSmallDisk } from "../src/testing/small-disk.ts";

/** An agent that reports every 100 ms until the file `go` is in its workspace. */
const AGENT = `
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const say = (sessionId, text) => send({ method: "session/update", params: { sessionId, update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  let count = 0;
  const timer = setInterval(() => {
    say("s", \`beat \${(count += 1)}. \`);
    if (!existsSync("go")) return;
    clearInterval(timer);
    send({ id, result: { stopReason: "end_turn" } });
  }, 100);
}).on("close", () => process.exit(0));
`;

interface Beating {
  readonly server: TestServer;
  readonly id: string;
  readonly pid: number;
  /** Lets the agent finish. */
  go(): void;
}

/** A run whose agent is at work. */
async function startBeating(home: TestHome): Promise<Beating> {
  const server = await home.up("--unsafe-process");
  const repository = makeRepository(home.root, { "agent.mjs": AGENT });
  const { id } = await server.client.runs.create({ task: "Beat", repositoryUrl: repository, agent: { command: ["node", "agent.mjs"] } });
  let pid = 0;
  for await (const event of server.client.runs.events(id)) {
    const { type, data } = event as RunEvent;
    if (type === "agent.started") pid = data.pid ?? 0;
    if (type === "message.delta") break;
  }
  const go = (): void => writeFileSync(path.join(home.root, "home", "runs", id, "1", "workspace", "go"), "");
  return { server, id, pid, go };
}

async function expectWholeRun({ server, id, pid, go }: Beating): Promise<void> {
  expect(isAlive(pid)).toBe(true);
  go();
  const run = await server.client.runs.waitForEnd(id);
  expect(run).toMatchObject({ status: "completed", attempt: 1, error: null });
  const log = await readLog(server.client, id);
  expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
  const text = log.flatMap((event) => (event.type === "message.completed" ? [event.data.text] : [])).join("");
  const beats = [...text.matchAll(/beat (\d+)\. /g)].map((match) => Number(match[1]));
  expect(beats).toEqual(beats.map((_, i) => i + 1));
  expect(beats.length).toBeGreaterThan(1);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function readyz(server: TestServer): Promise<number> {
  return (await fetch(new URL("/readyz", server.url))).status;
}

async function until(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  for (const giveUpAt = Date.now() + 60_000; !(await check()); await sleep(50))
    if (Date.now() > giveUpAt) throw new Error(`This did not come: ${what}`);
}

/** Null while there is none: between the end of one and the beginning of the next. */
function postmasterPid(home: TestHome): number | null {
  const file = path.join(home.root, "home", "postgres", "data", "postmaster.pid");
  try {
    return Number(readFileSync(file, "utf8").split("\n")[0]) || null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

describe("the embedded database", () => {
  let home: TestHome;
  beforeAll(() => {
    home = makeTestHome();
  });
  afterAll(() => home.close());

  test("is brought back when it is killed, and a living run goes on", async () => {
    const beating = await startBeating(home);
    for (let kills = 0; kills < 2; kills += 1) {
      const before = postmasterPid(home);
      if (before === null) throw new Error("there is no PostgreSQL that could be killed");
      process.kill(before, "SIGKILL");
      await until("another PostgreSQL", () => ![before, null].includes(postmasterPid(home)));
      await until("a server that is ready", async () => (await readyz(beating.server)) === 200);
    }
    await expectWholeRun(beating);
  }, 120_000);

  test("that comes back finds the one server that holds the lock", async () => {
    const refused = await home.cli(["up", "--port", "0"]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("already running") as string });
  });
});

const mountProblem = whyNoSmallDisk();

describe.skipIf(mountProblem !== null)(mountProblem === null ? "a full disk" : `a full disk: ${mountProblem}`, () => {
  test("of the database: nothing is acknowledged that is not kept, and all goes on once there is room", async () => {
    const home = makeTestHome();
    const disk = path.join(home.root, "home", "postgres");
    mkdirSync(disk, { recursive: true, mode: 0o700 });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=200m,mode=700", "tmpfs", disk]);
    try {
      const beating = await startBeating(home);
      const { server } = beating;
      const ballast = path.join(disk, "ballast");
      fill(disk, ballast);
      const task = "x".repeat(200_000);
      const made: string[] = [];
      const refusals: number[] = [];
      const client = server.client;
      // Until the disk is really full there may be room inside PostgreSQL's files.
      for (let tries = 0; tries < 200 && refusals.length < 3; tries += 1) {
        const response = await fetch(new URL("/v1/agent-runs", server.url), {
          method: "POST",
          headers: { authorization: `Bearer ${server.token}`, "content-type": "application/json" },
          body: JSON.stringify({
            task: `${task}${tries}`,
            repositoryUrl: path.join(home.root, "repository"),
            agent: { command: ["true"] },
          }),
        });
        const body = (await response.json()) as { id?: string; code?: string };
        if (response.status === 201 && body.id !== undefined) made.push(body.id);
        else {
          expect(body).toMatchObject({ code: "unavailable" });
          refusals.push(response.status);
        }
      }
      expect(refusals).toEqual([503, 503, 503]);
      expect(await (await fetch(new URL("/readyz", server.url))).json()).toMatchObject({
        status: 503,
        checks: expect.arrayContaining([
          { name: "disk", state: "failed", reason: expect.stringMatching(/^The disk of the home is full: \d+ MB are left\.$/) as string },
        ]) as unknown[],
      });
      expect(isAlive(beating.pid)).toBe(true);
      rmSync(ballast);
      await until("a server that is ready", async () => (await readyz(server)) === 200);
      for (const id of made) expect((await client.runs.waitForEnd(id)).status).toBe("failed");
      await expectWholeRun(beating);
      const tasks = new Set<string>();
      for await (const run of client.runs.list({ limit: 100 })) tasks.add(run.id);
      expect(tasks.size).toBe(made.length + 1);
    } finally {
      await home.cli(["down"]);
      execFileSync("umount", [disk]);
      await home.close();
    }
  }, 180_000);
});

/** Leaves no room on a disk. */
function fill(disk: string, file: string): void {
  const { bavail, bsize } = statfsSync(disk);
  try {
    writeFileSync(file, Buffer.alloc(bavail * bsize));
    for (let i = 0; i < 1_000; i += 1) writeFileSync(file, Buffer.alloc(bsize), { flag: "a" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}
