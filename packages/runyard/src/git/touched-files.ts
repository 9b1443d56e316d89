import { type CommitPair, TIMEOUT_MS } from "./diff.ts";
import { git, type GitHost } from "./host-git.ts";
import { requireObjectName } from "./names.ts";

/**
 * Paths of the files that any commit behind `base` up to `head` brings, changes or removes, each once, also where a later one
 * takes that back: whoever has the branch has all of its commits. Names that are not UTF-8 come with replacement characters.
 */
export async function touchedFiles(host: GitHost, { cachePath, base, head }: CommitPair): Promise<string[]> {
  const range = `${requireObjectName(base)}..${requireObjectName(head)}`;
  const words = ["log", "--format=", "--name-only", "-z", "-m", "--root", "--no-renames", "--no-color", "--no-show-signature"];
  const listed = await git(host, ["--git-dir", cachePath, ...words, "--ignore-submodules=none", range, "--"], { timeoutMs: TIMEOUT_MS });
  return [...new Set(listed.split("\0").filter((name) => name !== ""))].toSorted();
}

/** Paths of the files in which two commits differ, as above. */
export async function differingFiles(host: GitHost, { cachePath, base, head }: CommitPair): Promise<string[]> {
  const words = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff"];
  const listed = await git(host, ["--git-dir", cachePath, ...words, requireObjectName(base), requireObjectName(head)], {
    timeoutMs: TIMEOUT_MS,
  });
  return listed.split("\0").filter((name) => name !== "");
}
