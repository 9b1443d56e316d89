import { existsSync, mkdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { RunyardError } from "@runyard/sdk/contract";
import type { Home } from "../home.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import {
  enterWords,
  holderFile,
  holderLaunch,
  livingHolder,
  type Overlay,
  type OverlayMeans,
  overlaySupport,
  seenFromOutside,
  whileShown,
} from "../sandbox/overlay.ts";
import { removeTree } from "../sandbox/remove-tree.ts";
import { isShimAlive, makeRunDirectory, readExitCode, untilInRunDirectory } from "../sandbox/run-directory.ts";
import { NotStartedError } from "../sandbox/spawner.ts";
import { readStepOutput } from "../sandbox/step.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { type AttemptDirs, attemptDirs, HOLDER, stepsOf } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { hasLayers, type Layers, readLayers, writeLayers } from "./layers.ts";
import { RunFailure } from "./run-handle.ts";

const START_TIMEOUT_MS = 10_000;
/** Where a home is copied first, of any size. */
const COPY_TIMEOUT_MS = 600_000;

/** Whether an attempt's workspace is an overlay, so that its folder is empty for whoever looks at it from outside. */
export function isOverlay(dirs: Pick<AttemptDirs, "overlay">): boolean {
  return hasLayers(dirs.overlay);
}

/** The folder in which what was written in a workspace is found from outside. */
export function writtenIn(dirs: AttemptDirs): string {
  return isOverlay(dirs) ? path.join(dirs.overlay, "upper") : dirs.workspace;
}

/** What overlays of a home take; null, with the reason: there are none. Only the driver `bwrap` enters them. */
export async function overlayMeans(ctx: Pick<RunnerContext, "home">, row: Pick<RunRow, "spec">): Promise<OverlayMeans | null> {
  if (row.spec.sandboxDriver !== "bwrap") return null;
  const support = await overlaysOf(ctx.home);
  return support.available ? support.means : null;
}

/** Whether a home can have overlays, and why not. */
export async function overlaysOf(home: Pick<Home, "root" | "runsDir" | "snapshotsDir" | "basesDir">): ReturnType<typeof overlaySupport> {
  const root = realpathSync(home.root);
  const { dev } = statSync(root);
  for (const dir of [home.runsDir, home.snapshotsDir, home.basesDir].filter((each) => existsSync(each))) {
    if (realpathSync(dir) !== path.join(root, path.basename(dir))) return { available: false, reason: `${dir} leads to another place` };
    if (statSync(dir).dev !== dev) return { available: false, reason: `${dir} lies on another file system than ${root}` };
  }
  return overlaySupport(root);
}

/** Makes the folder of an attempt's overlay, whole or not at all. `files`: what is there from the beginning, above the layers, by its path. */
export function makeOverlay(
  dirs: AttemptDirs,
  { notes }: Pick<OverlayMeans, "notes">,
  { files, ...layers }: Omit<Layers, "notes"> & { readonly files: Readonly<Record<string, string>> },
): void {
  if (isOverlay(dirs)) return;
  const draft = `${dirs.overlay}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(path.join(draft, "upper"), { recursive: true, mode: 0o700 });
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(draft, "upper", name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  writeLayers(draft, { ...layers, notes });
  renameSync(draft, dirs.overlay);
}

/** Makes an overlay upon what an attempt that has ended left in its own; false where that was a plain folder. */
export function stackOverlay(home: Pick<Home, "root">, dirs: AttemptDirs, upon: AttemptDirs): boolean {
  const layers = readLayers(upon.overlay);
  if (layers === null) return false;
  const { notes, lowers } = layers;
  makeOverlay(
    dirs,
    { notes },
    { lowers: [path.relative(home.root, path.join(upon.overlay, "upper")), ...lowers], homeFrom: null, files: {} },
  );
  return true;
}

function overlayAt(home: Pick<Home, "root">, dirs: Pick<AttemptDirs, "root">, { lowers }: Pick<Layers, "lowers">): Overlay {
  const place = path.relative(home.root, dirs.root);
  return { root: realpathSync(home.root), dir: `${place}/overlay`, target: `${place}/workspace`, lowers };
}

/** Attempts whose overlay is being opened or closed, by their folders: one at a time. */
const turns = new Map<string, Promise<unknown>>();

function inTurn<T>(root: string, work: () => Promise<T>): Promise<T> {
  const mine = (turns.get(root) ?? Promise.resolve()).then(work, work);
  const settled = mine.catch(() => undefined).finally(() => turns.get(root) === settled && turns.delete(root));
  turns.set(root, settled);
  return mine;
}

/**
 * Makes sure that somebody holds the overlay of an attempt, and returns the words by which a sandbox is made inside of it; none where
 * its workspace is a plain folder. Throws RunFailure where that cannot be, `lost` where its holder died beside a living step: two mounts of one folder
 * would be undefined.
 */
export async function enterOverlay(
  ctx: Pick<RunnerContext, "home" | "spawner">,
  row: Pick<RunRow, "id" | "attempt">,
): Promise<readonly string[]> {
  const dirs = attemptDirs(ctx.home, row);
  return inTurn(dirs.root, async () => {
    const layers = readLayers(dirs.overlay);
    if (layers === null) return [];
    const support = await overlaysOf(ctx.home);
    if (!support.available || support.means.notes !== layers.notes) {
      const why = support.available ? "another user of this machine made it" : support.reason;
      throw new RunFailure({
        type: "sandbox-unavailable",
        message: `The workspace is an overlay that cannot be mounted here any more: ${why}.`,
      });
    }
    const overlay = overlayAt(ctx.home, dirs, layers);
    if (livingHolder(overlay) === null) await startHolder(ctx, { dirs, overlay, layers, means: support.means });
    return enterWords(support.means, holderFile(overlay));
  });
}

async function startHolder(
  ctx: Pick<RunnerContext, "home" | "spawner">,
  { dirs, overlay, layers, means }: { dirs: AttemptDirs; overlay: Overlay; layers: Layers; means: OverlayMeans },
): Promise<void> {
  const steps = stepsOf(dirs.root);
  // One that was being started when a server was killed may have mounted it already.
  for (const dir of steps.filter(isHolder)) await killRunDirectory(dir);
  if (steps.some((dir) => !isHolder(dir) && isShimAlive(dir))) {
    const message = "The process that holds the workspace died while something was at work in it.";
    throw new RunFailure({ type: "lost", message }, null, true);
  }
  const missing = missingLower(ctx.home, layers);
  if (missing !== undefined) throw new RunFailure({ type: "lost", message: goneMessage(missing) });
  const copies = layers.homeFrom === null ? null : { from: layers.homeFrom, to: path.relative(ctx.home.root, dirs.home) };
  const dir = dirs.step(`${HOLDER}-${steps.filter(isHolder).length + 1}`);
  makeRunDirectory(dir, holderLaunch(means, overlay, copies), { step: path.basename(dir) });
  try {
    await ctx.spawner.start(dir);
    await untilHeld(dir, { overlay, attempt: dirs.root, timeoutMs: copies === null ? START_TIMEOUT_MS : COPY_TIMEOUT_MS });
  } catch (error) {
    await killRunDirectory(dir);
    if (!(error instanceof NotStartedError)) throw error;
    throw new RunFailure({ type: "lost", message: "The process that holds the workspace was ended before it had begun." }, null, true);
  }
}

/** A layer that is not there any more. */
function missingLower(home: Pick<Home, "root">, { lowers }: Pick<Layers, "lowers">): string | undefined {
  return lowers.find((lower) => !existsSync(path.join(home.root, lower)));
}

function goneMessage(lower: string): string {
  return `The workspace lies upon ${lower}, which was removed by somebody else. Start the run again.`;
}

function untilHeld(
  dir: string,
  { overlay, attempt, timeoutMs }: { readonly overlay: Overlay; readonly attempt: string; readonly timeoutMs: number },
): Promise<void> {
  const notHeld = (said: string): RunFailure => {
    const message = `The workspace could not be mounted: ${said.trim() || "nothing was said"}`;
    return new RunFailure(diskFullError(said, attempt) ?? { type: "sandbox-unavailable", message });
  };
  return untilInRunDirectory(dir, { timeoutMs, late: () => notHeld("it takes too long") }, () => {
    if (existsSync(path.join(dir, "ready")) && livingHolder(overlay) !== null) return true;
    if (readExitCode(dir) !== null || !isShimAlive(dir)) throw notHeld(readStepOutput(dir, 500).stderr);
    return false;
  });
}

function isHolder(stepDir: string): boolean {
  return path.basename(stepDir).startsWith(`${HOLDER}-`);
}

/** Ends the holder of an attempt in which nothing is at work any more; a shell that a person has open keeps it. */
export async function leaveOverlay(root: string): Promise<void> {
  await inTurn(root, async () => {
    const steps = stepsOf(root);
    if (steps.some((dir) => !isHolder(dir) && isWanted(dir))) return;
    const held = isHeld(root);
    for (const dir of steps.filter(isHolder)) if (held || isShimAlive(dir)) await killRunDirectory(dir);
  });
}

/** Whether somebody holds the overlay of an attempt, by its root: who does may live longer than its shim. */
export function isHeld(root: string): boolean {
  return livingHolder({ root, dir: "overlay" }) !== null;
}

/** Whether what holds an attempt's workspace is dead: a step that fails then may not have begun. */
export function hasLostHolder(home: Home, run: Pick<RunRow, "id" | "attempt">): boolean {
  const dirs = attemptDirs(home, run);
  return isOverlay(dirs) && !isHeld(dirs.root);
}

/** Takes an overlay away in which nothing was done yet. */
export async function dropOverlay(dirs: AttemptDirs): Promise<void> {
  await leaveOverlay(dirs.root);
  removeTree(dirs.overlay);
}

/** A shell is wanted from the moment on that it was asked for. */
function isWanted(stepDir: string): boolean {
  return isShimAlive(stepDir) || (path.basename(stepDir).startsWith("shell-") && !existsSync(path.join(stepDir, "started")));
}

/** Calls `use` with the path at which an attempt's workspace is read from outside: its folder, or where its overlay is seen. */
export async function readingWorkspace<T>(home: Home, run: Pick<RunRow, "id" | "attempt">, use: (place: string) => Promise<T>): Promise<T> {
  const dirs = attemptDirs(home, run);
  const layers = readLayers(dirs.overlay);
  if (layers === null) return use(dirs.workspace);
  const overlay = overlayAt(home, dirs, layers);
  const holder = livingHolder(overlay);
  if (holder !== null) return use(seenFromOutside(holder, overlay));
  const support = await overlaysOf(home);
  if (!support.available) {
    const message = `The workspace is an overlay that cannot be mounted here any more: ${support.reason}. \`runyard doctor\` says what it takes.`;
    throw new RunyardError("sandbox_not_available", message);
  }
  const missing = missingLower(home, layers);
  if (missing !== undefined) throw new RunyardError("sandbox_not_available", goneMessage(missing));
  return whileShown(support.means, overlay, use);
}

/** A path on the overlay of an attempt, as long as it is held: files that are open there are on no other file system. */
export function placesOnOverlay(home: Pick<Home, "root">, dirs: AttemptDirs): string[] {
  const layers = readLayers(dirs.overlay);
  if (layers === null) return [];
  const overlay = overlayAt(home, dirs, layers);
  const holder = livingHolder(overlay);
  return holder === null ? [] : [seenFromOutside(holder, overlay)];
}
