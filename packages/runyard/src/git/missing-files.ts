import { isRemoteUrl } from "../core/repository-url.ts";
import { git, type GitHost } from "./host-git.ts";

/** Those of some paths, from the top of a repository, that a commit of it has neither as a file nor as a folder. */
export async function missingFiles(
  host: GitHost,
  place: { readonly root: string; readonly commit: string },
  files: readonly string[],
): Promise<string[]> {
  // Of a repository on another machine no file is here yet.
  if (files.length === 0 || isRemoteUrl(place.root)) return [];
  const words = ["--literal-pathspecs", "ls-tree", "-z", "-t", "--name-only", "--full-tree", place.commit, "--", ...files];
  const found = new Set((await git(host, words, { cwd: place.root })).split("\0"));
  return files.filter((file) => !found.has(file));
}
