import { existsSync, lstatSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import type { OverlayMeans } from "../sandbox/overlay.ts";
import { readIfThere } from "../sandbox/run-directory.ts";
import { RunFailure } from "./run-handle.ts";
import { ASIDE, removeSlowly } from "./snapshot-disk.ts";

/** The last file of an overlay's folder: what a workspace is made of. Nothing of an agent's can write it. */
const LAYERS = "layers.json";
const FORMAT = 1;

/** What a workspace that is an overlay lies upon, and what belongs to it. */
export interface Layers {
  /** Folders below the home, the topmost first. */
  readonly lowers: readonly string[];
  /** A folder below the home whose content the agent's home begins with; null: nothing. */
  readonly homeFrom: string | null;
  /** Whose attributes the kernel keeps its notes in: nobody else could read them. */
  readonly notes: OverlayMeans["notes"];
}

export function hasLayers(overlayDir: string): boolean {
  return existsSync(path.join(overlayDir, LAYERS));
}

export function writeLayers(overlayDir: string, layers: Layers): void {
  writeFileSync(path.join(overlayDir, LAYERS), `${JSON.stringify({ format: FORMAT, ...layers })}\n`, { mode: 0o600 });
}

/** Null where there is no overlay. Throws RunFailure for what another version has written. */
export function readLayers(overlayDir: string): Layers | null {
  const text = readIfThere(path.join(overlayDir, LAYERS));
  if (text === null) return null;
  const { format, ...layers } = JSON.parse(text) as Layers & { readonly format: number };
  if (format === FORMAT) return layers;
  const message =
    "Another version of Runyard made the workspace of this run, in a way that this version cannot go on with. Start the run again.";
  throw new RunFailure({ type: "lost", message });
}

/**
 * Removes a folder that workspaces may lie upon: it is moved aside, so that nobody begins with it any more, and then looked for who
 * has begun. Where somebody has, it is put back, and false.
 */
export async function removeLower(
  home: Pick<Home, "runsDir">,
  { dir, id }: { readonly dir: string; readonly id: string },
): Promise<boolean> {
  const place = path.join(dir, id);
  const aside = path.join(dir, `${ASIDE}${id}`);
  await removeRemains({ dir, id });
  if (existsSync(place)) renameSync(place, aside);
  const prefix = `${path.basename(dir)}/${id}/`;
  if (existsSync(aside) && lowersInUse(home).some((lower) => lower.startsWith(prefix))) {
    renameSync(aside, place);
    return false;
  }
  await removeSlowly(aside);
  return true;
}

/** Removes what a server that was killed had moved aside, where that was made anew since: nobody lies upon it. */
async function removeRemains({ dir, id }: { readonly dir: string; readonly id: string }): Promise<void> {
  if (existsSync(path.join(dir, id))) await removeSlowly(path.join(dir, `${ASIDE}${id}`));
}

/** Goes on with removals that a server was killed in: what was moved aside goes, or is put back where a workspace lies upon it. */
export async function finishRemovals(home: Pick<Home, "runsDir">, dir: string): Promise<void> {
  const ids = (existsSync(dir) ? readdirSync(dir) : []).filter((name) => name.startsWith(ASIDE)).map((name) => name.slice(ASIDE.length));
  for (const id of ids) {
    await removeRemains({ dir, id });
    if (!existsSync(path.join(dir, id))) await removeLower(home, { dir, id });
  }
}

/**
 * Removes a snapshot, false where a workspace lies upon it. Whoever copies it meanwhile finds out, because it is moved away before
 * anything of it is removed.
 */
export function removeSnapshotDir(home: Pick<Home, "runsDir" | "snapshotsDir">, id: string): Promise<boolean> {
  return removeLower(home, { dir: home.snapshotsDir, id });
}

/** All folders below a home that workspaces lie upon, by their paths below it. */
export function lowersInUse(home: Pick<Home, "runsDir">): readonly string[] {
  const attempts = below(home.runsDir).flatMap(below);
  // One that is being made counts too.
  return attempts.flatMap((attempt) => ["overlay", "overlay.draft"].flatMap((name) => lowersOf(path.join(attempt, name))));
}

function below(dir: string): string[] {
  return lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(dir).map((name) => path.join(dir, name)) : [];
}

function lowersOf(overlayDir: string): readonly string[] {
  try {
    return (JSON.parse(readFileSync(path.join(overlayDir, LAYERS), "utf8")) as Layers).lowers;
  } catch {
    return []; // gone meanwhile, or not written to its end: then nobody has begun with it
  }
}
