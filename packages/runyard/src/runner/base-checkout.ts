import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import { identifyProcess } from "../process-identity.ts";
import { diskUsage } from "../sandbox/disk-usage.ts";
import { readIfThere } from "../sandbox/run-directory.ts";
import { finishRemovals, removeLower } from "./layers.ts";
import { ASIDE, removeSlowly } from "./snapshot-disk.ts";

type Place = Pick<Home, "basesDir" | "runsDir">;

/** Files from which on a checkout takes longer than to begin with one that is there. */
const LARGE_FILES = 1_000;
/** Checkouts that are kept, whatever their age: each is as large as the repository's files. */
const MOST_KEPT = 16;
/** Goes up with every change of what a base is made of. */
const FORMAT = 2;

/** A checkout of a commit that workspaces lie upon: nobody has worked in it, and nobody writes in it. */
export interface BaseCheckout {
  readonly id: string;
  /** Below the home. */
  readonly tree: string;
  /** What the checkout said of what it has not got. */
  readonly said: string;
}

/** What a base is of. */
export interface BaseOf {
  readonly cachePath: string;
  readonly commit: string;
}

/** Of this boot only: nobody waits for a checkout to be on the disk, so that of one that was made before, a machine without power may have lost parts. */
export function baseId({ cachePath, commit }: BaseOf, boot = identifyProcess(process.pid)?.bootId): string {
  return createHash("sha256").update(`${FORMAT}\n${boot}\n${cachePath}\n${commit}`).digest("hex").slice(0, 32);
}

/** The base of a commit; null: there is none. From now on it counts as used. */
export function findBase(home: Place, of: BaseOf): BaseCheckout | null {
  const id = baseId(of);
  const dir = path.join(home.basesDir, id);
  if (!existsSync(path.join(dir, "tree"))) return null;
  const now = new Date();
  utimesSync(dir, now, now);
  return baseAt(home, id);
}

function baseAt(home: Place, id: string): BaseCheckout {
  return { id, tree: treeOf(home, id), said: readIfThere(path.join(home.basesDir, id, "said")) ?? "" };
}

/** The base among layers that a workspace was begun upon, whether others would still begin with it or not. */
export function baseAmong(home: Place, lowers: readonly string[]): BaseCheckout | null {
  const id = lowers.map((lower) => path.basename(path.dirname(lower))).find((each, at) => lowers[at] === treeOf(home, each));
  return id === undefined ? null : baseAt(home, id);
}

function treeOf(home: Place, id: string): string {
  return path.join(path.basename(home.basesDir), id, "tree");
}

/** Whether a checkout that nobody has worked in is large enough to be kept as a base. */
export function isLarge(workspace: string): boolean {
  return indexedFiles(path.join(workspace, ".git", "index")) >= LARGE_FILES;
}

/** How many files the index of a repository names: its header says so. */
function indexedFiles(index: string): number {
  if (!existsSync(index)) return 0;
  const header = Buffer.alloc(12);
  const file = openSync(index, "r");
  try {
    return readSync(file, header) === 12 && header.toString("latin1", 0, 4) === "DIRC" ? header.readUInt32BE(8) : 0;
  } finally {
    closeSync(file);
  }
}

/**
 * Makes a fresh checkout, in which nobody has worked, the base of its commit, by a rename, and leaves an empty folder in its place. Where there
 * is one already, the checkout is removed. Whose branch it was made on is forgotten.
 */
export async function becomeBase(home: Place, workspace: string, { said, ...of }: BaseOf & { readonly said: string }): Promise<void> {
  const dir = path.join(home.basesDir, baseId(of));
  const git = path.join(workspace, ".git");
  for (const name of ["logs", "refs/heads/runyard"]) rmSync(path.join(git, name), { recursive: true, force: true });
  writeFileSync(path.join(git, "HEAD"), `${of.commit}\n`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(path.join(dir, "said"), said, { mode: 0o600 });
  try {
    renameSync(workspace, path.join(dir, "tree"));
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    // At once: what a server that was killed had half removed would be taken for a checkout.
    const aside = `${workspace}${ASIDE}`;
    renameSync(workspace, aside);
    mkdirSync(workspace, { mode: 0o700 });
    return removeSlowly(aside);
  }
  mkdirSync(workspace, { mode: 0o700 });
}

/** What a workspace on a base begins with above it: the branch of the run. */
export function branchFiles({ commit, branch }: { readonly commit: string; readonly branch: string }): Record<string, string> {
  return { ".git/HEAD": `ref: refs/heads/${branch}\n`, [`.git/refs/heads/${branch}`]: `${commit}\n` };
}

/** Whether a snapshot holds nothing, at a base's commit, that this commit does not ignore: that was looked at before. */
export function isKnownToFit(home: Place, base: BaseCheckout, snapshot: string): boolean {
  return existsSync(path.join(home.basesDir, base.id, fits(snapshot)));
}

export function noteFit(home: Place, base: BaseCheckout, snapshot: string): void {
  const dir = path.join(home.basesDir, base.id);
  if (existsSync(dir)) writeFileSync(path.join(dir, fits(snapshot)), "", { mode: 0o600 });
}

function fits(snapshot: string): string {
  return `fits-${snapshot}`;
}

/** A base, for who decides what is to be removed. */
export interface HeldBase {
  readonly id: string;
  readonly usedMs: number;
  readonly bytes: number | null;
}

/** Removes what was moved aside, and bases beyond the number that is kept, the longest unused first; gives what remains. */
export async function sweepBases(
  home: Place,
  { signal, measures }: { readonly signal: AbortSignal; readonly measures: boolean },
): Promise<HeldBase[]> {
  await finishRemovals(home, home.basesDir);
  const names = existsSync(home.basesDir) ? readdirSync(home.basesDir) : [];
  const held = names
    .filter((each) => !each.startsWith(ASIDE))
    .map((id) => ({ id, usedMs: statSync(path.join(home.basesDir, id), { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .toSorted((a, b) => b.usedMs - a.usedMs);
  for (const { id } of held.slice(MOST_KEPT)) await removeUnused(home, id);
  const left = held.filter(({ id }) => existsSync(path.join(home.basesDir, id)));
  const bases: HeldBase[] = [];
  for (const each of left)
    bases.push({ ...each, bytes: measures ? (await diskUsage({ paths: [path.join(home.basesDir, each.id)], signal })).bytes : null });
  return bases;
}

/** Removes a base that no workspace lies upon; false where one does. */
export async function removeUnused(home: Place, id: string): Promise<boolean> {
  return removeLower(home, { dir: home.basesDir, id });
}
