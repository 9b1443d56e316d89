import { stat } from "node:fs/promises";
import { RunyardError } from "@runyard/sdk/contract";
import { QUIET_FETCH } from "./cache.ts";
import { BOT_IDENTITY } from "./git-environment.ts";
import { git, GitError, type GitHost, type GitOptions, tryGit } from "./host-git.ts";
import type { RepositoryPlace } from "./local-repository.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

const FETCH_TIMEOUT_MS = 10 * 60_000;

export interface PublishOptions {
  readonly repository: RepositoryPlace;
  readonly cachePath: string;
  readonly head: string;
  readonly branch: string;
}

async function commitOf(host: GitHost, gitDir: string, ref: string): Promise<string | null> {
  const result = await tryGit(host, ["--git-dir", gitDir, "rev-parse", "--verify", "--quiet", ref]);
  return result.code === 0 ? result.stdout.trim() : null;
}

function notPublished(options: PublishOptions, reason: string, cause?: unknown): RunyardError {
  return new RunyardError(
    "repository_not_usable",
    `The branch ${options.branch} could not be made in ${options.repository.root}: ${reason}`,
    { cause },
  );
}

/** When root serves a repository of somebody else, the branch must be theirs, or they could not remove it. */
async function ownerOf(gitDir: string): Promise<GitOptions["owner"]> {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = await stat(gitDir);
  return uid === 0 ? undefined : { uid, gid };
}

/**
 * Puts a commit of the cache into the user's repository as a new branch, and touches nothing else of it: no
 * other ref, no index, no file of the working tree, no hook. Can be repeated: `created` is false when the
 * branch is there already. Throws RunyardError `repository_not_usable` when it points elsewhere or cannot be
 * made.
 */
export async function publishBranch(host: GitHost, options: PublishOptions): Promise<{ created: boolean }> {
  const { repository, cachePath } = options;
  const head = requireObjectName(options.head);
  const ref = `refs/heads/${requireBranchName(options.branch)}`;
  const inRepository = (...words: string[]): string[] => ["--git-dir", repository.gitDir, ...words];

  const isThere = async (): Promise<boolean> => {
    const found = await commitOf(host, repository.gitDir, ref);
    if (found !== null && found !== head)
      throw notPublished(options, `there is such a branch already, and it points to ${found.slice(0, 10)}; rename or remove it`);
    return found === head;
  };

  if (await isThere()) return { created: false };
  try {
    // One pack instead of many small files: no directory is made that the repository's owner could not write.
    const fetch = inRepository("-c", "fetch.unpackLimit=1", ...QUIET_FETCH, "--", cachePath, head);
    await git(host, fetch, { timeoutMs: FETCH_TIMEOUT_MS });
    const update = inRepository("update-ref", "--no-deref", "-m", "runyard: result of a run", ref, head, "0".repeat(head.length));
    const owner = await ownerOf(repository.gitDir);
    const asOwner = owner !== undefined && (await tryGit(host, update, { env: BOT_IDENTITY, owner })).code === 0;
    if (!asOwner) await git(host, update, { env: BOT_IDENTITY });
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    if (await isThere()) return { created: false }; // another one was faster
    throw notPublished(options, error.message, error);
  }
  return { created: true };
}
