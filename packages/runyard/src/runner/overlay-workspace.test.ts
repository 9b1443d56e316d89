import { mkdirSync, mkdtempSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { killRunDirectory } from "../sandbox/kill.ts";
import { holderLaunch, livingHolder, type Overlay, overlaySupport } from "../sandbox/overlay.ts";
import { isShimAlive, makeRunDirectory, readShimPid } from "../sandbox/run-directory.ts";
import { openLab, waitFor } from "../sandbox/testing/lab.ts";
import { homeAt } from "../home.ts";
import { attemptDirs } from "./directories.ts";
import { livingAttempts } from "./left-behind.ts";
import { leaveOverlay, makeOverlay, overlaysOf, readingWorkspace } from "./overlay-workspace.ts";

const support = await overlaySupport(realpathSync(tmpdir()));
const unavailable = support.available ? null : support.reason;

test("what holds a workspace is ended with its attempt, and found by the next server, also where the process that watched over it was killed", async ({
  skip,
}) => {
  if (!support.available) return skip(unavailable ?? "");
  const lab = await openLab("holder");
  onTestFinished(() => lab.close());
  const runsDir = path.join(lab.root, "runs");
  const root = path.join(runsDir, "run_a", "1");
  for (const dir of ["lower", "runs/run_a/1/workspace", "runs/run_a/1/overlay/upper"])
    mkdirSync(path.join(lab.root, dir), { recursive: true });
  writeFileSync(path.join(lab.root, "lower", "file"), "");
  const overlay: Overlay = { root: lab.root, dir: "runs/run_a/1/overlay", target: "runs/run_a/1/workspace", lowers: ["lower"] };
  const dir = path.join(root, "steps", "holder-1");
  makeRunDirectory(dir, holderLaunch(support.means, overlay, null), {});
  onTestFinished(() => killRunDirectory(dir));
  await lab.spawner.start(dir);
  await waitFor(() => livingHolder(overlay));
  process.kill(readShimPid(dir)?.pid ?? 0, "SIGKILL");
  await waitFor(() => !isShimAlive(dir));
  expect(livingAttempts({ runsDir })).toEqual([root]);
  await leaveOverlay(root);
  expect(livingHolder(overlay)).toBeNull();
  expect(livingAttempts({ runsDir })).toEqual([]);
});

test("a home that is more than one file system has none: nothing could be moved from one to the other", async () => {
  const home = { root: "/", runsDir: "/no-runs-here", snapshotsDir: "/no-snapshots-here", basesDir: "/proc" };
  expect(await overlaysOf(home)).toEqual({ available: false, reason: "/proc lies on another file system than /" });
});

test("a workspace whose layers somebody has removed cannot be looked at, and says why", async ({ skip }) => {
  if (!support.available) return skip(unavailable ?? "");
  const home = homeAt(realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-layers-"))));
  onTestFinished(() => rmSync(home.root, { recursive: true, force: true }));
  const run = { id: "run_a", attempt: 1 };
  const dirs = attemptDirs(home, run);
  for (const dir of [dirs.workspace, path.join(home.basesDir, "base", "tree")]) mkdirSync(dir, { recursive: true });
  makeOverlay(dirs, support.means, { lowers: ["bases/base/tree"], homeFrom: null, files: { "written/here": "" } });
  const look = (): Promise<string[]> => readingWorkspace(home, run, (place) => Promise.resolve(readdirSync(place)));
  expect(await look()).toEqual(["written"]);
  renameSync(path.join(home.basesDir, "base"), path.join(home.basesDir, "moved"));
  const message = "The workspace lies upon bases/base/tree, which was removed by somebody else. Start the run again.";
  await expect(look()).rejects.toMatchObject({ code: "sandbox_not_available", message });
});
