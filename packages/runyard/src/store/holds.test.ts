import type { RunResult } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { approverOf, decideHeld, holdId, holdRun } from "./holds.ts";
import type { Carry, RunRow } from "./run-row.ts";
import { claimRun, commitStep } from "./runs.ts";

const ORG = "org_test";
const [COMMIT, OTHER] = ["a", "b"].map((digit) => digit.repeat(40)) as [string, string];
const carry: Carry = { attempts: [1], head: null, published: null, sessionId: null, prompt: "Do it", lastWords: null };
const figures = { filesChanged: 1, insertions: 1, deletions: 0 };
const result: RunResult = { summary: "", headBranch: null, headCommit: COMMIT, baseCommit: OTHER, ...figures };

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, ORG);
});
afterAll(() => test_?.drop());

/** A run whose result waits for a person. */
async function held(id: string): Promise<RunRow> {
  // A runner of its own: one that is approved is queued again.
  await queueRun(test_.db, { orgId: ORG, id, onlyRunner: id });
  const claimed = await claimRun(test_.db, { owner: "me", runnerId: id, events: [] });
  const run = claimed && (await commitStep(test_.db, { run: claimed, change: { phase: "publishing" } }));
  if (run?.id !== id) throw new Error("another run was claimed");
  const hold = { id: holdId(run, COMMIT), request: { title: "It touches a file", toolKind: null, files: [] } };
  expect(await holdRun(test_.db, { run, events: [], hold, result, carry, state: {} })).toMatchObject({
    status: "awaiting_input",
    owner: null,
  });
  return run;
}
const decide = (run: RunRow, answer: "approved" | "rejected", commit = COMMIT): ReturnType<typeof decideHeld> =>
  decideHeld(test_.db, { run, id: holdId(run, commit), answer, by: `user_${ORG}`, error: null, events: [] });
const approver = (run: RunRow, commit: string, turn = run.turn): ReturnType<typeof approverOf> =>
  approverOf(test_.db, run, holdId({ turn }, commit));

test("an approval is of the commit that was looked at, in its turn, and the first decision counts", async () => {
  const run = await held("run_approved");
  expect(await approver(run, COMMIT)).toBeNull();
  expect(await decide(run, "approved", OTHER)).toBeUndefined();
  expect(await decide(run, "approved")).toMatchObject({ status: "pending" });
  expect(await decide(run, "rejected")).toBeUndefined();
  expect(await approver(run, COMMIT)).toMatchObject({ userId: `user_${ORG}` });
  // What the run may become instead, nobody has seen.
  expect(await approver(run, OTHER)).toBeNull();
  expect(await approver(run, COMMIT, run.turn + 1)).toBeNull();
  expect(await approver({ ...run, org_id: "org_other" }, COMMIT)).toBeNull();
});

test("what was rejected is approved by nobody", async () => {
  const run = await held("run_rejected");
  expect(await decide(run, "rejected")).toMatchObject({ status: "failed" });
  expect(await decide(run, "approved")).toBeUndefined();
  expect(await approver(run, COMMIT)).toBeNull();
});
