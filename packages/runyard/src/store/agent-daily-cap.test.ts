import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PLAIN_AGENT } from "../core/saved-agent.ts";
import { NO_USAGE, type UsageTotals } from "../core/usage.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { type Database, openDatabase } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import { claimRun, commitStep, findRun, listRuns } from "./runs.ts";
import { changeSavedAgent, deleteSavedAgent, findSavedAgent, insertSavedAgent } from "./saved-agents.ts";
import { changeOrganization, findOrganization } from "./settings.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
});
afterAll(() => test_?.drop());

const USD = 1_000_000_000;

async function organization(orgId: string, caps: { readonly own?: number; readonly agents: Readonly<Record<string, number | null>> }) {
  await makeOrganization(test_.db, orgId);
  if (caps.own !== undefined) await changeOrganization(test_.db, orgId, { dailyCapUsd: caps.own });
  for (const [name, cap] of Object.entries(caps.agents))
    await insertSavedAgent(test_.db, {
      orgId,
      id: `agent_${orgId}_${name}`,
      name,
      definition: PLAIN_AGENT,
      dailyCapNano: cap === null ? null : cap * USD,
    });
}
const queue = (orgId: string, id: string, agent: string | null, more: { readonly budget?: { usd: number }; simulated?: boolean } = {}) =>
  queueRun(test_.db, { orgId, id, agentId: agent === null ? null : `agent_${orgId}_${agent}`, ...more });
const claim = (db: Database = test_.db): Promise<RunRow | undefined> => claimRun(db, { owner: "o", runnerId: "r", events: [] });
const usage = (spentNanoUsd: number): UsageTotals => ({ ...NO_USAGE, modelCalls: 1, spentNanoUsd });
const spend = (run: RunRow, spentNanoUsd: number, db: Database = test_.db): Promise<RunRow | undefined> =>
  commitStep(db, { run, change: { usage: usage(spentNanoUsd) } });
const end = (run: RunRow, spentNanoUsd: number, db: Database = test_.db): Promise<RunRow | undefined> =>
  commitStep(db, { run, change: { usage: usage(spentNanoUsd), status: "completed" } });
const reasonOf = async (orgId: string, id: string): Promise<RunRow["waits_for_cap"]> =>
  (await findRun(test_.db, orgId, id))?.run.waits_for_cap;
const setCap = (orgId: string, name: string, cap: number | null) =>
  changeSavedAgent(test_.db, { orgId, idOrName: name }, ({ definition }) => ({
    name,
    definition,
    daily_cap_nano: cap === null ? null : cap * USD,
  }));

async function claimed(): Promise<RunRow> {
  const run = await claim();
  if (run === undefined) throw new Error("nothing was claimed");
  return run;
}

test("runs of an agent wait while its cap is set aside or spent, and nobody else waits behind them", async () => {
  const orgId = "org_wait";
  await organization(orgId, { agents: { dear: 5, other: null } });
  for (const id of ["w1", "w2"]) await queue(orgId, id, "dear");
  const first = await claimed();
  expect(first).toMatchObject({ id: "w1", allowance_nano: 5 * USD, allowance_from_nano: 0 });
  expect(await claim()).toBeUndefined();
  expect(await reasonOf(orgId, "w2")).toBe("agent-daily-cap");
  await queue(orgId, "w3", "other");
  await queue(orgId, "w4", null);
  const others = [await claimed(), await claimed()];
  expect(others.map(({ id, allowance_nano: share }) => [id, share])).toEqual([
    ["w3", null],
    ["w4", null],
  ]);
  expect((await listRuns(test_.db, { orgId, before: null, status: "pending", limit: 9 })).map(({ run }) => run.waits_for_cap)).toEqual([
    "agent-daily-cap",
  ]);
  for (const run of others) await end(run, 7 * USD);

  // What it did not need is there for the next one; what the others spent is not the agent's.
  await end(first, 2 * USD);
  expect(await reasonOf(orgId, "w2")).toBeNull();
  const second = await claimed();
  expect(second).toMatchObject({ id: "w2", allowance_nano: 3 * USD });
  const going = await spend(second, 1 * USD);
  expect(await findSavedAgent(test_.db, orgId, "dear")).toMatchObject({ daily_cap_nano: 5 * USD, spent_today_nano: 3 * USD });
  await end(going as RunRow, 3 * USD);
  expect(await findOrganization(test_.db, orgId)).toMatchObject({ spentTodayUsd: 19 });

  // It is spent, and nobody holds anything: the agent's runs wait for the next day, as others go on.
  await queue(orgId, "w5", "dear");
  await queue(orgId, "w6", null);
  expect(await claimed()).toMatchObject({ id: "w6" });
  expect(await claim()).toBeUndefined();
  expect(await reasonOf(orgId, "w5")).toBe("agent-daily-cap");
  await test_.db.inOrganization(orgId, (tx) => tx.query("update runyard.agent_spending set day = day - 1"));
  const next = await claimed();
  expect(next).toMatchObject({ id: "w5", allowance_nano: 5 * USD });
  await end(next, 0);
});

test("a higher cap, none, or no such agent lets its runs go", async () => {
  const orgId = "org_raise";
  await organization(orgId, { agents: { dear: 1 } });
  await queue(orgId, "r1", "dear");
  await end(await claimed(), 1 * USD);
  for (const id of ["r2", "r3", "r4"]) await queue(orgId, id, "dear");
  expect(await claim()).toBeUndefined();
  await setCap(orgId, "dear", 2);
  const raised = await claimed();
  expect(raised).toMatchObject({ id: "r2", allowance_nano: 1 * USD });
  expect(await claim()).toBeUndefined();
  await setCap(orgId, "dear", null);
  expect(await claimed()).toMatchObject({ id: "r3", allowance_nano: null });
  await setCap(orgId, "dear", 2);
  expect(await claim()).toBeUndefined();
  await deleteSavedAgent(test_.db, orgId, "dear");
  expect(await reasonOf(orgId, "r4")).toBeNull();
  expect(await claimed()).toMatchObject({ id: "r4", allowance_nano: null });
  // What it spends is counted to the end, whoever it was.
  await end(raised, 1 * USD);
});

test("of the caps of an organization and an agent the tighter one counts, and each says that it is waited for", async () => {
  const orgId = "org_both";
  await organization(orgId, { own: 10, agents: { dear: 4 } });
  await queue(orgId, "b1", "dear", { budget: { usd: 20 } });
  const capped = await claimed();
  expect(capped).toMatchObject({ id: "b1", allowance_nano: 4 * USD });
  await queue(orgId, "b2", null, { budget: { usd: 5 } });
  const plain = await claimed();
  expect(plain).toMatchObject({ id: "b2", allowance_nano: 5 * USD });
  // One dollar is left of ten; the agent's four are held.
  await queue(orgId, "b3", "dear", { budget: { usd: 1 } });
  await queue(orgId, "b4", null, { budget: { usd: 2 } });
  expect([await reasonOf(orgId, "b3"), await reasonOf(orgId, "b4")]).toEqual(["agent-daily-cap", "daily-cap"]);
  expect(await claim()).toBeUndefined();
  await end(capped, 2 * USD);
  // Two are left of the agent's four, three of the ten.
  const third = await claimed();
  expect(third).toMatchObject({ id: "b3", allowance_nano: 1 * USD });
  await queue(orgId, "b5", "dear");
  const fourth = await claimed();
  expect(fourth).toMatchObject({ id: "b4", allowance_nano: 2 * USD });
  expect(await reasonOf(orgId, "b5")).toBe("daily-cap");
  await end(fourth, 0);
  const fifth = await claimed();
  // One of the agent's four, though two of the ten are left.
  expect(fifth).toMatchObject({ id: "b5", allowance_nano: 1 * USD });
  for (const run of [plain, third, fifth]) await end(run, 0);
});

test("what costs nothing needs nothing, and another organization's agent is not this one's", async () => {
  await organization("org_free_a", { agents: { dear: 1 } });
  await organization("org_free_b", { agents: { dear: 1 } });
  await queue("org_free_a", "f1", "dear");
  await end(await claimed(), 1 * USD);
  await queue("org_free_a", "f2", "dear");
  await queue("org_free_a", "f3", "dear", { simulated: true });
  await queue("org_free_b", "f4", "dear");
  const taken = [await claimed(), await claimed()];
  expect(new Map(taken.map(({ id, allowance_nano: share }) => [id, share]))).toEqual(
    new Map([
      ["f3", null],
      ["f4", 1 * USD],
    ]),
  );
  expect(await claim()).toBeUndefined();
  for (const run of taken) await end(run, 0);
  expect(await findSavedAgent(test_.db, "org_free_b", "dear")).toMatchObject({ spent_today_nano: 0 });
  expect(await test_.db.queryInOrganization("org_free_b", "select * from runyard.agent_spending", [])).toEqual([]);
});

/** What is left of each agent's cap, and the runs that are at work or may be claimed now, in one snapshot. */
const LOOK = `
  select (select array_agg(m.room_left::text) from runyard.agent_rooms($1, null) m) as rooms,
         (select count(*)::int from runyard.runs r
            where r.org_id = $1 and (r.status = 'running' or (r.status = 'pending' and runyard.waits_for_cap(r) is null))) as rest`;

test("with many claimers at it, an agent's runs never have more than its cap", async () => {
  const orgId = "org_race";
  await organization(orgId, { agents: { one: 6, two: 9 } });
  const budgets = [0.5, 1, 2, 3];
  for (let n = 0; n < 60; n += 1)
    await queue(orgId, `race_${n}`, n % 2 === 0 ? "one" : "two", { budget: { usd: budgets[n % budgets.length] ?? 1 } });
  const outside = new pg.Client({ connectionString: test_.connectionString });
  await outside.connect();
  let isOver = false;
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
        await sleep(1 + Math.random() * 4);
        await end(run, Math.floor((run.allowance_nano ?? 0) * (count % 3 === 0 ? 1 : 0.3)), db);
      }
    };
    await Promise.all([hand(), hand(), hand()]);
    await db.close();
  };
  const done = Promise.all([work(), work(), work()]);
  const left: number[] = [];
  // Until none that is queued fits any more, and none is at work.
  while (!isOver) {
    const [look] = (await outside.query<{ rooms: string[]; rest: number }>(LOOK, [orgId])).rows;
    left.push(...(look?.rooms ?? []).map(Number));
    isOver = look?.rest === 0;
  }
  await done;
  await outside.end();
  expect(left.filter((nano) => nano < 0)).toEqual([]);
  // It was the cap that held them back: the last ones want two dollars at most.
  expect(Math.min(...left)).toBeLessThan(2 * USD);
  for (const [name, cap] of [
    ["one", 6],
    ["two", 9],
  ] as const)
    expect((await findSavedAgent(test_.db, orgId, name))?.spent_today_nano).toBeLessThanOrEqual(cap * USD);
}, 60_000);
