// The newest events of a long log, and pages of a long list of runs, beside a bare server with one statement.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type pg from "pg";
import { insertRun } from "../packages/runyard/src/store/runs.ts";
import type { BenchContext } from "./lib/bench.ts";
import { withFloor } from "./lib/floor.ts";
import { type BenchHome, type BenchServer, ORG, withHome } from "./lib/home.ts";
import { askAgain } from "./lib/load.ts";
import { cpuMicros } from "./lib/process.ts";
import { digits, ms, ratioAtMost, type Row } from "./lib/report.ts";
import { interleave, medianOf, quantile } from "./lib/stats.ts";
import { newRun } from "./lib/stored-runs.ts";

const LOGS = [100_000, 1_000_000] as const;
const RUNS = 100_000;
const RARE = 10;
const PAGE = 100;
const FOR_MS = 700;
const TEXT = "What an agent says in a piece of its message, long enough for an event of some two hundred bytes.";

/** A page that is asked for, and the statement that a floor answers the same with. */
interface Asked {
  readonly item: string;
  readonly path: string;
  readonly statement: string;
}

interface Page {
  readonly p50: number;
  readonly cpu: number;
}

export async function benchRead(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    const server = await home.up();
    const { admin } = await home.database();
    const rows: Row[] = [];
    const tails: Page[] = [];
    for (const full of LOGS) {
      const events = context.count(full);
      context.say(`read: storing ${events} events`);
      const id = await storeLog(home, events);
      const item = `last ${PAGE} of ${events} events`;
      const after = events - PAGE;
      const asked = { item, path: `/v1/agent-runs/${id}/events?after=${after}&limit=${PAGE}`, statement: tailOf(id, after) };
      const { candidate, row } = await compare(context, { home, server, asked });
      rows.push(row);
      tails.push(candidate);
    }
    rows.push(againstItself(tails));
    context.say(`read: storing ${context.count(RUNS)} runs`);
    const middle = await storeRuns(home, admin, context.count(RUNS));
    const cursor = Buffer.from(middle).toString("base64url");
    const lists: readonly [string, string, string][] = [
      ["first page", "", ""],
      ["a page in the middle", `&cursor=${cursor}`, `and num < ${middle}`],
      ["first page of completed ones", "&status=completed", "and status = 'completed'"],
      [`the ${RARE} that timed out`, "&status=timeout", "and status = 'timeout'"],
      ["those that wait: none", "&status=awaiting_input", "and status = 'awaiting_input'"],
    ];
    for (const [item, query, where] of lists) {
      const asked = {
        item: `list of ${context.count(RUNS)} runs, ${item}`,
        path: `/v1/agent-runs?limit=20${query}`,
        statement: listOf(where),
      };
      rows.push((await compare(context, { home, server, asked })).row);
    }
    return rows;
  });
}

async function compare(
  context: BenchContext,
  of: { readonly home: BenchHome; readonly server: BenchServer; readonly asked: Asked },
): Promise<{ candidate: Page; row: Row }> {
  const { home, server, asked } = of;
  const { connectionString } = await home.database();
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-bench-read-"));
  const file = path.join(dir, "statement.sql");
  writeFileSync(file, asked.statement);
  const forMs = context.count(FOR_MS);
  const headers = { authorization: `Bearer ${server.token}`, accept: "application/json" };
  try {
    const measured = await withFloor({ kind: "query", databaseUrl: connectionString, file }, (floor) =>
      interleave(context.rounds, {
        runyard: () => ask(server, { path: asked.path, headers, forMs }),
        floor: () => ask(floor, { path: "/", headers: {}, forMs }),
      }),
    );
    const [candidate, floor] = [middleOf(measured.runyard), middleOf(measured.floor)];
    const ratio = candidate.p50 / floor.p50;
    const cell = (one: Page): string => `${ms(one.p50)} (${digits(one.cpu)} µs CPU)`;
    const row: Row = {
      bench: "read",
      item: asked.item,
      candidate: cell(candidate),
      floor: cell(floor),
      ratio,
      target: ratioAtMost(1.5, ratio),
    };
    return { candidate, row };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function ask(
  server: { readonly url: string; readonly pid: number },
  request: { readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly forMs: number },
): Promise<Page> {
  const before = cpuMicros(server.pid);
  const { latencies } = await askAgain({ url: server.url, ...request, method: "GET", body: "", connections: 1 });
  return { p50: quantile(latencies, 0.5), cpu: (cpuMicros(server.pid) - before) / latencies.length };
}

function middleOf(all: readonly Page[]): Page {
  return { p50: medianOf(all, (one) => one.p50), cpu: medianOf(all, (one) => one.cpu) };
}

function againstItself([small, large]: readonly Page[]): Row {
  const [short, long] = [small?.p50 ?? Number.NaN, large?.p50 ?? Number.NaN];
  const item = `the same of the long log (floor: of the short one)`;
  return { bench: "read", item, candidate: ms(long), floor: ms(short), ratio: long / short, target: ratioAtMost(1.2, long / short) };
}

function tailOf(id: string, after: number): string {
  return `select '{"seq":' || seq || ',"type":"' || type || '","data":' || data || '}' as json
    from runyard.events where run_id = '${id}' and seq > ${after} order by seq limit ${PAGE}`;
}

function listOf(where: string): string {
  return `select row_to_json(r)::text as json from (select * from runyard.runs where org_id = '${ORG}' ${where} order by num desc limit 20) r`;
}

async function storeLog({ repository, database }: BenchHome, events: number): Promise<string> {
  const { db, admin } = await database();
  const { id } = await insertRun(db, newRun({ repository, status: "failed", events: [] }));
  await admin.query(
    `insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
     select $1, g, $2, 1, 1, 'message.delta', json_build_object('messageId', 'm1', 'kind', 'text', 'text', $3::text) from generate_series(1, $4::int) g`,
    [id, ORG, TEXT, events],
  );
  await admin.query("update runyard.runs set last_seq = $2 where id = $1", [id, events]);
  await admin.query("vacuum analyze runyard.events");
  return id;
}

/** Runs that have ended, ten of them, the oldest, by running out of time; gives the number of the one in the middle. */
async function storeRuns({ repository, database }: BenchHome, admin: pg.Client, runs: number): Promise<string> {
  const { db } = await database();
  const { id } = await insertRun(db, newRun({ repository, status: "failed", events: [] }));
  const { rows } = await admin.query<{ column_name: string }>(
    `select column_name from information_schema.columns
     where table_schema = 'runyard' and table_name = 'runs' and column_name not in ('id', 'num', 'status')`,
  );
  const names = rows.map((row) => row.column_name).join(", ");
  await admin.query(
    `insert into runyard.runs (id, status, ${names})
     select 'run_' || g, case when g <= ${RARE} then 'timeout' when g % 10 = 0 then 'failed' else 'completed' end, ${names
       .split(", ")
       .map((name) => `r.${name}`)
       .join(", ")}
     from generate_series(1, $2::int) g, runyard.runs r where r.id = $1`,
    [id, runs],
  );
  await admin.query("vacuum analyze runyard.runs");
  const middle = await admin.query<{ num: string }>("select num from runyard.runs where id = $1", [`run_${Math.ceil(runs / 2)}`]);
  return String(middle.rows[0]?.num);
}
