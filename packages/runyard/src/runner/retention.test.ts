import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Retention } from "../core/retention.ts";
import { keptRecordings } from "../gateway/kept-recordings.ts";
import { digDown } from "../sandbox/testing/dig-down.ts";
import { endedRuns, whileEnded } from "../store/ended-runs.ts";
import { claimRun, commitStep } from "../store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { writeLayers } from "./layers.ts";
import { removeOld } from "./retention.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, "org_a");
});
afterAll(() => test_?.drop());

const DAY_MS = 86_400_000;
const NOTHING: Retention = { workspaceMs: null, recordingMs: null, snapshotMs: null, diskBytes: null };

/** A run that has ended, `days` ago. */
async function ended(id: string, days: number): Promise<void> {
  await queueRun(test_.db, { orgId: "org_a", id });
  const run = await claimRun(test_.db, { owner: "o", runnerId: "r", events: [] });
  if (run?.id !== id) throw new Error(`${run?.id} was claimed`);
  await commitStep(test_.db, { run, change: { status: "completed" } });
  await test_.db.inOrganization("org_a", (tx) =>
    tx.query("update runyard.runs set finished_at = now() - make_interval(days => $2) where id = $1", [id, days]),
  );
}

/** A home with what runs left, and what is left of it after a look. */
function openHome() {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-retention-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const [runsDir, gatewayDir] = [path.join(root, "runs"), path.join(root, "gateway")];
  const recordings = keptRecordings(gatewayDir);
  const put = (file: string, bytes = 10): void => {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, Buffer.alloc(bytes));
  };
  return {
    runsDir,
    /** A checkout and a snapshot that workspaces may lie upon, long unused. */
    keep(id: string): void {
      put(path.join(root, "bases", id, "tree", "file"));
      utimesSync(path.join(root, "bases", id), 1, 1);
    },
    lay(id: string, upon: string): void {
      const dir = path.join(runsDir, id, "1", "overlay");
      mkdirSync(dir, { recursive: true });
      writeLayers(dir, { lowers: [`bases/${upon}/tree`], homeFrom: null, notes: "user" });
    },
    bases: (): string[] => readdirSync(path.join(root, "bases")).toSorted(),
    leave(id: string, bytes?: number): void {
      put(path.join(runsDir, id, "1", "workspace", "sub", "file"), bytes);
      put(path.join(gatewayDir, "runs", id, "1-a.request.json"));
      put(path.join(gatewayDir, "runs", id, "exchanges.ndjson"));
    },
    async look(retention: Partial<Retention>): Promise<{ workspaces: string[]; recordings: string[]; journals: string[] }> {
      const home = { runsDir, basesDir: path.join(root, "bases"), snapshotsDir: path.join(root, "snapshots") };
      const options = { home, runnerId: "r", recordings, now: Date.now, log: () => undefined };
      await removeOld({ db: test_.db, retention: { ...NOTHING, ...retention }, ...options }, new AbortController().signal);
      const all = readdirSync(path.join(gatewayDir, "runs"));
      const journals = all.filter((id) => existsSync(path.join(gatewayDir, "runs", id, "exchanges.ndjson")));
      return { workspaces: readdirSync(runsDir).toSorted(), recordings: recordings.runs().toSorted(), journals: journals.toSorted() };
    },
  };
}

test("what ended long enough ago goes; what lives, or is nobody's, stays, and so do the journals of usage", async () => {
  const home = openHome();
  await ended("run_old", 15);
  await ended("run_new", 13);
  await queueRun(test_.db, { orgId: "org_a", id: "run_waits", onlyRunner: "away" });
  for (const id of ["run_old", "run_new", "run_waits", "somebody-elses"]) home.leave(id);
  const all = ["run_new", "run_old", "run_waits", "somebody-elses"];
  expect(await home.look({})).toEqual({ workspaces: all, recordings: all, journals: all });
  const left = ["run_new", "run_waits", "somebody-elses"];
  expect(await home.look({ workspaceMs: 14 * DAY_MS, recordingMs: 30 * DAY_MS })).toEqual({
    workspaces: left,
    recordings: all,
    journals: all,
  });
  expect(await home.look({ workspaceMs: 14 * DAY_MS, recordingMs: 14 * DAY_MS })).toEqual({
    workspaces: left,
    recordings: left,
    journals: all,
  });
});

test("what was moved aside by a server that was killed goes too, and so does what an agent took all rights away from", async () => {
  const home = openHome();
  await ended("run_locked", 1);
  home.leave("run_locked");
  chmodSync(path.join(home.runsDir, "run_locked", "1", "workspace", "sub"), 0);
  home.leave(".gone-run_before");
  const { workspaces } = await home.look({ workspaceMs: 0 });
  expect(workspaces).toEqual([]);
});

test("what an agent left deeper than a path can be long goes too, and keeps nobody else's from going", async () => {
  const home = openHome();
  for (const id of ["run_a_deep", "run_b_plain"]) {
    await ended(id, 1);
    home.leave(id);
  }
  digDown(path.join(home.runsDir, "run_a_deep", "1", "workspace"), { levels: 40, last: "file", bytes: 10 });
  const { workspaces } = await home.look({ workspaceMs: 0 });
  expect(workspaces).toEqual([]);
});

test.skipIf(process.getuid?.() !== 0)("what cannot be removed at all keeps nobody else's from going", async ({ skip }) => {
  const home = openHome();
  for (const id of ["run_a_stuck", "run_b_other"]) {
    await ended(id, 1);
    home.leave(id);
  }
  home.leave(".gone-run_stuck");
  const stuck = path.join(home.runsDir, ".gone-run_stuck", "1", "workspace", "sub", "file");
  if (spawnSync("chattr", ["+i", stuck]).status !== 0) skip("this disk has no files that nobody may remove");
  onTestFinished(() => void spawnSync("chattr", ["-i", stuck]));
  expect((await home.look({ workspaceMs: 0 })).workspaces).toEqual([".gone-run_stuck"]);
  spawnSync("chattr", ["-i", stuck]);
  expect((await home.look({})).workspaces).toEqual([]);
});

test("what still has a process stays until that has ended, however old it is", async () => {
  const home = openHome();
  for (const id of ["run_alive", "run_dead"]) {
    await ended(id, 15);
    home.leave(id);
  }
  const step = path.join(home.runsDir, "run_alive", "1", "steps", "shell");
  mkdirSync(step, { recursive: true });
  execFileSync("mkfifo", [path.join(step, "alive")]);
  // As the process does that watches over a step: it lives for as long as it holds this.
  const held = openSync(path.join(step, "alive"), "r+");
  expect((await home.look({ workspaceMs: DAY_MS })).workspaces).toEqual(["run_alive"]);
  closeSync(held);
  expect((await home.look({ workspaceMs: DAY_MS })).workspaces).toEqual([]);
});

test("of what is too much for the disk the oldest goes first", async () => {
  const home = openHome();
  const MB = 1_000_000;
  await ended("run_first", 3);
  await ended("run_second", 2);
  await ended("run_third", 1);
  for (const id of ["run_first", "run_second", "run_third"]) home.leave(id, 2 * MB);
  expect((await home.look({ diskBytes: 7 * MB })).workspaces).toHaveLength(3);
  expect(await home.look({ diskBytes: 5 * MB })).toMatchObject({
    workspaces: ["run_second", "run_third"],
    recordings: ["run_first", "run_second", "run_third"],
  });
});

test("what a workspace lies upon goes behind it: by age, by the budget, and by number", async () => {
  const home = openHome();
  await ended("run_upon", 2);
  home.leave("run_upon");
  home.lay("run_upon", "used");
  for (const id of ["used", "unused"]) home.keep(id);
  await home.look({ snapshotMs: DAY_MS });
  expect(home.bases()).toEqual(["used"]);
  await home.look({ diskBytes: 1 });
  expect([home.bases(), readdirSync(home.runsDir)]).toEqual([[], []]);

  await ended("run_many", 2);
  home.lay("run_many", "oldest");
  home.keep("oldest");
  for (let at = 0; at < 20; at += 1) {
    home.keep(`base-${at}`);
    utimesSync(path.join(home.runsDir, "..", "bases", `base-${at}`), 100 + at, 100 + at);
  }
  await home.look({});
  expect(home.bases()).toHaveLength(17);
  expect(home.bases()).toEqual(expect.arrayContaining(["oldest", "base-4", "base-19"]));
});

test("what a server that was killed had half removed goes, also where runs have made it anew meanwhile; what lies upon that keeps it", async () => {
  const home = openHome();
  await ended("run_half", 2);
  home.leave("run_half");
  home.lay("run_half", "again");
  for (const id of ["again", ".gone-again", "unused", ".gone-unused", ".gone-alone"]) home.keep(id);
  await home.look({});
  expect(home.bases()).toEqual(["again", "unused"]);
  home.keep(".gone-unused");
  await home.look({ snapshotMs: DAY_MS, workspaceMs: DAY_MS });
  expect([home.bases(), readdirSync(home.runsDir)]).toEqual([["again"], []]);
  // Moved aside by a server that was killed before it had looked who lies upon it.
  home.lay("run_half", "used");
  home.keep(".gone-used");
  await home.look({});
  expect(home.bases()).toEqual(["again", "used"]);
});

test("whoever continues a run in the meantime keeps its workspace", async () => {
  await ended("run_continued", 1);
  const [run] = await endedRuns(test_.db, ["run_continued", "run_unknown"]);
  if (run === undefined) throw new Error("it has not ended");
  const did: string[] = [];
  // Somebody is at it, and has not committed yet.
  await test_.db.inOrganization("org_a", async (tx) => {
    await tx.query("select 1 from runyard.runs where id = $1 for update", [run.id]);
    expect(await whileEnded(test_.db, run, () => did.push("locked"))).toBe(false);
  });
  expect(await whileEnded(test_.db, run, () => did.push("free"))).toBe(true);
  await test_.db.inOrganization("org_a", (tx) => tx.query("update runyard.runs set finished_at = now() where id = $1", [run.id]));
  expect(await whileEnded(test_.db, run, () => did.push("ended again"))).toBe(false);
  expect(did).toEqual(["free"]);
});
