import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { homeAt } from "../home.ts";
import { openDatabase } from "../store/database.ts";
import { listSamples } from "../store/metrics.ts";
import type { RunRow } from "../store/run-row.ts";
import { claimRun } from "../store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { waitFor } from "../sandbox/testing/lab.ts";
import { attemptDirs } from "./directories.ts";
import { RunFailure } from "./run-handle.ts";
import { watchUsage } from "./watch-usage.ts";

// Steps without control groups: what lies on the disk is all that is measured of them.
let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, "org_a");
});
afterAll(() => test_?.drop());

async function begun(id: string) {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-watch-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  await queueRun(test_.db, { orgId: "org_a", id, onlyRunner: id });
  const row = (await claimRun(test_.db, { owner: id, runnerId: id, events: [] })) as RunRow;
  const home = homeAt(root);
  const dirs = attemptDirs(home, row);
  for (const dir of [dirs.workspace, dirs.home, dirs.verifyHome]) mkdirSync(dir, { recursive: true });
  const logged: string[] = [];
  const ctx = {
    db: test_.db,
    home,
    leaving: new AbortController().signal,
    log: (_level: string, message: string) => void logged.push(message),
  };
  const samples = () => listSamples(test_.db, "org_a", id);
  return { row, dirs, ctx, logged, samples };
}

const write = (dir: string, kibibytes: number): void => writeFileSync(path.join(dir, "file"), Buffer.alloc(kibibytes << 10, 1));

test("the end of a step is measured: the workspace, its homes, and what the steps have written", async () => {
  const { row, dirs, ctx, logged, samples } = await begun("run_end");
  write(dirs.workspace, 100);
  write(dirs.home, 5_000);
  write(dirs.verifyHome, 200);
  mkdirSync(dirs.step("agent"), { recursive: true });
  write(dirs.step("agent"), 400);
  await watchUsage(ctx, row, { step: "verify-1-0" }).close();
  await watchUsage(ctx, row, { step: "agent" }).close();
  const [verify, agent] = await samples();
  expect(verify).toMatchObject({ step: "verify-1-0", attempt: 1, cpuMs: null, memoryBytes: null, processes: null });
  expect(verify?.diskBytes).toBeGreaterThanOrEqual(5_700 << 10);
  expect(verify?.diskBytes).toBeLessThan(6_000 << 10);
  expect(agent?.step).toBe("agent");
  expect(logged).toEqual([]);
});

test("a step that outlives the server has no end yet, and somebody else's run gets nothing", async () => {
  const { row, dirs, ctx, logged, samples } = await begun("run_left");
  write(dirs.workspace, 1);
  await watchUsage({ ...ctx, leaving: AbortSignal.abort() }, row, { step: "agent" }).close();
  await watchUsage(ctx, { ...row, owner: "somebody" }, { step: "agent" }).close();
  expect(await samples()).toEqual([]);
  await watchUsage(ctx, row, { step: "agent" }).close();
  expect(await samples()).toHaveLength(1);
  expect(logged).toEqual([]);
});

test("a database that is away costs a sample, and nothing else", async () => {
  const { row, dirs, ctx, logged, samples } = await begun("run_away");
  write(dirs.workspace, 1);
  const away = openDatabase({ connectionString: "postgres://nobody@127.0.0.1:1/none", applicationName: "test" });
  await watchUsage({ ...ctx, db: away }, row, { step: "agent" }).close();
  await away.close();
  expect(logged).toEqual(["What a run uses could not be written down"]);
  expect(await samples()).toEqual([]);
});

test("a step that takes more of the disk than it may is told of, with how much and which limit", async () => {
  const { row, dirs, ctx } = await begun("run_full");
  const usage = watchUsage(ctx, row, { step: "agent", diskBytes: 8 << 20 });
  mkdirSync(dirs.step("agent"), { recursive: true });
  write(dirs.step("agent"), 6 << 10); // what it says counts too
  write(dirs.workspace, 4 << 10);
  await waitFor(() => usage.full.aborted);
  await usage.close();
  expect(usage.full.reason).toBeInstanceOf(RunFailure);
  const { error } = usage.full.reason as RunFailure;
  expect(error.type).toBe("disk-full");
  expect(error.message).toMatch(/^The run was ended because it took 0\.01 GB of the disk and more: its limit is 0\.01 GB \(diskBytes\)\./);
});

test("too many files are told of, by their number", async () => {
  const { row, dirs, ctx } = await begun("run_files");
  const usage = watchUsage(ctx, row, { step: "agent", diskBytes: 1 << 20 });
  for (let n = 0; n < 600; n += 1) writeFileSync(path.join(dirs.workspace, `${n}`), "");
  await usage.close();
  expect((usage.full.reason as RunFailure).error.message).toMatch(/because it took 257 files and directories and more: its limit is 256 /);
});
