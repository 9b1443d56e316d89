// What a home costs that does nothing: memory of every process, and processor time over some seconds.
import { setTimeout as sleep } from "node:timers/promises";
import { dataDirOf } from "../packages/runyard/src/store/postgres/cluster.ts";
import { processesServing } from "../packages/runyard/src/store/postgres/process.ts";
import type { BenchContext } from "./lib/bench.ts";
import { withFloor } from "./lib/floor.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { cpuMicros, findProcesses, memoryOf, treeOf } from "./lib/process.ts";
import { digits, megabytes, ratioAtMost, type Row } from "./lib/report.ts";
import { createRun, openLog, trivialRun } from "./lib/runs.ts";

const SETTLE_MS = 3_000;

/** What a group of processes costs. */
interface Cost {
  readonly rss: number;
  readonly pss: number;
  /** Share of one core, in percent. */
  readonly cpu: number;
  readonly processes: number;
}

export async function benchIdle(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    const server = await home.up();
    const { connectionString } = await home.database();
    return withFloor({ kind: "hono", databaseUrl: connectionString }, async (floor) => {
      await (await fetch(`${floor.url}/readyz`)).text();
      const overMs = context.count(10_000);
      const idle = await observe(overMs, () => ({ server: [server.pid], floor: [floor.pid], ...hostProcesses(home) }));
      await waitingRun(home, server);
      const busy = await observe(overMs, () => ({ server: [server.pid], run: runProcesses(home) }));
      return [...judged(idle), ...parts(idle, busy)];
    });
  });
}

type Costs = Readonly<Record<string, Cost>>;
const NOTHING: Cost = { rss: 0, pss: 0, cpu: 0, processes: 0 };

/** The server process against the floor's. */
function judged(idle: Costs): Row[] {
  const { server = NOTHING, floor = NOTHING } = idle;
  const ratio = server.rss / floor.rss;
  const percent = (cost: Cost): string => `${digits(cost.cpu)} %`;
  return [
    {
      bench: "idle",
      item: "server process, resident; floor: hono + pg",
      candidate: megabytes(server.rss),
      floor: megabytes(floor.rss),
      ratio,
      target: ratioAtMost(1.5, ratio),
    },
    {
      bench: "idle",
      item: "server process, processor share of one core, no runs",
      candidate: percent(server),
      floor: percent(floor),
      ratio: null,
      target: { text: "≤ 0.5 %", met: server.cpu <= 0.5 },
    },
  ];
}

/** Everything else of the home, by proportional memory, which adds up. */
function parts(idle: Costs, busy: Costs): Row[] {
  const row = (item: string, cost: Cost = NOTHING): Row => ({
    bench: "idle",
    item: `${item}, ${cost.processes} ${cost.processes === 1 ? "process" : "processes"}`,
    candidate: `${megabytes(cost.pss)} PSS, ${megabytes(cost.rss)} RSS, ${digits(cost.cpu)} %`,
    floor: "",
    ratio: null,
    target: null,
  });
  return [
    row("server", idle["server"]),
    row("gateway", idle["gateway"]),
    row("PostgreSQL", idle["postgres"]),
    row("spawner", idle["spawner"]),
    row("server while one agent waits", busy["server"]),
    row("that run: shim, bwrap, agent in sh", busy["run"]),
  ];
}

function hostProcesses({ home }: BenchHome): Record<string, number[]> {
  return {
    gateway: findProcesses(home.runtimeDir, "gateway.mjs"),
    postgres: processesServing(dataDirOf(home)),
    spawner: findProcesses(home.spawnerDir, "spawner.sh"),
  };
}

/** The shim of the run and all that it started. */
function runProcesses({ home }: BenchHome): number[] {
  return [...new Set(findProcesses(home.runsDir, "shim.sh").flatMap(treeOf))];
}

async function observe(overMs: number, find: () => Readonly<Record<string, number[]>>): Promise<Costs> {
  await sleep(SETTLE_MS);
  const groups = Object.entries(find());
  const before = new Map(groups.flatMap(([, pids]) => pids.map((pid) => [pid, cpuMicros(pid)])));
  // What ended meanwhile (a connection that nobody used) counts as idle.
  const used = (pid: number): number => Math.max(0, cpuMicros(pid) - (before.get(pid) ?? 0));
  const begunAt = performance.now();
  await sleep(overMs);
  const elapsedMicros = (performance.now() - begunAt) * 1000;
  return Object.fromEntries(
    groups.map(([name, pids]) => {
      const memory = pids.map(memoryOf);
      const cost: Cost = {
        rss: memory.reduce((sum, one) => sum + one.rss, 0),
        pss: memory.reduce((sum, one) => sum + one.pss, 0),
        cpu: (pids.reduce((sum, pid) => sum + used(pid), 0) * 100) / elapsedMicros,
        processes: pids.length,
      };
      return [name, cost];
    }),
  );
}

/** Starts a run whose agent waits for ever, and returns when that agent has its task. */
async function waitingRun(home: BenchHome, server: BenchServer): Promise<void> {
  const { id } = await createRun(server, trivialRun({ repository: home.repository, agent: "sh", driver: "bwrap", task: "Please wait" }));
  const log = await openLog(server, id);
  for await (const data of log) if (String(data).includes('"agent.started"')) break;
  log.destroy();
}
