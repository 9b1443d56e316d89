import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NO_USAGE, type UsageTotals } from "../core/usage.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { type Database, openDatabase } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import { claimRun, commitStep, findRun, listRuns } from "./runs.ts";
import { changeOrganization, findOrganization } from "./settings.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
});
afterAll(() => test_?.drop());

const USD = 1_000_000_000;
const CLAIMERS = 3;

async function organization(orgId: string, dailyCapUsd: number | null): Promise<void> {
  await makeOrganization(test_.db, orgId);
  await changeOrganization(test_.db, orgId, { dailyCapUsd });
}
const claim = (db: Database = test_.db): Promise<RunRow | undefined> => claimRun(db, { owner: "o", runnerId: "r", events: [] });
const usage = (spentNanoUsd: number): UsageTotals => ({ ...NO_USAGE, modelCalls: 1, spentNanoUsd });
const spend = (run: RunRow, spentNanoUsd: number, db: Database = test_.db): Promise<RunRow | undefined> =>
  commitStep(db, { run, change: { usage: usage(spentNanoUsd) } });
const end = (run: RunRow, spentNanoUsd: number, db: Database = test_.db): Promise<RunRow | undefined> =>
  commitStep(db, { run, change: { usage: usage(spentNanoUsd), status: "completed" } });
const reasonOf = async (orgId: string, id: string): Promise<RunRow["waits_for_cap"]> =>
  (await findRun(test_.db, orgId, id))?.run.waits_for_cap;

async function claimed(): Promise<RunRow> {
  const run = await claim();
  if (run === undefined) throw new Error("nothing was claimed");
  return run;
}

test("what was set aside and not spent comes back; what does not fit waits, and what fits goes before it", async () => {
  const orgId = "org_fits";
  await organization(orgId, 10);
  await queueRun(test_.db, { orgId, id: "run_f1", budget: { usd: 6 } });
  await queueRun(test_.db, { orgId, id: "run_f2", budget: { usd: 5 } });
  await queueRun(test_.db, { orgId, id: "run_f3", budget: { usd: 4 } });
  const first = await claimed();
  expect(first).toMatchObject({ id: "run_f1", allowance_nano: 6 * USD, allowance_from_nano: 0 });
  const third = await claimed();
  expect(third).toMatchObject({ id: "run_f3", allowance_nano: 4 * USD });
  expect(await claim()).toBeUndefined();
  expect(await reasonOf(orgId, "run_f2")).toBe("daily-cap");
  expect((await listRuns(test_.db, { orgId, before: null, status: "pending", limit: 9 })).map(({ run }) => run.waits_for_cap)).toEqual([
    "daily-cap",
  ]);

  await end(first, 1 * USD);
  expect(await reasonOf(orgId, "run_f2")).toBeNull();
  expect(await claimed()).toMatchObject({ id: "run_f2", allowance_nano: 5 * USD });
  expect(await findOrganization(test_.db, orgId)).toMatchObject({ dailyCapUsd: 10, spentTodayUsd: 1 });
  await end(third, 0);
});

test("a run without a budget takes all that is left, and one with a budget above the cap takes the cap", async () => {
  const orgId = "org_all";
  await organization(orgId, 3);
  await queueRun(test_.db, { orgId, id: "run_a1", budget: { usd: 50 } });
  const first = await claimed();
  expect(first).toMatchObject({ id: "run_a1", allowance_nano: 3 * USD });
  await end(first, 1 * USD);
  await queueRun(test_.db, { orgId, id: "run_a2", budget: { tokens: 5 } });
  await queueRun(test_.db, { orgId, id: "run_a3" });
  const second = await claimed();
  expect(second).toMatchObject({ id: "run_a2", allowance_nano: 2 * USD });
  expect(await claim()).toBeUndefined();
  // What it spends is the day's at once, and not counted twice.
  const going = await spend(second, USD / 2);
  expect(await findOrganization(test_.db, orgId)).toMatchObject({ spentTodayUsd: 1.5 });
  expect(await claim()).toBeUndefined();
  await end(going as RunRow, USD / 2);
  expect(await claimed()).toMatchObject({ id: "run_a3", allowance_nano: 1.5 * USD });
});

test("once the cap is spent a run is taken up with nothing, and so is told; a higher cap or another day lets runs go", async () => {
  const orgId = "org_spent";
  await organization(orgId, 1);
  await queueRun(test_.db, { orgId, id: "run_s1" });
  await end(await claimed(), USD);
  await queueRun(test_.db, { orgId, id: "run_s2" });
  const told = await claimed();
  expect(told).toMatchObject({ id: "run_s2", allowance_nano: 0 });
  await end(told, 0);
  await changeOrganization(test_.db, orgId, { dailyCapUsd: 2 });
  await queueRun(test_.db, { orgId, id: "run_s3" });
  const third = await claimed();
  expect(third).toMatchObject({ id: "run_s3", allowance_nano: USD });
  await end(third, USD);
  await test_.db.inOrganization(orgId, (tx) => tx.query("update runyard.spending set day = day - 1"));
  await queueRun(test_.db, { orgId, id: "run_s4" });
  const fourth = await claimed();
  expect(fourth).toMatchObject({ id: "run_s4", allowance_nano: 2 * USD });
  await end(fourth, 0);
});

test("without a cap nothing is set aside, simulated runs and those with their agents' own logins need none, and nobody waits for another organization's", async () => {
  await organization("org_free", null);
  await organization("org_bound", 1);
  await queueRun(test_.db, { orgId: "org_bound", id: "run_b1" });
  const bound = await claimed();
  await queueRun(test_.db, { orgId: "org_bound", id: "run_b2" });
  await queueRun(test_.db, { orgId: "org_free", id: "run_n1" });
  const free = await claimed();
  expect(free).toMatchObject({ id: "run_n1", allowance_nano: null, allowance_from_nano: null });
  expect(await claim()).toBeUndefined();
  await queueRun(test_.db, { orgId: "org_bound", id: "run_b3", simulated: true });
  const simulated = await claimed();
  expect(simulated).toMatchObject({ id: "run_b3", allowance_nano: null });
  // A subscription pays for what its agent calls.
  const { spec } = simulated;
  await queueRun(test_.db, { orgId: "org_bound", id: "run_b4", spec: { ...spec, login: "own" } });
  const own = await claimed();
  expect(own).toMatchObject({ id: "run_b4", allowance_nano: null });
  await queueRun(test_.db, { orgId: "org_bound", id: "run_b5", spec: { ...spec, login: "gateway" } });
  expect(await claim()).toBeUndefined();
  for (const run of [bound, free, simulated, own]) await end(run, 0);
  await end(await claimed(), 0);
  await end(await claimed(), 0);
});

/** What a look from outside sees in one snapshot: spent today, and what living runs may still spend of what they were given. */
const LOOK = `
  select runyard.spent_today_nano($1) as spent, runyard.held_nano($1) as held,
         (select count(*)::int from runyard.runs r where r.org_id = $1 and r.status = 'running') as living`;

/** Queued runs that may be claimed now, and those at work. */
const NEXT = `
  select (select count(*)::int from runyard.runs r where r.org_id = $1 and r.status = 'pending' and runyard.waits_for_cap(r) is null) as left,
         (select count(*)::int from runyard.runs r where r.org_id = $1 and r.status = 'running') as living`;

/** How often it becomes midnight meanwhile. */
const MIDNIGHTS = [0, 8];

test.each(MIDNIGHTS)(
  `with ${CLAIMERS} claimers at it and %i midnights, what is spent and what is set aside never pass the cap`,
  async (midnights) => {
    const orgId = `org_race_${midnights}`;
    const cap = midnights === 0 ? 40 : 12;
    await organization(orgId, cap);
    const budgets = [0.5, 1, 2, 3, 7].map((usd) => ({ usd }));
    for (let n = 0; n < 120; n += 1)
      await queueRun(test_.db, { orgId, id: `run_race_${midnights}_${n}`, budget: budgets[n % budgets.length] });
    const outside = new pg.Client({ connectionString: test_.connectionString });
    await outside.connect();
    let isOver = false;
    let days = 0;
    const work = async (): Promise<void> => {
      const db = openDatabase({ connectionString: test_.connectionString, applicationName: "runyard-test-claimer" });
      let count = 0;
      const hand = async (): Promise<void> => {
        while (!isOver) {
          const run = await claim(db);
          if (run === undefined) {
            await sleep(1);
            continue;
          }
          count += 1;
          await sleep(2 + Math.random() * 8);
          // Some spend all that they may, some a part of it, step by step.
          const share = count % 3 === 0 ? 1 : 0.3;
          const most = Math.floor((run.allowance_nano ?? 0) * share);
          const half = await spend(run, Math.floor(most / 2), db);
          await end(half as RunRow, most, db);
        }
      };
      await Promise.all([hand(), hand(), hand()]);
      await db.close();
    };
    const done = Promise.all(Array.from({ length: CLAIMERS }, work));
    const seen: { spent: number; held: number; living: number }[] = [];
    while (!isOver) {
      const [look] = (await outside.query<{ spent: string; held: string; living: number }>(LOOK, [orgId])).rows;
      seen.push({ spent: Number(look?.spent), held: Number(look?.held), living: look?.living ?? 0 });
      // As soon as a day is spent the next one begins, while the last of its runs are at work.
      if (days < midnights && Number(look?.spent) > (cap - 2) * USD) {
        days += 1;
        await outside.query(
          `create or replace function runyard.today() returns date language sql stable as 'select date ''2030-01-01'' + ${days}'`,
        );
        continue;
      }
      if (look?.living !== 0) continue;
      // Nothing is at work, and nothing that is queued fits any more.
      const [next] = (await outside.query<{ left: number; living: number }>(NEXT, [orgId])).rows;
      isOver = next?.left === 0 && next.living === 0;
    }
    await done;
    await outside.end();
    expect(seen.filter(({ spent, held }) => spent + held > cap * USD)).toEqual([]);
    // It was the cap that held them back, and several were at it at a time.
    expect(days).toBe(midnights);
    expect(Math.max(...seen.map(({ spent, held }) => spent + held))).toBeGreaterThan((cap - 8) * USD);
    expect(Math.max(...seen.map(({ living }) => living))).toBeGreaterThan(1);
    expect((await findOrganization(test_.db, orgId)).spentTodayUsd).toBeLessThanOrEqual(cap);
  },
  60_000,
);
