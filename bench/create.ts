// Durable creates over HTTP, of runs that stay queued, beside a bare server with one grouped insert.
import type pg from "pg";
import type { BenchContext } from "./lib/bench.ts";
import { withFloor } from "./lib/floor.ts";
import { withHome } from "./lib/home.ts";
import { askAgain, type Load } from "./lib/load.ts";
import { cpuMicros } from "./lib/process.ts";
import { digits, ms, perSecond, ratioAtLeast, ratioAtMost, type Row } from "./lib/report.ts";
import { trivialRun } from "./lib/runs.ts";
import { interleave, medianOf, quantile } from "./lib/stats.ts";

const CONNECTIONS = [1, 16, 64] as const;
const FOR_MS = 1_500;

interface Created {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Processor microseconds of the server process for one create; of the floor's likewise. */
  readonly cpu: number;
}

export async function benchCreate(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    const server = await home.up();
    const { admin, connectionString } = await home.database();
    // Every slot is taken, so that runs stay queued.
    await admin.query("update runyard.org_slots set active = max_active");
    await admin.query("update runyard.tokens set creates_per_minute = null");
    await makeFloorTables(admin);
    const body = JSON.stringify(trivialRun({ repository: home.repository, agent: "sh", driver: "bwrap" }));
    const request = { path: "/v1/agent-runs", body, forMs: context.count(FOR_MS) };
    const headers = { authorization: `Bearer ${server.token}`, "content-type": "application/json" };
    return withFloor({ kind: "create", databaseUrl: connectionString }, async (floor) => {
      const rows: Row[] = [];
      for (const connections of CONNECTIONS) {
        const measured = await interleave(context.rounds, {
          runyard: () => create(server.pid, { ...request, url: server.url, headers, connections }),
          floor: () => create(floor.pid, { ...request, url: floor.url, headers, connections }),
        });
        rows.push(...rowsOf(connections, middle(measured.runyard), middle(measured.floor)));
      }
      return rows;
    });
  });
}

async function create(pid: number, load: Load): Promise<Created> {
  const before = cpuMicros(pid);
  const { perSecond: rate, latencies } = await askAgain(load);
  const cpu = (cpuMicros(pid) - before) / latencies.length;
  return { perSecond: rate, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), cpu };
}

function middle(all: readonly Created[]): Created {
  const of = (what: keyof Created): number => medianOf(all, (one) => one[what]);
  return { perSecond: of("perSecond"), p50: of("p50"), p99: of("p99"), cpu: of("cpu") };
}

function rowsOf(connections: number, candidate: Created, floor: Created): Row[] {
  const name = `${connections} ${connections === 1 ? "connection" : "connections"}`;
  const cell = (one: Created): string => `${perSecond(one.perSecond, "creates")} (${digits(one.cpu)} µs CPU)`;
  const ratio = candidate.perSecond / floor.perSecond;
  const target = connections === 64 ? ratioAtLeast(0.5, ratio) : null;
  const rate: Row = { bench: "create", item: `creates, ${name}`, candidate: cell(candidate), floor: cell(floor), ratio, target };
  if (connections !== 1) return [rate];
  const latency = (what: "p50" | "p99", limit: number): Row => {
    const times = candidate[what] / floor[what];
    const [ours, theirs] = [ms(candidate[what]), ms(floor[what])];
    return {
      bench: "create",
      item: `answer, ${name}, ${what}`,
      candidate: ours,
      floor: theirs,
      ratio: times,
      target: ratioAtMost(limit, times),
    };
  };
  return [rate, latency("p50", 2), latency("p99", 3)];
}

/** What the floor stores: a run and its events, with the keys that any store of them has. */
async function makeFloorTables(admin: pg.Client): Promise<void> {
  await admin.query(`create schema bench;
    create table bench.runs (id text primary key, task text not null);
    create table bench.events (run_id text, seq int, type text not null, data json not null, primary key (run_id, seq))`);
}
