import { keepResult, repositoryCachePath, updateCache } from "./cache.ts";
import { changedFiles, diffFiles } from "./changed-files.ts";
import { patch } from "./diff.ts";
import { type GitHost, tryGit } from "./host-git.ts";
import { findRepository } from "./local-repository.ts";
import { requireObjectName } from "./names.ts";
import { readCommittedFile } from "./read-file.ts";

/** Largest patch that is given out, in bytes. */
const MAX_PATCH_BYTES = 64 * 1024 * 1024;
/** The same of the hunks of a diff, and of one file. */
const MAX_DIFF_BYTES = 2 * 1024 * 1024;
const MAX_FILE_BYTES = 32 * 1024 * 1024;

interface Commits {
  readonly runId: string;
  readonly orgId: string;
  readonly repositoryUrl: string;
  /** Where the run began, and what it made. */
  readonly base: string;
  readonly head: string;
}

/**
 * Reads what runs changed from this home's cache. What another runner made comes from the user's repository first,
 * where it was published. All throw RunyardError `repository_not_usable` where neither has it, or where the
 * repository cannot be reached from this machine.
 */
export function runChanges(gitOf: (orgId: string) => GitHost, cacheDir: string) {
  const cacheOf = async ({ runId, orgId, repositoryUrl, base, head }: Commits): Promise<string> => {
    const host = gitOf(orgId);
    const repository = await findRepository(host, repositoryUrl);
    const cachePath = repositoryCachePath(cacheDir, repository);
    const { code } = await tryGit(host, ["--git-dir", cachePath, "cat-file", "-e", `${requireObjectName(head)}^{commit}`]);
    if (code === 0) return cachePath;
    const update = { cacheDir, repository, runId };
    await updateCache(host, { ...update, commit: base });
    await keepResult(host, { ...update, cachePath, commit: head });
    return cachePath;
  };
  return {
    patch: async (change: Commits) =>
      patch(gitOf(change.orgId), { ...change, cachePath: await cacheOf(change), maxBytes: MAX_PATCH_BYTES }),
    files: async (change: Commits) => changedFiles(gitOf(change.orgId), { ...change, cachePath: await cacheOf(change) }),
    diff: async (change: Commits) =>
      diffFiles(gitOf(change.orgId), { ...change, cachePath: await cacheOf(change), maxBytes: MAX_DIFF_BYTES }),
    file: async ({ commit, path, ...place }: Omit<Commits, "head"> & { readonly commit: string; readonly path: string }) =>
      readCommittedFile(gitOf(place.orgId), {
        cachePath: await cacheOf({ ...place, head: commit }),
        commit,
        path,
        maxBytes: MAX_FILE_BYTES,
      }),
  };
}
