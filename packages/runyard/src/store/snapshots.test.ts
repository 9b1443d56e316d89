import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import {
  addSnapshot,
  findSnapshot,
  forgetSnapshot,
  listSnapshots,
  type NewSnapshot,
  removeSnapshot,
  snapshotsOf,
  useSnapshot,
} from "./snapshots.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  for (const orgId of ["org_a", "org_b"]) {
    await makeOrganization(test_.db, orgId);
    await queueRun(test_.db, { orgId, id: `run_${orgId}` });
  }
});
afterAll(() => test_?.drop());

const snapshotOf = (id: string, changes: Partial<NewSnapshot> = {}): NewSnapshot => ({
  id,
  orgId: "org_a",
  repositoryUrl: "/src/site",
  cacheKey: "v1",
  driver: "bwrap",
  commands: ["npm ci"],
  commandsHash: "hash",
  runnerId: "runner",
  runId: `run_${changes.orgId ?? "org_a"}`,
  bytes: 2 ** 40,
  files: 3,
  fingerprint: "print",
  ...changes,
});
const page = (orgId: string) => ({ orgId, before: null, limit: 10 });

test("one snapshot for each key, found by all of it, counted, and of its own organization only", async () => {
  const made = snapshotOf("snap_one");
  expect(await addSnapshot(test_.db, made)).toBe(true);
  // Stored before, without an answer.
  expect(await addSnapshot(test_.db, made)).toBe(true);
  expect(await addSnapshot(test_.db, snapshotOf("snap_late"))).toBe(false);
  expect(await addSnapshot(test_.db, snapshotOf("snap_b", { orgId: "org_b" }))).toBe(true);
  for (const other of [
    { repositoryUrl: "/src/other" },
    { cacheKey: "v2" },
    { driver: "process" },
    { commandsHash: "other" },
    { runnerId: "another" },
  ])
    expect(await useSnapshot(test_.db, { ...made, ...other })).toBeUndefined();
  expect(await useSnapshot(test_.db, made)).toMatchObject({ id: "snap_one", hits: 1, bytes: 2 ** 40, commands: ["npm ci"] });
  expect(await useSnapshot(test_.db, { ...made, orgId: "org_b" })).toMatchObject({ id: "snap_b", hits: 1 });
  expect((await listSnapshots(test_.db, page("org_a"))).map((row) => row.id)).toEqual(["snap_one"]);
  expect(await findSnapshot(test_.db, "org_b", "snap_one")).toBeUndefined();
  expect(await removeSnapshot(test_.db, "org_b", "snap_one")).toBe(false);
  const seen = await test_.db.queryInOrganization("org_b", "select id from runyard.snapshots");
  expect(seen).toEqual([{ id: "snap_b" }]);
});

test("what is removed is found no more, makes room for another one, and goes once its runner has removed it", async () => {
  const made = snapshotOf("snap_old", { cacheKey: "removed", runnerId: "remover" });
  await addSnapshot(test_.db, made);
  const [held] = await snapshotsOf(test_.db, "remover");
  expect(held).toMatchObject({ id: "snap_old", org_id: "org_a", removed_at: null });
  const used = await useSnapshot(test_.db, made);
  // It was used since it was looked at.
  expect(await removeSnapshot(test_.db, "org_a", "snap_old", held?.last_used_at)).toBe(false);
  // What runs may begin with is not forgotten.
  await forgetSnapshot(test_.db, "org_a", "snap_old");
  expect(await removeSnapshot(test_.db, "org_a", "snap_old", used?.last_used_at)).toBe(true);
  expect(await removeSnapshot(test_.db, "org_a", "snap_old")).toBe(false);
  expect(await useSnapshot(test_.db, made)).toBeUndefined();
  expect(await addSnapshot(test_.db, { ...made, id: "snap_new" })).toBe(true);
  const both = await snapshotsOf(test_.db, "remover");
  expect(new Map(both.map(({ id, removed_at: at }) => [id, at !== null]))).toEqual(
    new Map([
      ["snap_new", false],
      ["snap_old", true],
    ]),
  );
  await forgetSnapshot(test_.db, "org_a", "snap_old");
  expect((await snapshotsOf(test_.db, "remover")).map(({ id }) => id)).toEqual(["snap_new"]);
});
