import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import path from "node:path";
import { RunyardError } from "@runyard/sdk/contract";
import { ensureBare, removeOld } from "./bare-repository.ts";
import { git, GitError, type GitHost, tryGit } from "./host-git.ts";
import type { RepositoryPlace } from "./local-repository.ts";
import { withLocks } from "./locks.ts";
import { baseRef, requireObjectName, resultRef } from "./names.ts";

const FETCH_TIMEOUT_MS = 30 * 60_000;

/** The newest base of any run: what later fetches build on when those runs are forgotten. */
const LATEST = "refs/runyard/latest";

/** Flags of a fetch that brings objects and the refs that are asked for, and does nothing else. */
export const QUIET_FETCH = [
  "fetch",
  "--quiet",
  "--no-tags",
  "--no-write-fetch-head",
  "--no-auto-maintenance",
  "--no-write-commit-graph",
  "--no-recurse-submodules",
  "--refmap=",
];

/** Where the cache of a repository lies, whether it exists or not: one for each git directory. */
export function repositoryCachePath(cacheDir: string, repository: RepositoryPlace): string {
  const key = createHash("sha256").update(repository.gitDir).digest("hex").slice(0, 32);
  return path.join(cacheDir, `${key}.git`);
}

/** The last work of each cache in this process: one writer at a time is faster than many that wait for locks. */
const lastWork = new Map<string, Promise<unknown>>();

async function inTurn<T>(cachePath: string, work: () => Promise<T>): Promise<T> {
  const before = lastWork.get(cachePath) ?? Promise.resolve();
  const mine = before.then(work, work);
  lastWork.set(cachePath, mine);
  try {
    return await mine;
  } finally {
    if (lastWork.get(cachePath) === mine) lastWork.delete(cachePath);
  }
}

async function holds(host: GitHost, cachePath: string, ref: string): Promise<string | null> {
  const result = await tryGit(host, ["--git-dir", cachePath, "rev-parse", "--verify", "--quiet", ref]);
  return result.code === 0 ? result.stdout.trim() : null;
}

/** Says what a user can do about a fetch that failed because of their repository; other errors stay as they are. */
function explained(error: unknown, repository: RepositoryPlace): unknown {
  if (!(error instanceof GitError)) return error;
  if (/lazy fetching disabled|promisor/.test(error.stderr)) {
    const message = `${repository.root} is a partial clone that lacks some of its files: run "git fetch --refetch --no-filter" there, or clone it whole`;
    return new RunyardError("repository_not_usable", message, { cause: error });
  }
  if (/not our ref|couldn't find remote ref/.test(error.stderr)) {
    return new RunyardError("repository_not_usable", `The commit that the run starts from is not in ${repository.root} any more`, {
      cause: error,
    });
  }
  return error;
}

export interface CacheUpdate {
  readonly cacheDir: string;
  readonly repository: RepositoryPlace;
  readonly commit: string;
  readonly runId: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies a commit and its history into the bare clone that Runyard keeps of a repository, and holds it there
 * for the run. The clone borrows nothing from the repository. Can be repeated, and done for many runs at
 * once. Throws RunyardError `repository_not_usable` where the repository is the reason, else GitError.
 */
export async function updateCache(host: GitHost, options: CacheUpdate): Promise<{ cachePath: string }> {
  const { repository, signal } = options;
  const commit = requireObjectName(options.commit);
  const ref = baseRef(options.runId);
  const cachePath = repositoryCachePath(options.cacheDir, repository);
  await inTurn(cachePath, async () => {
    signal?.throwIfAborted();
    await ensureBare(host, cachePath, commit);
    if ((await holds(host, cachePath, ref)) === commit) return;
    await removeOld(path.join(cachePath, "objects", "pack"), (name) => name.startsWith("tmp_"));
    const source = ["--upload-pack", "git upload-pack --strict", "--", repository.gitDir];
    const fetch = ["--git-dir", cachePath, ...QUIET_FETCH, "--update-shallow", ...source, `+${commit}:${ref}`, `+${commit}:${LATEST}`];
    try {
      await withLocks(cachePath, [ref, LATEST, "shallow"], () => git(host, fetch, { signal, timeoutMs: FETCH_TIMEOUT_MS }));
    } catch (error) {
      throw explained(error, repository);
    }
  });
  return { cachePath };
}

/**
 * Makes sure that the cache has a commit that a run made in an earlier turn: from the user's repository, where
 * the cache was lost. Throws RunyardError `repository_not_usable` where neither has it.
 */
export async function keepResult(host: GitHost, options: CacheUpdate & { readonly cachePath: string }): Promise<void> {
  const { cachePath, repository, signal } = options;
  const commit = requireObjectName(options.commit);
  const ref = resultRef(options.runId);
  if ((await tryGit(host, ["--git-dir", cachePath, "cat-file", "-e", `${commit}^{commit}`], { signal })).code === 0) return;
  const fetch = ["--git-dir", cachePath, ...QUIET_FETCH, "--update-shallow", "--", repository.gitDir, `+${commit}:${ref}`];
  try {
    await withLocks(cachePath, [ref, "shallow"], () => git(host, fetch, { signal, timeoutMs: FETCH_TIMEOUT_MS }));
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    const message = `What the run made before, the commit ${commit.slice(0, 10)}, is neither in Runyard's cache nor in ${repository.root}`;
    throw new RunyardError("repository_not_usable", message, { cause: error });
  }
}

/** Lets a run's commits go from the cache. Does nothing where there are none. */
export async function dropRunRefs(host: GitHost, options: { readonly cachePath: string; readonly runId: string }): Promise<void> {
  const { cachePath, runId } = options;
  if (!existsSync(cachePath)) return;
  for (const ref of [baseRef(runId), resultRef(runId)]) {
    await withLocks(cachePath, [ref, "packed-refs"], () => git(host, ["--git-dir", cachePath, "update-ref", "--no-deref", "-d", ref]));
  }
}
