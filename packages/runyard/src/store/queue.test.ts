import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startChild } from "../testing/child.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { limitRuns } from "./run-counts.ts";
import { cancelRun, claimRun, commitStep, findRun } from "./runs.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
});
afterAll(() => test_?.drop());

const CLAIMERS = 3;
const QUEUED = 200;
const LIMIT = 7;
const SAMPLES = process.env["RUNYARD_TEST_FULL"] ? 10_000 : 2_000;

/** What a look from outside sees, in one snapshot: the counters, and what they stand for. */
const LOOK = `
  select s.active, s.queued, s.max_active,
         (select count(*)::int from runyard.runs r where r.org_id = s.org_id and r.status in ('running', 'awaiting_input', 'awaiting_plan')) as living,
         (select count(*)::int from runyard.runs r where r.org_id = s.org_id and r.status = 'pending') as pending
  from runyard.org_slots s where s.org_id = $1`;

interface Look {
  readonly active: number;
  readonly queued: number;
  readonly max_active: number;
  readonly living: number;
  readonly pending: number;
}

test(`the limit of runs holds at every one of ${SAMPLES} looks, with ${CLAIMERS} processes at a queue of ${QUEUED}`, async () => {
  const orgId = "org_sampled";
  await makeOrganization(test_.db, orgId);
  await limitRuns(test_.db, orgId, LIMIT);
  for (let n = 0; n < QUEUED; n += 1) await queueRun(test_.db, { orgId, id: `run_first_${n}` });
  const claimers = await Promise.all(
    Array.from({ length: CLAIMERS }, (_, index) =>
      startChild(new URL("../testing/claimer.ts", import.meta.url), {
        DATABASE_URL: test_.connectionString,
        CLAIMER: `claimer${index}`,
        CLAIMER_ORG: orgId,
      }),
    ),
  );
  // A connection of its own, as a superuser: nothing is hidden from it.
  const outside = new pg.Client({ connectionString: test_.connectionString });
  await outside.connect();
  const seen = new Map<number, number>();
  const wrong: Look[] = [];
  try {
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const look = (await outside.query<Look>(LOOK, [orgId])).rows[0];
      if (look === undefined) throw new Error("the organization is not there");
      seen.set(look.living, (seen.get(look.living) ?? 0) + 1);
      if (look.living > LIMIT || look.living !== look.active || look.pending !== look.queued) wrong.push(look);
    }
  } finally {
    await outside.end();
  }
  const claimed = (await Promise.all(claimers.map((claimer) => claimer.end()))).map(Number);
  expect(wrong).toEqual([]);
  // The limit was what held them back, in the sight of the same looks, and everybody was at it.
  expect(seen.get(LIMIT) ?? 0).toBeGreaterThan(0);
  expect(Math.min(...claimed)).toBeGreaterThan(0);
  console.info(
    `${claimed.reduce((sum, n) => sum + n)} claims; runs at work at a look: ${JSON.stringify([...seen].sort(([a], [b]) => a - b))}`,
  );
}, 120_000);

test("a limit that is lowered lets the living go on and takes up nothing; the oldest run comes first", async () => {
  const orgId = "org_lowered";
  await makeOrganization(test_.db, orgId);
  for (const id of ["run_l1", "run_l2", "run_l3", "run_l4"]) await queueRun(test_.db, { orgId, id });
  const claim = () => claimRun(test_.db, { owner: "o", runnerId: "r", events: [] });
  const idle = await test_.db.inOrganization("org_sampled", (tx) => tx.query("update runyard.org_slots set queued = 0 returning org_id"));
  expect(idle).toHaveLength(1);

  const [first, second] = [await claim(), await claim()];
  expect([first?.id, second?.id]).toEqual(["run_l1", "run_l2"]);
  await limitRuns(test_.db, orgId, 1);
  expect(await claim()).toBeUndefined();
  if (first === undefined || second === undefined) throw new Error("nothing was claimed");
  await commitStep(test_.db, { run: first, change: { status: "completed" } });
  expect(await claim()).toBeUndefined();
  expect((await findRun(test_.db, orgId, "run_l4"))?.run.queue_position).toBe(2);
  await cancelRun(test_.db, { orgId, runId: "run_l3", reason: "x", events: [] });
  expect((await findRun(test_.db, orgId, "run_l4"))?.run.queue_position).toBe(1);
  await commitStep(test_.db, { run: second, change: { status: "completed" } });
  expect((await claim())?.id).toBe("run_l4");
});

test("no organization's long queue keeps another one waiting", async () => {
  const [long, short] = ["org_long", "org_short"];
  for (const orgId of [long, short]) {
    await makeOrganization(test_.db, orgId);
    await limitRuns(test_.db, orgId, 1_000);
  }
  for (let n = 0; n < 100; n += 1) await queueRun(test_.db, { orgId: long, id: `run_long_${n}` });
  await queueRun(test_.db, { orgId: short, id: "run_short" });
  let claims = 0;
  for (let orgId = ""; orgId !== short; claims += 1) {
    const run = await claimRun(test_.db, { owner: "o", runnerId: "r", events: [] });
    if (run === undefined) throw new Error("nothing was claimed");
    orgId = run.org_id;
  }
  // By age it would be the 101st. One of two chances each time: 60 misses in a row do not happen.
  expect(claims).toBeLessThan(60);
});

test("the place of the last of many is counted on the index of queued runs", async () => {
  const plan = await test_.db.inOrganization("org_long", async (tx) => {
    await tx.query("set local enable_seqscan = off");
    return tx.query<{ "QUERY PLAN": string }>(
      "explain select count(*) from runyard.runs q where q.org_id = 'org_long' and q.status = 'pending' and q.num <= 1000",
    );
  });
  expect(plan.map((row) => row["QUERY PLAN"]).join("\n")).toContain("runs_queued");
});
