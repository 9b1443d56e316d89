import { type Dirent, existsSync } from "node:fs";
import {
  chmod,
  copyFile,
  constants,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { runHostCommand } from "../sandbox/step.ts";
import { addNotices, type CommitNotice } from "./commit-result.ts";
import { commitWords } from "./commit.ts";
import { GitError, type GitHost, hostGitEnvironment } from "./host-git.ts";

const COMMIT_TIMEOUT_MS = 30 * 60_000;
const MAX_DETAILS = 10;

/** What a copy does not have, as paths inside of the tree. */
export interface TreeCopy {
  /** Directories that had a git directory of their own, each ended by NUL, as bytes. */
  readonly nestedRepositories: Buffer;
  /** Entries that could not be read, or whose name some file systems take for `.git`. */
  readonly leftOut: readonly string[];
}

/** Names are bytes: an agent need not write UTF-8. */
const SLASH = Buffer.from("/");
const NONE = Buffer.alloc(0);
const NUL = Buffer.alloc(1);

function join(dir: Buffer, name: Buffer): Buffer {
  return dir.length === 0 ? name : Buffer.concat([dir, SLASH, name]);
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "";
}

/** A second name for the same bytes where that can be, else a copy: git reads them and never writes them. */
async function linkOrCopy(source: Buffer, target: Buffer): Promise<void> {
  try {
    await link(source, target);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "ENOSYS", "EACCES"].includes(codeOf(error))) throw error;
    await copyFile(source, target, constants.COPYFILE_FICLONE);
    await chmod(target, (await lstat(source)).mode & 0o777);
  }
}

/** Entries of a directory, which is made readable where its owner has taken that away: what cannot be listed would look deleted. */
async function list(dir: Buffer): Promise<Dirent<Buffer>[]> {
  try {
    return await readdir(dir, { withFileTypes: true, encoding: "buffer" });
  } catch (error) {
    if (codeOf(error) !== "EACCES") throw error;
    await chmod(dir, 0o700);
    return readdir(dir, { withFileTypes: true, encoding: "buffer" });
  }
}

async function copyEntry(entry: Dirent<Buffer>, from: Buffer, to: Buffer): Promise<void> {
  if (entry.isSymbolicLink()) await symlink(await readlink(from, "buffer"), to);
  if (entry.isFile()) await linkOrCopy(from, to);
}

/**
 * Copies the files of a tree that an agent wrote to a new directory, without any git directory at any depth.
 * Symbolic links stay links and are never followed; sockets, devices and pipes are skipped, as git does.
 */
export async function copyTree(source: string, target: string): Promise<TreeCopy> {
  const [sourceRoot, targetRoot] = [Buffer.from(source), Buffer.from(target)];
  const nested: Buffer[] = [];
  const leftOut: string[] = [];

  async function copyDirectory(dir: Buffer): Promise<void> {
    await mkdir(join(targetRoot, dir), { mode: 0o700 });
    for (const entry of await list(join(sourceRoot, dir))) {
      const inside = join(dir, entry.name);
      const name = entry.name.toString().toLowerCase();
      if (name === ".git") {
        if (entry.name.toString() !== ".git") leftOut.push(inside.toString());
        else if (dir.length > 0) nested.push(dir, NUL);
      } else if (entry.isDirectory()) {
        await copyDirectory(inside);
      } else {
        await copyEntry(entry, join(sourceRoot, inside), join(targetRoot, inside)).catch((error: unknown) => {
          if (codeOf(error) === "ENOENT") return; // removed meanwhile
          if (codeOf(error) !== "EACCES") throw error;
          leftOut.push(inside.toString());
        });
      }
    }
  }

  await copyDirectory(NONE);
  return { nestedRepositories: Buffer.concat(nested), leftOut };
}

function noticesOf({ leftOut }: TreeCopy): CommitNotice[] {
  if (leftOut.length === 0) return [];
  return [{ code: "files-not-added", count: leftOut.length, details: leftOut.slice(0, MAX_DETAILS).map((name) => name.slice(0, 300)) }];
}

/**
 * Commits what an agent left in a workspace that no sandbox held: on the host, from a copy of its files, so
 * that nothing of its git state is looked at. Leaves the same files as the command of `commitArgv`, in a
 * directory below `resultsDir`, which it returns. Can be repeated, and done twice at once: the first result
 * stays. Throws GitError.
 */
export async function copyTreeForCommit(
  host: GitHost,
  options: {
    readonly workspace: string;
    readonly cachePath: string;
    readonly base: string;
    readonly branch: string;
    readonly message: string;
    readonly resultsDir: string;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<string> {
  const { workspace, base, resultsDir, signal } = options;
  const done = path.join(resultsDir, "copied");
  // A second commit of the same files would be another one: it has another time.
  if (existsSync(done)) return done;
  // Each its own: a server that was taken for dead may still be at work on the same.
  const draft = await mkdtemp(path.join(resultsDir, ".draft-"));
  const tree = path.join(draft, "tree");
  try {
    const copy = await copyTree(workspace, tree);
    await writeFile(path.join(draft, "nested"), copy.nestedRepositories);
    const result = await runHostCommand({
      spawner: host.spawner,
      stepsDir: host.stepsDir,
      argv: commitWords({ ...options, workspace: tree, commit: base, resultsDir: draft }, "no"),
      env: hostGitEnvironment(host),
      timeoutMs: COMMIT_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    if (result.code !== 0) throw new GitError(["commit"], result);
    await addNotices(draft, noticesOf(copy));
    for (const used of [tree, path.join(draft, "nested")]) await rm(used, { recursive: true, force: true });
    await rename(draft, done).catch((error: unknown) => {
      if (!["EEXIST", "ENOTEMPTY"].includes(codeOf(error))) throw error; // somebody else was first
    });
    return done;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
