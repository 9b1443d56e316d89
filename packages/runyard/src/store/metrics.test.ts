import type { NewEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MAX_SAMPLES } from "../core/metrics.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { addSample, listSamples } from "./metrics.ts";
import type { RunRow } from "./run-row.ts";
import { adoptRuns, claimRun, commitStep } from "./runs.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
});
afterAll(() => test_?.drop());

const events: readonly NewEvent[] = [{ type: "log", data: { text: "claimed" } }];
const FIGURES = { cpuMs: 2 ** 40, memoryBytes: 3, memoryPeakBytes: 4, processes: 5, threads: 6, diskBytes: null };

async function claimed(name: string): Promise<RunRow> {
  await makeOrganization(test_.db, `org_${name}`);
  await queueRun(test_.db, { orgId: `org_${name}`, id: `run_${name}`, onlyRunner: name });
  return (await claimRun(test_.db, { owner: name, runnerId: name, events })) as RunRow;
}

test("samples are kept in order, with what was not measured as null, for their own organization", async () => {
  const run = await claimed("kept");
  expect(await listSamples(test_.db, run.org_id, run.id)).toEqual([]);
  expect(await addSample(test_.db, { run, step: "agent", figures: FIGURES })).toBe(1);
  expect(await addSample(test_.db, { run, step: "verify-1-0", figures: { ...FIGURES, cpuMs: null, diskBytes: 0 } })).toBe(2);
  const found = await listSamples(test_.db, run.org_id, run.id);
  expect(found).toEqual([
    { at: expect.stringMatching(/^\d{4}-.*Z$/) as unknown, turn: 1, attempt: 1, step: "agent", ...FIGURES },
    { at: expect.any(String) as unknown, turn: 1, attempt: 1, step: "verify-1-0", ...FIGURES, cpuMs: null, diskBytes: 0 },
  ]);
  await makeOrganization(test_.db, "org_other");
  expect(await listSamples(test_.db, "org_other", run.id)).toEqual([]);
  const seen = await test_.db.queryInOrganization("org_other", "select 1 from runyard.samples");
  const own = await test_.db.queryInOrganization(run.org_id, "select 1 from runyard.samples");
  expect([seen.length, own.length]).toEqual([0, 2]);
});

test("only who has the run in hand adds any", async () => {
  const run = await claimed("fenced");
  const add = (changes: Partial<RunRow>): Promise<number | undefined> =>
    addSample(test_.db, { run: { ...run, ...changes }, step: "agent", figures: FIGURES });
  for (const other of [{ owner: "somebody" }, { owner: null }, { attempt: 2 }, { org_id: "org_kept" }])
    expect(await add(other)).toBeUndefined();
  expect(await add({})).toBe(1);
  const [adopted] = await adoptRuns(test_.db, { owner: "next", runnerId: "fenced" });
  expect(await add({})).toBeUndefined();
  expect(await add({ owner: "next" })).toBe(2);
  await commitStep(test_.db, { run: adopted as RunRow, change: { status: "completed" } });
  expect(await add({ owner: "next" })).toBeUndefined();
  expect(await listSamples(test_.db, run.org_id, run.id)).toHaveLength(2);
});

test("a run has no more samples than it may", async () => {
  const run = await claimed("bounded");
  await test_.db.queryInOrganization(
    run.org_id,
    `insert into runyard.samples (run_id, at, org_id, turn, attempt, step)
     select $1, now() - n * interval '1 second', $2, 1, 1, 'agent' from generate_series(1, $3::int) n`,
    [run.id, run.org_id, MAX_SAMPLES - 1],
  );
  const add = (): Promise<number | undefined> => addSample(test_.db, { run, step: "agent", figures: FIGURES });
  expect([await add(), await add()]).toEqual([MAX_SAMPLES, MAX_SAMPLES]);
  expect(await listSamples(test_.db, run.org_id, run.id)).toHaveLength(MAX_SAMPLES);
});
