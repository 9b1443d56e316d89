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
import { attemptDirs } from "./directories.ts";
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

test("the end of a step is measured: its workspace, and the home that it had", async () => {
  const { row, dirs, ctx, logged, samples } = await begun("run_end");
  write(dirs.workspace, 100);
  write(dirs.home, 5_000);
  write(dirs.verifyHome, 200);
  await watchUsage(ctx, row, { step: "verify-1-0", home: dirs.verifyHome }).close();
  await watchUsage(ctx, row, { step: "agent" }).close();
  const [verify, agent] = await samples();
  expect(verify).toMatchObject({ step: "verify-1-0", attempt: 1, cpuMs: null, memoryBytes: null, processes: null });
  expect(verify?.diskBytes).toBeGreaterThanOrEqual(300 << 10);
  expect(verify?.diskBytes).toBeLessThan(5_000 << 10);
  expect(agent?.step).toBe("agent");
  expect(agent?.diskBytes).toBeGreaterThanOrEqual(5_100 << 10);
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
