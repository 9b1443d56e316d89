import { existsSync, mkdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import type { Home } from "../home.ts";
import { removeTree } from "../sandbox/remove-tree.ts";

/** What was moved aside, in an instant, and is removed at leisure. */
export const ASIDE = ".gone-";

type Place = Pick<Home, "snapshotsDir">;

/** The folder of a snapshot: whole or not there. */
export function snapshotDir(home: Place, id: string): string {
  return path.join(home.snapshotsDir, id);
}

/** Puts what was made into its place, at once; does nothing where it is there already. */
export function placeSnapshot(home: Place, id: string, made: string): void {
  if (existsSync(snapshotDir(home, id))) return;
  mkdirSync(home.snapshotsDir, { recursive: true, mode: 0o700 });
  renameSync(made, snapshotDir(home, id));
}

/** Lets others work meanwhile, but where a command took the right to remove its files away. */
export async function removeSlowly(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true }).catch(() => removeTree(dir));
}
