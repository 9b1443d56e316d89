// SIGSTOP of runners past their lease, in the middle of their writing: another one has their runs by the time they go
// on, and nothing that they still write reaches a log.
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunRow } from "../store/run-row.ts";
import { holdRunnerLease } from "../store/runner-lease.ts";
import { limitRuns } from "../store/run-counts.ts";
import { claimRun, commitStep } from "../store/runs.ts";
import { startChild, type TestChild } from "../testing/child.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { startSweeper } from "./sweeper.ts";
import { createWakes } from "./wakes.ts";

const ORG = "org_stopped";
const LEASE_MS = 1_000;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const WRITERS = full ? 4 : 2;
const RUNS_EACH = full ? 25 : 10;
const ROUNDS = full ? 5 : 1;

/** Events of an attempt that stand behind the end of that attempt: what a stopped runner wrote when it went on. */
const STALE = `
  select e.run_id, e.seq from runyard.events e join runyard.events lost on lost.run_id = e.run_id and lost.type = 'run.retrying'
  where e.attempt <= lost.attempt and e.seq > lost.seq`;
/** Logs with a gap or a double, and counters that are not what they stand for. */
const BROKEN = `
  select r.id from runyard.runs r
  where r.last_seq <> (select count(*) from runyard.events e where e.run_id = r.id)
     or r.last_seq <> (select max(e.seq) from runyard.events e where e.run_id = r.id)
  union all
  select s.org_id from runyard.org_slots s
  where s.active <> (select count(*) from runyard.runs r where r.org_id = s.org_id and r.status in ('running', 'awaiting_input'))
     or s.queued <> (select count(*) from runyard.runs r where r.org_id = s.org_id and r.status = 'pending')`;

let database: TestDatabase;
let outside: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  outside = new pg.Client({ connectionString: database.connectionString });
  await outside.connect();
  await makeOrganization(database.db, ORG);
  await limitRuns(database.db, ORG, WRITERS * RUNS_EACH);
});
afterAll(async () => {
  await outside.end();
  await database.drop();
});

test(
  `of ${WRITERS * RUNS_EACH * ROUNDS} runs whose runner was stopped past its lease, none is written to when it goes on`,
  async () => {
    const { db, connectionString } = database;
    const identity = { owner: "keeper-process", runnerId: "keeper" };
    const lease = await holdRunnerLease({
      ...identity,
      connectionString,
      leaseMs: LEASE_MS,
      offers: async () => ({}),
      onLog: () => undefined,
    });
    const sweeper = await startSweeper({
      db,
      wakes: createWakes(),
      leaseMs: LEASE_MS,
      ownRunnerId: identity.runnerId,
      monotonicMs: () => performance.now(),
      withdraw: () => ({ type: "log", data: { text: "" } }),
      log: () => undefined,
    });
    let fenced = 0;
    let stoppedMs = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let n = 0; n < WRITERS * RUNS_EACH; n += 1) await queueRun(db, { orgId: ORG, id: `run_${round}_${n}` });
      const writers = await Promise.all(Array.from({ length: WRITERS }, (_, n) => startWriter(`writer_${round}_${n}`)));
      await sleep(Math.random() * 100);
      for (const writer of writers) process.kill(writer.pid, "SIGSTOP");
      const stoppedAtMs = performance.now();
      const taken: RunRow[] = [];
      try {
        while (taken.length < WRITERS * RUNS_EACH) {
          const run = await claimRun(db, { ...identity, events: [] });
          if (run === undefined) await sleep(20);
          else taken.push(run);
        }
        stoppedMs = Math.max(stoppedMs, performance.now() - stoppedAtMs);
      } finally {
        for (const writer of writers) process.kill(writer.pid, "SIGCONT");
      }
      // The new owner writes while the old ones wake up: nothing of theirs may come between its cursors.
      const [reports] = await Promise.all([Promise.all(writers.map((writer) => writer.end())), Promise.all(taken.map(writeTwice))]);
      for (const report of reports) fenced += (JSON.parse(report) as { fenced: number }).fenced;
    }
    await sweeper.close();
    await lease.close();

    expect((await outside.query(STALE)).rows).toEqual([]);
    expect((await outside.query(BROKEN)).rows).toEqual([]);
    expect(fenced).toBe(WRITERS * RUNS_EACH * ROUNDS);
    const found = await outside.query("select attempt, status, losses, count(*)::int as runs from runyard.runs group by 1, 2, 3");
    expect(found.rows).toEqual([{ attempt: 2, status: "completed", losses: 1, runs: fenced }]);
    console.info(
      `${fenced} runs taken from stopped runners, the last of a round ${Math.round(stoppedMs)} ms after the stop: 0 stale writes`,
    );

    // The control: a write that does not ask who owns the run is seen by the same look.
    await outside.query(
      `with r as (update runyard.runs set last_seq = last_seq + 1 where id = 'run_0_0' returning *)
       insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data) select id, last_seq, org_id, turn, 1, 'log', '{}' from r`,
    );
    expect((await outside.query(STALE)).rows).toHaveLength(1);
  },
  full ? 120_000 : 60_000,
);

function startWriter(runnerId: string): Promise<TestChild> {
  return startChild(new URL("../testing/writer.ts", import.meta.url), {
    DATABASE_URL: database.connectionString,
    WRITER: runnerId,
    WRITER_RUNS: String(RUNS_EACH),
    WRITER_LEASE_MS: String(LEASE_MS),
  });
}

async function writeTwice(run: RunRow): Promise<void> {
  const after = await commitStep(database.db, { run, outTo: 7, events: [{ type: "log", data: { text: "next" } }] });
  await sleep(Math.random() * 50);
  const ended = after && (await commitStep(database.db, { run: after, change: { status: "completed" } }));
  if (ended === undefined) throw new Error(`the new owner of ${run.id} was fenced out`);
}
