import type { NewEvent, RunResult } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { noteReplay, type StoredReplay, turnEnd } from "./replays.ts";
import type { RunRow } from "./run-row.ts";
import { limitRuns } from "./run-counts.ts";
import { claimRun, commitStep, findRun } from "./runs.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
});
afterAll(() => test_?.drop());

const events: readonly NewEvent[] = [{ type: "log", data: { text: "claimed" } }];
const claim = (runnerId: string, owner = runnerId): Promise<RunRow | undefined> => claimRun(test_.db, { owner, runnerId, events });
const RESULT: RunResult = {
  summary: "",
  headBranch: null,
  headCommit: "b".repeat(40),
  baseCommit: "",
  filesChanged: 1,
  insertions: 1,
  deletions: 0,
};
const REPLAY: StoredReplay = {
  of: "run_01k00000000000000000000001",
  turn: 1,
  turns: 2,
  exchanges: 3,
  ended: { status: "completed", commit: RESULT.headCommit },
  divergence: null,
  refused: null,
  sameResult: null,
};

test("a run that is for one runner is passed over by the others, and keeps its place", async () => {
  await makeOrganization(test_.db, "org_pinned");
  await queueRun(test_.db, { orgId: "org_pinned", id: "run_for_b", onlyRunner: "b" });
  await queueRun(test_.db, { orgId: "org_pinned", id: "run_for_any" });
  expect((await claim("a"))?.id).toBe("run_for_any");
  expect(await claim("a")).toBeUndefined();
  expect((await findRun(test_.db, "org_pinned", "run_for_b"))?.run).toMatchObject({ status: "pending", queue_position: 1 });
  expect(await claim("b")).toMatchObject({ id: "run_for_b", runner_id: "b", attempt: 1 });
  expect(await claim("b")).toBeUndefined();
});

test("an organization whose queue is for other runners holds nobody up", async () => {
  for (const orgId of ["org_waits", "org_works"]) await makeOrganization(test_.db, orgId);
  await limitRuns(test_.db, "org_works", 20);
  for (let n = 0; n < 10; n += 1) await queueRun(test_.db, { orgId: "org_waits", id: `run_waits_${n}`, onlyRunner: "away" });
  for (let n = 0; n < 10; n += 1) await queueRun(test_.db, { orgId: "org_works", id: `run_works_${n}` });
  const claimed: string[] = [];
  for (let n = 0; n < 10; n += 1) claimed.push((await claim("a"))?.id ?? "none");
  expect(claimed).toEqual(Array.from({ length: 10 }, (_, n) => `run_works_${n}`));
  expect(await claim("a")).toBeUndefined();
});

test("how a turn ended is in the log, for its own organization", async () => {
  await makeOrganization(test_.db, "org_ended");
  await queueRun(test_.db, { orgId: "org_ended", id: "run_ended" });
  const run = (await claim("c")) as RunRow;
  expect(await turnEnd(test_.db, { run, turn: 1 })).toBeUndefined();
  const completed: NewEvent = { type: "run.completed", data: { result: RESULT } };
  await commitStep(test_.db, { run, events: [completed], change: { status: "completed", result: RESULT } });
  expect(await turnEnd(test_.db, { run, turn: 1 })).toEqual({ status: "completed", commit: RESULT.headCommit });
  expect(await turnEnd(test_.db, { run, turn: 2 })).toBeUndefined();
  expect(await turnEnd(test_.db, { run: { ...run, org_id: "org_pinned" }, turn: 1 })).toBeUndefined();
});

test("what came of a replay is noted by whoever has it in hand", async () => {
  await makeOrganization(test_.db, "org_replays");
  await queueRun(test_.db, { orgId: "org_replays", id: "run_replay", replay: REPLAY, onlyRunner: "d" });
  const run = (await claim("d")) as RunRow;
  expect(run.replay).toEqual(REPLAY);
  const noted = { ...REPLAY, sameResult: true };
  expect((await noteReplay(test_.db, { run, replay: noted }))?.replay).toEqual(noted);
  for (const other of [{ owner: "e" }, { attempt: 2 }, { org_id: "org_pinned" }])
    expect(await noteReplay(test_.db, { run: { ...run, ...other }, replay: REPLAY })).toBeUndefined();
  await commitStep(test_.db, { run, change: { status: "completed" } });
  expect(await noteReplay(test_.db, { run, replay: REPLAY })).toBeUndefined();
});
