import type { NewEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { decidePlan, listPlans, type PlanDecision, proposePlan } from "./plans.ts";
import type { Carry, RunRow } from "./run-row.ts";
import { claimRun, findRun } from "./runs.ts";

const ORG = "org_test";
const RUN = { id: "run_plans", org_id: ORG };
let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, ORG);
});
afterAll(() => test_?.drop());

const said = (text: string): NewEvent => ({ type: "log", data: { text } });
const carry: Carry = { attempts: [], head: null, published: null, sessionId: null, prompt: "Do it", lastWords: null };

async function claimed(): Promise<RunRow> {
  const run = await claimRun(test_.db, { owner: "me", runnerId: "runner", events: [] });
  if (run?.id !== RUN.id) throw new Error("the run was not claimed");
  return run;
}
const propose = (run: RunRow, text: string): ReturnType<typeof proposePlan> =>
  proposePlan(test_.db, { run, events: [said(text)], state: {}, source: "message", text, hash: text, dueMs: null });
const decide = (version: number, decision: PlanDecision["decision"]): ReturnType<typeof decidePlan> =>
  decidePlan(test_.db, { run: RUN, version, decision, by: null, note: null, edit: null, carry, events: [said(decision)] });
const states = async (): Promise<string[]> => (await listPlans(test_.db, ORG, RUN.id)).map(({ version, state }) => `${version} ${state}`);

test("a decision is about the version that it names, and the first one counts", async () => {
  await queueRun(test_.db, { orgId: ORG, id: RUN.id });
  await test_.db.queryInOrganization(ORG, "update runyard.runs set plans = true where id = $1", [RUN.id]);
  expect(await propose(await claimed(), "first")).toMatchObject({ status: "awaiting_plan", plan_version: 1 });
  expect(await decide(1, "revised")).toMatchObject({ status: "pending" });
  expect(await propose(await claimed(), "second")).toMatchObject({ status: "awaiting_plan", plan_version: 2 });

  // Whoever has read the first one only decides about nothing.
  for (const version of [0, 1, 3]) expect(await decide(version, "approved")).toBeUndefined();
  expect((await findRun(test_.db, ORG, RUN.id))?.run).toMatchObject({ status: "awaiting_plan", plans: true, plan_version: 2 });
  expect(await states()).toEqual(["1 revised", "2 proposed"]);

  const both = await Promise.all([decide(2, "approved"), decide(2, "rejected")]);
  expect(both.filter((run) => run !== undefined)).toHaveLength(1);
  expect(await decide(2, "approved")).toBeUndefined();
  expect(await states()).toEqual(["1 revised", `2 ${both[0] === undefined ? "rejected" : "approved"}`]);
});
