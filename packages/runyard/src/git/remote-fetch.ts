import { RunyardError } from "@runyard/sdk/contract";
import { bringingPacks, isDiskFull } from "./bare-repository.ts";
import { git, type GitError, type GitHost, tryGit } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { QUIET_FETCH } from "./quiet-fetch.ts";
import { RemoteGitError, remoteNotUsable } from "./remote-error.ts";
import { remoteGit } from "./remote-git.ts";
import type { RemotePlace } from "./remote-repository.ts";

const FETCH_TIMEOUT_MS = 30 * 60_000;

/**
 * Brings a commit and its history from another machine into a cache, under refs of ours. Does not ask for what the cache
 * has. Throws RunyardError `repository_not_usable` where the repository is the reason, else GitError.
 */
export async function fetchRemote(
  host: GitHost,
  options: {
    readonly place: RemotePlace;
    readonly cachePath: string;
    readonly commit: string;
    readonly refs: readonly string[];
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const { place, cachePath, commit, refs, signal } = options;
  const inCache = (...words: string[]): string[] => ["--git-dir", cachePath, ...words];
  const isThere = (await tryGit(host, inCache("cat-file", "-e", `${commit}^{commit}`), { signal })).code === 0;
  const bring = (): Promise<void> =>
    withLocks(cachePath, [...refs, "shallow"], async () => {
      if (isThere) {
        for (const ref of refs) await git(host, inCache("update-ref", "--no-deref", ref, commit), { signal });
        return;
      }
      const args = inCache(...QUIET_FETCH, "--", place.remote.href, ...refs.map((ref) => `+${commit}:${ref}`));
      await remoteGit(host, { url: place.remote, args, timeoutMs: FETCH_TIMEOUT_MS, signal });
    });
  await bringingPacks(cachePath, bring).catch((error: unknown) => {
    throw error instanceof RemoteGitError && !isDiskFull(error) ? explainedFetch(error, { place, commit }) : error;
  });
}

function explainedFetch(
  error: RemoteGitError,
  { place, commit }: { readonly place: RemotePlace; readonly commit: string },
): RunyardError | GitError {
  const options = { cause: error };
  if (/not our ref|unadvertised object|couldn't find remote ref/.test(error.stderr)) {
    const message = `The commit ${commit.slice(0, 10)} is not in ${place.root} any more, or its server does not give out commits by their names`;
    return new RunyardError("repository_not_usable", message, options);
  }
  if (/fsck|index-pack|invalid|corrupt/.test(error.stderr) && error.outcome === "unknown") {
    const message = `What ${place.root} sent was refused, because git finds fault with it (${error.reason}): \`git fsck\` in a clone shows where`;
    return new RunyardError("repository_not_usable", message, options);
  }
  return remoteNotUsable(error, `${place.root} could not be fetched`);
}
