import { copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { git, GitError, type GitHost } from "./host-git.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const DRAFT = ".draft-";

/**
 * Settings of every repository of ours: its objects are borrowed, so nothing may be tidied away; and big
 * files are handled as streams, so that one cannot fill the memory.
 */
const SETTINGS = "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[core]\n\tbigFileThreshold = 32m\n";

/** Makes a bare repository without a template, whose object names are as long as `example`. */
async function initBare(host: GitHost, dir: string, example: string): Promise<void> {
  const format = example.length === 64 ? "sha256" : "sha1";
  await git(host, ["init", "--quiet", "--bare", "--template=", `--object-format=${format}`, dir]);
  await mkdir(path.join(dir, "objects", "info"), { recursive: true });
  await writeFile(path.join(dir, "config"), SETTINGS, { flag: "a" });
}

/** A new directory for something unfinished; those that a killed server left behind are removed a day later. */
async function makeDraft(parentDir: string): Promise<string> {
  await mkdir(parentDir, { recursive: true, mode: 0o700 });
  await removeOld(parentDir, (name) => name.startsWith(DRAFT));
  return mkdtemp(path.join(parentDir, DRAFT));
}

/** Removes entries of a directory that nobody has touched for so long. */
async function removeOld(dir: string, isCandidate: (name: string) => boolean, ageMs = DAY_MS): Promise<void> {
  for (const name of (await readdir(dir)).filter(isCandidate)) {
    const file = path.join(dir, name);
    const found = await stat(file).catch(() => null);
    if (found !== null && Date.now() - found.mtimeMs > ageMs) await rm(file, { recursive: true, force: true });
  }
}

/**
 * Has git bring packs into a repository of ours, and removes what it does not finish: at once where there was no room for
 * it, since the room is needed; else once it is older than any command of git may be. As large as a repository, these are.
 */
export async function bringingPacks<T>(gitDir: string, work: () => Promise<T>): Promise<T> {
  const dir = path.join(gitDir, "objects", "pack");
  const isUnfinished = (name: string): boolean => name.startsWith("tmp_");
  await removeOld(dir, isUnfinished, HOUR_MS);
  const before = new Set(await readdir(dir));
  try {
    return await work();
  } catch (error) {
    if (isDiskFull(error))
      for (const name of (await readdir(dir)).filter(isUnfinished)) if (!before.has(name)) await rm(path.join(dir, name), { force: true });
    throw error;
  }
}

/** Whether a disk of this machine was full, and not one of whoever git talked to. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof GitError && /^(?!remote:).*(?:No space left on device|Disk quota exceeded)/m.test(error.stderr);
}

/** Makes a bare repository at `target`, whole or not at all; does nothing where there is one. */
export async function ensureBare(host: GitHost, target: string, example: string): Promise<void> {
  if ((await stat(target).catch(() => null)) !== null) return;
  const draft = await makeDraft(path.dirname(target));
  try {
    await initBare(host, draft, example);
    await rename(draft, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error; // else another one was faster
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/**
 * Gives `use` a bare repository that borrows the objects of `lender` and is removed afterwards: a place to
 * look at something before it may come near anything that lasts.
 */
export async function withQuarantine<T>(
  host: GitHost,
  options: { readonly lender: string; readonly example: string },
  use: (quarantine: string) => Promise<T>,
): Promise<T> {
  const { lender, example } = options;
  const dir = await makeDraft(path.dirname(lender));
  try {
    await initBare(host, dir, example);
    await writeFile(path.join(dir, "objects", "info", "alternates"), `${path.join(lender, "objects")}\n`);
    await copyFile(path.join(lender, "shallow"), path.join(dir, "shallow")).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error; // it has its whole history
    });
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
