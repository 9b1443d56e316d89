import { BranchObstacle } from "./branch-problem.ts";
import { type GitHost, tryGit } from "./host-git.ts";
import { requireBranchName, requireObjectName } from "./names.ts";
import { RemoteGitError, remoteNotUsable } from "./remote-error.ts";
import { MAX_ANSWER_BYTES, remoteGit, type RemoteNotice } from "./remote-git.ts";
import { lookAtBranch, remoteBranch, type RemotePlace } from "./remote-repository.ts";
import { RunyardError } from "@runyard/sdk/contract";

const PUSH_TIMEOUT_MS = 10 * 60_000;

export interface RemotePublishOptions {
  readonly repository: RemotePlace;
  readonly cachePath: string;
  readonly head: string;
  readonly branch: string;
  readonly onto?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PublishedBranch {
  /** False: it was there already. */
  readonly created: boolean;
  /** What a user is to know of the repository; left out: nothing. */
  readonly notices?: readonly RemoteNotice[];
}

/** As `branchObstacle`: why a branch there cannot be moved on to `head`, as half a sentence. */
export async function remoteObstacle(host: GitHost, options: Omit<RemotePublishOptions, "cachePath">): Promise<string | null> {
  const { repository, head, branch, onto = [] } = options;
  const found = await remoteBranch(host, repository, requireBranchName(branch));
  return found === null || found === head || onto.includes(found) ? null : `somebody moved it: it points to ${found.slice(0, 10)}`;
}

/**
 * Pushes a commit of the cache as a branch, new or moved on from where it is expected, and nothing else; never forced. Looks
 * before it pushes and where that fails: `created` is false when the branch points there already. Throws RunyardError
 * `repository_not_usable`, whose cause may be a RemoteGitError.
 */
export async function publishRemote(host: GitHost, options: RemotePublishOptions): Promise<PublishedBranch> {
  const { repository, cachePath, signal, onto = [] } = options;
  const head = requireObjectName(options.head);
  const branch = requireBranchName(options.branch);
  const ref = `refs/heads/${branch}`;
  const { commit: before, notices } = await lookAtBranch(host, repository, branch);
  if (before === head) return { created: false };
  await requireMove(host, { ...options, before, onto });
  const lease = `--force-with-lease=${ref}:${before ?? ""}`;
  const push = ["--git-dir", cachePath, "push", "--quiet", "--porcelain", "--no-verify", "--no-signed", lease];
  const args = [...push, "--", repository.remote.href, `${head}:${ref}`];
  try {
    await remoteGit(host, { url: repository.remote, args, timeoutMs: PUSH_TIMEOUT_MS, signal, maxBytes: MAX_ANSWER_BYTES, use: "push" });
    return { created: true, ...(notices.length > 0 && { notices }) };
  } catch (error) {
    if (!(error instanceof RemoteGitError)) throw error;
    // It may have arrived, and only the answer been lost.
    const found = await remoteBranch(host, repository, branch).catch(() => null);
    if (found === head) return { created: false };
    throw remoteNotUsable(error, `The branch ${branch} could not be pushed to ${repository.root}`);
  }
}

/** Throws where the branch is not where it may be moved from, or `head` would not hold what it points to. */
async function requireMove(
  host: GitHost,
  options: RemotePublishOptions & { readonly before: string | null; readonly onto: readonly string[] },
): Promise<void> {
  const { before, onto, head, branch, repository, cachePath } = options;
  if (before === null) return;
  const refused = (why: string): RunyardError =>
    new RunyardError("repository_not_usable", `The branch ${branch} could not be pushed to ${repository.root}: ${why}`, {
      cause: new BranchObstacle("branch-in-the-way"),
    });
  if (!onto.includes(before)) throw refused(`there is such a branch already, and it points to ${before.slice(0, 10)}; rename or remove it`);
  const { code } = await tryGit(host, ["--git-dir", cachePath, "merge-base", "--is-ancestor", before, head]);
  if (code !== 0) throw refused(`it points to ${before.slice(0, 10)}, on which the result does not go on`);
}
