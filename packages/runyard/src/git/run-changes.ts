import { readdir } from "node:fs/promises";
import path from "node:path";
import { atATime } from "./at-a-time.ts";
import { bundleOf } from "./bundle.ts";
import { keepResult, repositoryCachePath, updateCache } from "./cache.ts";
import { changedFiles, diffFiles } from "./changed-files.ts";
import { patch } from "./diff.ts";
import { type GitHost, tryGit } from "./host-git.ts";
import { findRepository } from "./local-repository.ts";
import { requireObjectName, resultRef } from "./names.ts";
import { readCommittedFile } from "./read-file.ts";

/** Most bytes that are given out of the hunks of a diff, and of one file. */
const MAX_DIFF_BYTES = 2 * 1024 * 1024;
const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** The same of a patch and of a bundle of commits: as large as a result may be. */
const MAX_RESULT_BYTES = 2 * 1024 ** 3;
/** How many of these are made at a time: each takes memory and a part of the disk. */
const MADE_AT_A_TIME = 4;

interface Commits {
  readonly runId: string;
  readonly orgId: string;
  readonly repositoryUrl: string;
  /** Where the run began, and what it made. */
  readonly base: string;
  readonly head: string;
}

/** The cache that holds what a run made, found without its repository; null: none does. */
async function cacheWithResult(
  host: GitHost,
  { cacheDir, runId, head }: Pick<Commits, "runId" | "head"> & { readonly cacheDir: string },
): Promise<string | null> {
  const names = await readdir(cacheDir).catch(() => []);
  for (const name of names.filter((one) => one.endsWith(".git"))) {
    const cachePath = path.join(cacheDir, name);
    const { code, stdout } = await tryGit(host, ["--git-dir", cachePath, "rev-parse", "--verify", "--quiet", resultRef(runId)]);
    if (code === 0 && stdout.trim() === head) return cachePath;
  }
  return null;
}

/**
 * Reads what runs changed from this home's cache. What another runner made comes from the user's repository first,
 * where it was published. All throw RunyardError `repository_not_usable` where neither has it, or where the
 * repository cannot be reached from this machine.
 */
export function runChanges(gitOf: (orgId: string) => GitHost, cacheDir: string) {
  const cacheOf = async ({ runId, orgId, repositoryUrl, base, head }: Commits): Promise<string> => {
    const host = gitOf(orgId);
    const repository = await findRepository(host, repositoryUrl).catch((error: unknown) => ({ error }));
    if ("error" in repository) {
      // The repository may be gone, and what the run made is here all the same.
      const kept = await cacheWithResult(host, { cacheDir, runId, head });
      if (kept === null) throw repository.error;
      return kept;
    }
    const cachePath = repositoryCachePath(cacheDir, repository);
    const { code } = await tryGit(host, ["--git-dir", cachePath, "cat-file", "-e", `${requireObjectName(head)}^{commit}`]);
    if (code === 0) return cachePath;
    const update = { cacheDir, repository, runId };
    await updateCache(host, { ...update, commit: base });
    await keepResult(host, { ...update, cachePath, commit: head });
    return cachePath;
  };
  const inTurn = atATime(MADE_AT_A_TIME);
  return {
    patch: async (change: Commits) => {
      const cachePath = await cacheOf(change);
      return inTurn(() => patch(gitOf(change.orgId), { ...change, cachePath, maxBytes: MAX_RESULT_BYTES }));
    },
    files: async (change: Commits) => changedFiles(gitOf(change.orgId), { ...change, cachePath: await cacheOf(change) }),
    diff: async (change: Commits) =>
      diffFiles(gitOf(change.orgId), { ...change, cachePath: await cacheOf(change), maxBytes: MAX_DIFF_BYTES }),
    bundle: async (change: Commits & { readonly branch: string }) => {
      const cachePath = await cacheOf(change);
      return inTurn(() => bundleOf(gitOf(change.orgId), { ...change, cachePath, maxBytes: MAX_RESULT_BYTES }));
    },
    file: async ({ commit, path: file, ...place }: Omit<Commits, "head"> & { readonly commit: string; readonly path: string }) =>
      readCommittedFile(gitOf(place.orgId), {
        cachePath: await cacheOf({ ...place, head: commit }),
        commit,
        path: file,
        maxBytes: MAX_FILE_BYTES,
      }),
  };
}
