// The one write of a runner (fenced, with its events) beside the bare insert of the same events into the same PostgreSQL.
import pg from "pg";
import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "../packages/runyard/src/store/database.ts";
import type { RunRow } from "../packages/runyard/src/store/run-row.ts";
import { claimRun, commitStep, insertRun } from "../packages/runyard/src/store/runs.ts";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, withHome } from "./lib/home.ts";
import { digits, micros, perSecond, ratioAtLeast, type Row } from "./lib/report.ts";
import { interleave, medianOf } from "./lib/stats.ts";
import { newRun } from "./lib/stored-runs.ts";

/** Runs that commit at once, and events in each commit. */
const SHAPES = [
  { runs: 1, events: 1 },
  { runs: 10, events: 1 },
  { runs: 10, events: 50 },
] as const;
const FOR_MS = 1_000;
const OWNER = "bench";

interface Committed {
  readonly perSecond: number;
  /** Processor microseconds of the process that commits, for one commit. */
  readonly cpu: number;
}

type Commit = (run: number) => Promise<void>;

export async function benchStore(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    // A server makes the tables; it must be gone before a bench plays the runner.
    await (await home.up()).kill();
    const { db, admin, connectionString } = await home.database();
    await admin.query(`create schema bench;
      create table bench.events (run_id text, seq int, org_id text not null, turn int not null, attempt int not null,
        at timestamptz not null default clock_timestamp(), type text not null, data json not null, primary key (run_id, seq))`);
    await admin.query("update runyard.org_slots set max_active = 1000");
    const pool = new pg.Pool({ connectionString, max: 10 });
    const rows: Row[] = [];
    for (const { runs, events } of SHAPES) {
      const some = Array.from({ length: events }, delta);
      const fenced = await fencedCommits({ db, home, runs, events: some });
      const bare = bareInserts(pool, some);
      const forMs = context.count(FOR_MS);
      const measured = await interleave(context.rounds, {
        runyard: () => commitFor(forMs, runs, fenced),
        floor: () => commitFor(forMs, runs, bare),
      });
      rows.push(rowOf({ runs, events }, middle(measured.runyard), middle(measured.floor)));
    }
    await pool.end();
    return rows;
  });
}

function delta(): NewEvent {
  const text = "What an agent says in a piece of its message, long enough for an event of some two hundred bytes.";
  return { type: "message.delta", data: { messageId: "m1", kind: "text", text } };
}

/** Claimed runs; each commit of one moves its cursor on, as reading an agent does. */
async function fencedCommits(options: { db: Database; home: BenchHome; runs: number; events: readonly NewEvent[] }): Promise<Commit> {
  const { db, home, runs, events } = options;
  const claimed: RunRow[] = [];
  for (let i = 0; i < runs; i++) {
    await insertRun(db, newRun({ repository: home.repository, status: "pending", events: [] }));
    const row = await claimRun(db, { owner: OWNER, runnerId: "runner_bench", events: [] });
    if (row === undefined) throw new Error("A queued run could not be claimed");
    claimed.push(row);
  }
  return async (index) => {
    const run = claimed[index];
    const next = run && (await commitStep(db, { run, outTo: run.out_cursor + 100, events }));
    if (next === undefined) throw new Error("A commit was fenced");
    claimed[index] = next;
  };
}

let places = 0;

function bareInserts(pool: pg.Pool, events: readonly NewEvent[]): Commit {
  const [types, data] = [events.map((event) => event.type), events.map((event) => JSON.stringify(event.data))];
  const text = `insert into bench.events (run_id, seq, org_id, turn, attempt, type, data)
    select $1, $2 + o, 'org_home', 1, 1, t, d::json from unnest($3::text[], $4::text[]) with ordinality e(t, d, o)`;
  return async (index) => {
    places += events.length;
    await pool.query({ name: "append", text, values: [`run_${index}`, places, types, data] });
  };
}

async function commitFor(forMs: number, runs: number, commit: Commit): Promise<Committed> {
  let commits = 0;
  const cpuBefore = process.cpuUsage();
  const begunAt = performance.now();
  const one = async (_: unknown, index: number): Promise<void> => {
    while (performance.now() - begunAt < forMs) {
      await commit(index);
      commits += 1;
    }
  };
  await Promise.all(Array.from({ length: runs }, () => null).map(one));
  const elapsed = performance.now() - begunAt;
  const cpu = process.cpuUsage(cpuBefore);
  return { perSecond: (commits * 1000) / elapsed, cpu: (cpu.user + cpu.system) / commits };
}

function middle(all: readonly Committed[]): Committed {
  return { perSecond: medianOf(all, (one) => one.perSecond), cpu: medianOf(all, (one) => one.cpu) };
}

function rowOf({ runs, events }: { runs: number; events: number }, candidate: Committed, floor: Committed): Row {
  const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;
  const item = `fenced commits, ${plural(runs, "run")} at once, ${plural(events, "event")} each`;
  if (runs === 1) {
    const cell = (one: Committed): string => `${micros(1e6 / one.perSecond)} each (${digits(one.cpu)} µs CPU)`;
    const ratio = floor.perSecond / candidate.perSecond;
    return { bench: "store", item, candidate: cell(candidate), floor: cell(floor), ratio, target: null };
  }
  const cell = (one: Committed): string => `${perSecond(one.perSecond * events, "events")} (${digits(one.cpu)} µs CPU per commit)`;
  const ratio = candidate.perSecond / floor.perSecond;
  // Pieces of messages come joined: many events in one commit is what durable ingest is.
  const target = events > 1 ? ratioAtLeast(0.6, ratio) : null;
  return { bench: "store", item, candidate: cell(candidate), floor: cell(floor), ratio, target };
}
