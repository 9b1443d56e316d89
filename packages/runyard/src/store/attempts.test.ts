import type { NewEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { nextAttempt } from "./attempts.ts";
import { readEvents } from "./events.ts";
import type { RunRow } from "./run-row.ts";
import { answerRequest, cancelRun, claimRun, commitStep, findRun, readInputs } from "./runs.ts";

let test_: TestDatabase;
const ORG = "org_test";
let serial = 0;
const said = (text: string): NewEvent => ({ type: "log", data: { text } });

beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, ORG);
});
afterAll(() => test_?.drop());

/** A run in the middle of its first attempt: lines read and sent, a permission that waits. */
async function atWork(): Promise<RunRow> {
  serial += 1;
  await queueRun(test_.db, { orgId: ORG, id: `run_${serial}` });
  const claimed = await claimRun(test_.db, { owner: "owner-1", runnerId: `runner-${serial}`, events: [said("claimed")] });
  if (claimed?.id !== `run_${serial}`) throw new Error("another run was claimed");
  const run = await commitStep(test_.db, {
    run: claimed,
    outTo: 100,
    usageTo: 70,
    lines: ["{}\n"],
    requests: [{ id: "perm_1_60", kind: "permission", offset: 60 }],
    change: { phase: "building", state: { mid: "turn" } },
  });
  if (run === undefined) throw new Error("fenced");
  return run;
}

const next = (run: Parameters<typeof nextAttempt>[1]["run"]): ReturnType<typeof nextAttempt> =>
  nextAttempt(test_.db, { run, events: [said("withdrawn"), said("retrying")], state: { fresh: true }, delayMs: 40_000, carry: null });
/** What the runs of these tests hold of their organization's places. */
const end = (run: RunRow): Promise<unknown> => commitStep(test_.db, { run, change: { status: "failed" } });

describe("the next attempt", () => {
  test("begins with nothing of the last one, in one commit, and says so in the last one's name", async () => {
    const before = await atWork();
    expect(before).toMatchObject({ status: "awaiting_input", open_requests: 1, in_size: 3 });
    const after = await next(before);
    expect(after).toMatchObject({
      status: "running",
      phase: "preparing",
      turn: 1,
      attempt: 2,
      open_requests: 0,
      out_cursor: 0,
      in_size: 0,
      // The gateway's journal goes on over attempts.
      usage_cursor: 70,
      state: { fresh: true },
    });
    if (after === undefined) throw new Error("fenced");
    expect(await readInputs(test_.db, { run: after, from: 0 })).toEqual([]);
    expect((await findRun(test_.db, ORG, before.id))?.open).toEqual([]);
    const read = await readEvents(test_.db, { orgId: ORG, runId: before.id, after: 0, limit: 100 });
    const log = (read?.events ?? []).map((event) => JSON.parse(event.json) as { seq: number; attempt: number; data: { text: string } });
    expect(log.map((event) => [event.seq, event.attempt, event.data.text])).toEqual([
      [1, 0, "created"],
      [2, 1, "claimed"],
      [3, 1, "withdrawn"],
      [4, 1, "retrying"],
    ]);
    // The clock begins with the attempt, not with the wait.
    expect(Date.parse(after.active_since ?? "") - Date.parse(after.updated_at)).toBeGreaterThan(30_000);
    const ended = await commitStep(test_.db, { run: after, change: { status: "failed" } });
    expect(ended?.active_ms).toBe(after.active_ms);
  });

  test("keeps the run's place in its organization's limit", async () => {
    const [before] = await test_.db.queryInOrganization(ORG, "select active, queued from runyard.org_slots");
    const run = await next(await atWork());
    expect(await test_.db.queryInOrganization(ORG, "select active - 1 as active, queued from runyard.org_slots")).toEqual([before]);
    if (run !== undefined) await end(run);
    expect(await test_.db.queryInOrganization(ORG, "select active, queued from runyard.org_slots")).toEqual([before]);
  });

  test("fences whoever still believes in the last one: a woken old server writes nothing", async () => {
    const old = await atWork();
    const run = await next(old);
    if (run === undefined) throw new Error("fenced");
    expect(await commitStep(test_.db, { run: old, events: [said("stale")] })).toBeUndefined();
    // Also with the cursors of the new attempt: the attempt's number is what counts.
    expect(await commitStep(test_.db, { run: { ...run, attempt: 1 }, events: [said("stale")] })).toBeUndefined();
    expect(await next(old)).toBeUndefined();
    const answer = { orgId: ORG, runId: run.id, requestId: "perm_1_60", answer: "allow", by: "x", line: "x\n", event: said("stale") };
    expect(await answerRequest(test_.db, answer)).toBeUndefined();
    expect((await findRun(test_.db, ORG, run.id))?.run).toMatchObject({ attempt: 2, last_seq: 4, in_size: 0 });
    // The control: the same write in the name of the attempt is done.
    const written = await commitStep(test_.db, { run, events: [said("fresh")] });
    expect(written?.last_seq).toBe(5);
    await end(written ?? run);
  });

  test("is not made by another owner, nor for a run that has ended", async () => {
    const run = await atWork();
    expect(await next({ ...run, owner: "owner-2" })).toBeUndefined();
    await end(run);
    expect(await next(run)).toBeUndefined();
  });

  test("keeps the wish to cancel", async () => {
    const run = await atWork();
    await cancelRun(test_.db, { orgId: ORG, runId: run.id, reason: "enough", events: [] });
    const after = await next(run);
    expect(after).toMatchObject({ attempt: 2, cancel_reason: "enough" });
    if (after !== undefined) await end(after);
  });
});
