import { existsSync, lstatSync, readdirSync } from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import type { Database } from "../store/database.ts";
import { forgetSnapshot, type HeldSnapshot, removeSnapshot, snapshotsOf } from "../store/snapshots.ts";
import type { RunnerContext } from "./context.ts";
import { finishRemovals, removeSnapshotDir } from "./layers.ts";
import { ASIDE } from "./snapshot-disk.ts";

/** What nobody knows is left alone for so long: whoever made it may be about to make it known. */
const UNKNOWN_MS = 3_600_000;

export interface SnapshotRetention {
  readonly db: Database;
  readonly home: Pick<Home, "runsDir" | "snapshotsDir">;
  readonly runnerId: string;
  readonly now: () => number;
  readonly log: RunnerContext["log"];
}

/** Removes from the disk what nobody finds any more and no workspace lies upon, and what was never made known; gives what remains. */
export async function sweepSnapshots({ db, home, runnerId, now }: SnapshotRetention): Promise<HeldSnapshot[]> {
  // Looked at before the rows: what is made known in between is not taken for unknown.
  const names = existsSync(home.snapshotsDir) ? readdirSync(home.snapshotsDir) : [];
  const held = await snapshotsOf(db, runnerId);
  for (const one of held.filter((each) => each.removed_at !== null)) {
    if (await removeSnapshotDir(home, one.id)) await forgetSnapshot(db, one.org_id, one.id);
  }
  await finishRemovals(home, home.snapshotsDir);
  for (const name of names) {
    const dir = path.join(home.snapshotsDir, name);
    if (!name.startsWith(ASIDE) && !held.some(({ id }) => id === name) && isOlderThan(dir, now() - UNKNOWN_MS))
      await removeSnapshotDir(home, name);
  }
  return held.filter((each) => each.removed_at === null);
}

/** Takes a snapshot away that nobody has used since it was looked at. */
export async function expireSnapshot(
  { db, home, log }: SnapshotRetention,
  { id, org_id: orgId, last_used_at }: HeldSnapshot,
): Promise<void> {
  if (!(await removeSnapshot(db, orgId, id, last_used_at))) return;
  if (await removeSnapshotDir(home, id)) await forgetSnapshot(db, orgId, id);
  log("info", "A snapshot that nobody used was removed", { snapshot: id });
}

function isOlderThan(dir: string, ms: number): boolean {
  const stat = lstatSync(dir, { throwIfNoEntry: false });
  return stat !== undefined && stat.ctimeMs < ms;
}
