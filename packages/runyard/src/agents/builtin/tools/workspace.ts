import { lstat, opendir, realpath } from "node:fs/promises";
import path from "node:path";
import { ToolProblem } from "./problem.ts";

/** Directories that hold no source: never listed, never searched. */
const SKIPPED = new Set([".git", "node_modules"]);

/** The workspace's real path; throws a sentence when it is not a directory. */
export async function openWorkspace(cwd: string): Promise<string> {
  if (!path.isAbsolute(cwd)) throw new ToolProblem(`The working directory must be an absolute path, not ${cwd}`);
  const root = await realpath(cwd).catch(() => undefined);
  if (root === undefined || !(await lstat(root)).isDirectory()) {
    throw new ToolProblem(`The working directory ${cwd} does not exist, or is not a directory`);
  }
  return root;
}

/**
 * The absolute path of a file that need not exist yet. Refuses to leave the workspace and the `further` folders that
 * belong to it, through symbolic links as well: a help for the model, the boundary is the sandbox.
 */
export async function resolveInside(root: string, given: string, further: readonly string[] = []): Promise<string> {
  if (given.includes("\0")) throw new ToolProblem("A path must not contain a NUL character.");
  const wanted = path.resolve(root, given);
  const real = await realPathOfExistingPart(wanted, given);
  const folders = [root, ...further];
  if (!folders.some((folder) => isInside(folder, real))) {
    throw new ToolProblem(`${given} is outside of the workspace ${folders.join(", ")}: only files in the workspace can be used.`);
  }
  return real;
}

/** The path relative to the workspace, as people and models read it. */
export function relativeName(root: string, file: string): string {
  return path.relative(root, file) || ".";
}

function isInside(root: string, file: string): boolean {
  return file === root || file.startsWith(root.endsWith(path.sep) ? root : root + path.sep);
}

async function realPathOfExistingPart(wanted: string, given: string): Promise<string> {
  const missing: string[] = [];
  for (let part = wanted; ; part = path.dirname(part)) {
    const real = await realpath(part).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (real !== undefined) return path.join(real, ...missing);
    const isLink = await lstat(part).then(
      (stat) => stat.isSymbolicLink(),
      () => false,
    );
    // Writing "through" a link whose target is missing would make a file wherever it points to.
    if (isLink) throw new ToolProblem(`${given} goes through a symbolic link whose target does not exist.`);
    missing.unshift(path.basename(part));
  }
}

export interface Entry {
  readonly file: string;
  readonly isDirectory: boolean;
  /** False for links, sockets and the like, too. */
  readonly isFile: boolean;
}

/** Everything below a directory, level by level and sorted; symbolic links are named but not followed. */
export async function* walk(directory: string): AsyncGenerator<Entry> {
  const queue = [directory];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const entry of await sortedEntries(next)) {
      if (entry.isDirectory) queue.push(entry.file);
      yield entry;
    }
  }
}

async function sortedEntries(directory: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  const opened = await opendir(directory).catch(() => undefined);
  if (opened === undefined) return entries;
  for await (const entry of opened) {
    if (SKIPPED.has(entry.name)) continue;
    entries.push({ file: path.join(directory, entry.name), isDirectory: entry.isDirectory(), isFile: entry.isFile() });
  }
  return entries.sort((a, b) => (a.file < b.file ? -1 : 1));
}
