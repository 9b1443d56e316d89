// A hundred least runs, sixteen at a time, beside a hundred bare processes of the same program.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { SandboxDriverName } from "@runyard/sdk/contract";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { machineCpuMicros } from "./lib/process.ts";
import { digits, ms, ratioAtMost, type Row } from "./lib/report.ts";
import { agentArgv, type AgentKind, SESSION } from "./lib/repository.ts";
import { createRun, trivialRun } from "./lib/runs.ts";
import { interleave, medianOf } from "./lib/stats.ts";

const RUNS = 100;
const WIDTH = 16;
const POLL_MS = 10;
const WARMING_RUNS = 5;

interface Many {
  readonly makespan: number;
  /** Processor milliseconds of the whole machine. */
  readonly cpu: number;
}

export async function benchMany(context: BenchContext): Promise<Row[]> {
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-bench-session-"));
  const session = path.join(dir, "session.ndjson");
  writeFileSync(session, SESSION);
  try {
    return await withHome(context.program, (home) => measure(context, home, session));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measure(context: BenchContext, home: BenchHome, session: string): Promise<Row[]> {
  const server = await home.up();
  const { admin } = await home.database();
  await admin.query("update runyard.org_slots set max_active = $1", [WIDTH]);
  await admin.query("update runyard.tokens set creates_per_minute = null");
  const runs = context.count(RUNS);
  const viaRunyard = (agent: AgentKind, driver: SandboxDriverName) => () =>
    timed(() => manyRuns({ home, server, admin, runs, agent, driver }));
  await manyRuns({ home, server, admin, runs: WARMING_RUNS, agent: "sh", driver: "bwrap" });
  const xargs = (agent: AgentKind) => () => timed(() => manyByXargs({ argv: [...agentArgv(agent), session], runs }));
  const loop = (agent: AgentKind) => () => timed(() => manyBySpawn({ argv: [...agentArgv(agent), session], runs }));
  const measured = await interleave(
    context.rounds,
    {
      "runyard, sh, process": viaRunyard("sh", "process"),
      "runyard, node, bwrap": viaRunyard("node", "bwrap"),
      "xargs, sh": xargs("sh"),
      "xargs, node": xargs("node"),
      "loop, sh": loop("sh"),
      "loop, node": loop("node"),
    },
    true,
  );
  type Name = keyof typeof measured;
  const of = (name: Name): Many => ({
    makespan: medianOf(measured[name], (one) => one.makespan),
    cpu: medianOf(measured[name], (one) => one.cpu),
  });
  const row = (item: string, [ours, theirs]: [Name, Name], limit: number | null): Row => {
    const [candidate, floor] = [of(ours), of(theirs)];
    const cell = (one: Many): string => `${ms(one.makespan)} (${digits(one.cpu / runs)} ms CPU each)`;
    const ratio = candidate.makespan / floor.makespan;
    const target = limit === null ? null : ratioAtMost(limit, ratio);
    return { bench: "many", item: `${runs} runs, ${WIDTH} wide, ${item}`, candidate: cell(candidate), floor: cell(floor), ratio, target };
  };
  return [
    row("sh agent, process; floor: Node spawn loop", ["runyard, sh, process", "loop, sh"], 1.5),
    row("sh agent, process; floor: xargs", ["runyard, sh, process", "xargs, sh"], null),
    row("node agent, bwrap; floor: xargs", ["runyard, node, bwrap", "xargs, node"], 1.05),
    row("node agent, bwrap; floor: Node spawn loop", ["runyard, node, bwrap", "loop, node"], null),
  ];
}

async function timed(work: () => Promise<void>): Promise<Many> {
  const cpuBefore = machineCpuMicros();
  const begunAt = performance.now();
  await work();
  const makespan = performance.now() - begunAt;
  return { makespan, cpu: (machineCpuMicros() - cpuBefore) / 1000 };
}

/** Does something `count` times, `WIDTH` at a time. */
async function inParallel(count: number, work: () => Promise<unknown>): Promise<void> {
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: WIDTH }, one));
}

async function manyRuns(options: {
  readonly home: BenchHome;
  readonly server: BenchServer;
  readonly admin: pg.Client;
  readonly runs: number;
  readonly agent: AgentKind;
  readonly driver: SandboxDriverName;
}): Promise<void> {
  const { home, server, admin, runs, agent, driver } = options;
  const body = trivialRun({ repository: home.repository, agent, driver });
  const { rows: before } = await admin.query<{ num: string }>("select coalesce(max(num), 0) as num from runyard.runs");
  const since = before[0]?.num;
  await inParallel(runs, () => createRun(server, body));
  for (;;) {
    const { rows } = await admin.query<{ status: string; count: number }>(
      "select status, count(*)::int as count from runyard.runs where num > $1 group by status",
      [since],
    );
    const failed = rows.find((row) => row.status === "failed");
    if (failed !== undefined) throw new Error(`${failed.count} runs failed`);
    if (rows.find((row) => row.status === "completed")?.count === runs) return;
    await sleep(POLL_MS);
  }
}

async function manyByXargs({ argv, runs }: { argv: readonly string[]; runs: number }): Promise<void> {
  const child = spawn("xargs", [`-P${WIDTH}`, "-I_", ...argv], { stdio: ["pipe", "ignore", "inherit"] });
  child.stdin.end("one\n".repeat(runs));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`xargs ended with ${code}`);
}

async function manyBySpawn({ argv, runs }: { argv: readonly string[]; runs: number }): Promise<void> {
  const [file = "", ...words] = argv;
  await inParallel(runs, async () => {
    const child = spawn(file, words, { stdio: ["ignore", "pipe", "ignore"] });
    child.stdout.resume();
    await once(child, "close");
  });
}
