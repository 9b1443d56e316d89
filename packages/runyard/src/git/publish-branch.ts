import { stat } from "node:fs/promises";
import { RunyardError } from "@runyard/sdk/contract";
import { BranchObstacle } from "./branch-problem.ts";
import { BOT_IDENTITY } from "./git-environment.ts";
import { git, GitError, type GitHost, type GitOptions, runGitScript, tryGit } from "./host-git.ts";
import { isRemote, type LocalPlace, type RepositoryPlace } from "./local-repository.ts";
import { requireBranchName, requireObjectName } from "./names.ts";
import { QUIET_FETCH } from "./quiet-fetch.ts";
import { type PublishedBranch, publishRemote, remoteObstacle } from "./remote-publish.ts";

const FETCH_TIMEOUT_MS = 10 * 60_000;

export interface PublishOptions {
  readonly repository: RepositoryPlace;
  readonly cachePath: string;
  readonly head: string;
  readonly branch: string;
  /** Commits from which the branch may be moved on, where it exists; default: it must be new. */
  readonly onto?: readonly string[];
  /** Of a repository on another machine: breaks off what was not yet said there. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Why a branch cannot be moved on to `head` without taking something from its owner, as half a sentence; null
 * when it can, is there already, or does not exist.
 */
export async function branchObstacle(host: GitHost, options: Omit<PublishOptions, "cachePath">): Promise<string | null> {
  const { repository, head, branch, onto = [] } = options;
  if (isRemote(repository)) return remoteObstacle(host, { ...options, repository });
  const ref = `refs/heads/${requireBranchName(branch)}`;
  const found = await commitOf(host, repository.gitDir, ref);
  if (found === null || found === head) return null;
  if (!onto.includes(found)) return `somebody moved it: it points to ${found.slice(0, 10)}`;
  const worktrees = await git(host, ["--git-dir", repository.gitDir, "worktree", "list", "--porcelain"]);
  return worktrees.split("\n").includes(`branch ${ref}`) ? "it is checked out" : null;
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
 * Says where a branch points to, and fetches where it may be moved from there: $1 git directory, $2 ref, $3 the commits
 * that it may be moved from, and the fetch.
 */
const BRING_SCRIPT = `repository=$1 ref=$2 onto=$3
shift 3
found=$(git --git-dir "$repository" rev-parse --verify --quiet "$ref") && echo "$found"
[ -z "$found" ] || case " $onto " in *" $found "*) ;; *) exit 0 ;; esac
git --git-dir "$repository" "$@"
`;

/**
 * Puts a commit of the cache into the user's repository as a branch, new or moved on, and touches nothing else
 * of it: no other ref, no index, no file of the working tree, no hook. Can be repeated: `created` is false when
 * the branch points there already. Throws RunyardError `repository_not_usable` when it points elsewhere or cannot be
 * made.
 */
export async function publishBranch(host: GitHost, options: PublishOptions): Promise<PublishedBranch> {
  const { repository } = options;
  return isRemote(repository) ? publishRemote(host, { ...options, repository }) : publishLocal(host, { ...options, repository });
}

async function publishLocal(host: GitHost, options: PublishOptions & { readonly repository: LocalPlace }): Promise<{ created: boolean }> {
  const { repository, cachePath, onto = [] } = options;
  const head = requireObjectName(options.head);
  const ref = `refs/heads/${requireBranchName(options.branch)}`;
  const inRepository = (...words: string[]): string[] => ["--git-dir", repository.gitDir, ...words];

  /** Null for a branch that does not exist. Throws where it may not be moved from there. */
  const mayMove = (found: string | null): void => {
    if (found === null || found === head || onto.includes(found)) return;
    const taken = `there is such a branch already, and it points to ${found.slice(0, 10)}; rename or remove it`;
    throw notPublished(options, taken, new BranchObstacle("branch-in-the-way"));
  };

  let before: string | null = null;
  try {
    // One pack instead of many small files: no directory is made that the repository's owner could not write.
    const fetch = ["-c", "fetch.unpackLimit=1", ...QUIET_FETCH, "--", cachePath, head];
    const words = [repository.gitDir, ref, onto.join(" "), ...fetch];
    const brought = await runGitScript(host, { script: BRING_SCRIPT, words, args: fetch }, { timeoutMs: FETCH_TIMEOUT_MS });
    before = brought.stdout.trim() || null;
    mayMove(before);
    if (before === head) return { created: false };
    if (brought.code !== 0) throw new GitError(fetch, brought);
    const update = inRepository("update-ref", "--no-deref", "-m", "runyard: result of a run", ref, head, before ?? "0".repeat(head.length));
    const owner = await ownerOf(repository.gitDir);
    const asOwner = owner !== undefined && (await tryGit(host, update, { env: BOT_IDENTITY, owner })).code === 0;
    if (!asOwner) await git(host, update, { env: BOT_IDENTITY });
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    const found = await commitOf(host, repository.gitDir, ref);
    mayMove(found);
    if (found === head) return { created: false }; // another one was faster
    throw notPublished(options, error.message, error);
  }
  return { created: true };
}
