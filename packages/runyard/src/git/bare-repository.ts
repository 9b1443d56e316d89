import { copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { git, type GitHost } from "./host-git.ts";

const DAY_MS = 24 * 3_600_000;
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

/** Removes entries of a directory that nobody has touched for a day. */
export async function removeOld(dir: string, isCandidate: (name: string) => boolean): Promise<void> {
  for (const name of (await readdir(dir)).filter(isCandidate)) {
    const file = path.join(dir, name);
    const found = await stat(file).catch(() => null);
    if (found !== null && Date.now() - found.mtimeMs > DAY_MS) await rm(file, { recursive: true, force: true });
  }
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
