import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import path from "node:path";
import { RunyardError } from "@runyard/sdk/contract";
import { bringingPacks, ensureBare } from "./bare-repository.ts";
import { git, GitError, type GitHost, runGitScript, tryGit } from "./host-git.ts";
import { findRepository, isRemote, lastSeen, type LocalPlace, type RepositoryPlace } from "./local-repository.ts";
import { withLocks } from "./locks.ts";
import { baseRef, ontoRef, requireObjectName, resultRef } from "./names.ts";
import { QUIET_FETCH } from "./quiet-fetch.ts";
import { fetchRemote } from "./remote-fetch.ts";

const FETCH_TIMEOUT_MS = 30 * 60_000;

/** The newest base of any run: what later fetches build on when those runs are forgotten. */
const LATEST = "refs/runyard/latest";

/**
 * Where the cache of a repository lies, whether it exists or not: one for each git directory, or for each URL and
 * organization, since what one of them may read there says nothing of another.
 */
export function repositoryCachePath(cacheDir: string, repository: RepositoryPlace): string {
  const name = isRemote(repository) ? `${repository.orgId}\0${repository.root}` : repository.gitDir;
  const key = createHash("sha256").update(name).digest("hex").slice(0, 32);
  return path.join(cacheDir, `${key}.git`);
}

/** The last work of each cache in this process: one writer at a time is faster than many that wait for locks. */
const lastWork = new Map<string, Promise<unknown>>();

async function inTurn<T>(cachePath: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const before = lastWork.get(cachePath) ?? Promise.resolve();
  const begin = (): Promise<T> => {
    signal?.throwIfAborted();
    return work();
  };
  const mine = before.then(begin, begin);
  lastWork.set(cachePath, mine);
  const forget = (): void => {
    if (lastWork.get(cachePath) === mine) lastWork.delete(cachePath);
  };
  mine.then(forget, forget);
  // What another one fetches may take its time: whoever has to end does not wait for that.
  await turnOf(before, signal);
  return mine;
}

/** Resolves once `before` is over, however it ends; rejects with the signal's reason. */
function turnOf(before: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal?.reason as Error);
    const begin = (): void => {
      signal?.removeEventListener("abort", leave);
      resolve();
    };
    before.then(begin, begin);
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
  });
}

/** Says what a user can do about a fetch that failed because of their repository; other errors stay as they are. */
function explained(error: unknown, repository: LocalPlace): unknown {
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
  /** What holds it there; default: the ref of the commit that the run starts from. */
  readonly ref?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Arguments: the git directory of a repository, a folder that must belong to it or nothing, the cache, a ref, its commit, and the fetch. */
const FETCH_SCRIPT = `repository=$1 folder=$2 cache=$3 ref=$4 commit=$5
shift 5
belongs() {
  cd -- "$folder" 2>/dev/null && common=$(git rev-parse --git-common-dir 2>/dev/null && echo .) && cd -- "\${common%??}" || return
  found=$(pwd -P && echo .)
  [ "\${found%??}" = "$repository" ]
}
[ -z "$folder" ] || (belongs) || { echo moved; exit 0; }
[ "$(git --git-dir "$cache" rev-parse --verify --quiet "$ref")" = "$commit" ] || git --git-dir "$cache" "$@"
`;

/**
 * Copies a commit and its history into the bare clone that Runyard keeps of a repository, and holds it there
 * for the run. The clone borrows nothing from the repository. Can be repeated, and done for many runs at
 * once. Throws RunyardError `repository_not_usable` where the repository is the reason, else GitError.
 */
export async function updateCache(host: GitHost, options: CacheUpdate): Promise<{ cachePath: string }> {
  const cachePath = repositoryCachePath(options.cacheDir, options.repository);
  const { repository, commit, runId, signal } = options;
  const bring = async (): Promise<void> => {
    await ensureBare(host, cachePath, requireObjectName(commit));
    if (isRemote(repository))
      await fetchRemote(host, { place: repository, cachePath, commit, refs: [options.ref ?? baseRef(runId), LATEST], signal });
    else await bringBase(host, cachePath, { ...options, repository });
  };
  await inTurn(cachePath, bring, signal);
  return { cachePath };
}

/** False: `folder` was given, and belongs to another repository than this one now, or to none. */
async function bringBase(
  host: GitHost,
  cachePath: string,
  options: CacheUpdate & { readonly repository: LocalPlace; readonly folder?: string },
): Promise<boolean> {
  const { repository, folder = "", signal } = options;
  const commit = requireObjectName(options.commit);
  const ref = options.ref ?? baseRef(options.runId);
  const source = ["--upload-pack", "git upload-pack --strict", "--", repository.gitDir];
  const fetch = [...QUIET_FETCH, "--update-shallow", ...source, `+${commit}:${ref}`, `+${commit}:${LATEST}`];
  let held = commit;
  const bring = (): Promise<boolean> =>
    withLocks(cachePath, [ref, LATEST, "shallow"], async () => {
      const words = [repository.gitDir, folder, cachePath, ref, held, ...fetch];
      // A fetch that met a lock may have written the one ref and not the other.
      held = "never";
      const result = await runGitScript(host, { script: FETCH_SCRIPT, words, args: fetch }, { signal, timeoutMs: FETCH_TIMEOUT_MS });
      if (result.code !== 0) throw new GitError(fetch, result);
      return result.stdout === "";
    });
  try {
    return await bringingPacks(cachePath, bring);
  } catch (error) {
    throw explained(error, repository);
  }
}

/** Where the cache of a repository lies that this process has seen before, if it is still the same one; null: it has not. */
export function seenCachePath(cacheDir: string, repositoryUrl: string): string | null {
  const seen = lastSeen(repositoryUrl);
  return seen === undefined ? null : repositoryCachePath(cacheDir, seen);
}

/**
 * Finds a run's repository and updates its cache. Where this process has seen the repository before, as when the run was
 * created, both are one command of the host, which makes sure that it is still there. Throws as `findRepository` and
 * `updateCache` do.
 */
export async function findAndCache(
  host: GitHost,
  { repositoryUrl, ...options }: Omit<CacheUpdate, "repository"> & { readonly repositoryUrl: string },
): Promise<{ readonly repository: RepositoryPlace; readonly cachePath: string }> {
  const seen = lastSeen(repositoryUrl);
  if (seen !== undefined) {
    const cachePath = repositoryCachePath(options.cacheDir, seen);
    const known = { ...options, repository: seen, folder: repositoryUrl };
    const isThere = existsSync(cachePath) && (await inTurn(cachePath, () => bringBase(host, cachePath, known), options.signal));
    if (isThere) return { repository: seen, cachePath };
  }
  const repository = await findRepository(host, repositoryUrl);
  return { repository, ...(await updateCache(host, { ...options, repository })) };
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
  if (isRemote(repository)) return fetchRemote(host, { place: repository, cachePath, commit, refs: [ref], signal });
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
  for (const ref of [baseRef(runId), ontoRef(runId), resultRef(runId)]) {
    await withLocks(cachePath, [ref, "packed-refs"], () => git(host, ["--git-dir", cachePath, "update-ref", "--no-deref", "-d", ref]));
  }
}
