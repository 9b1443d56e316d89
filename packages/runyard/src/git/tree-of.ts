import { type GitHost, tryGit } from "./host-git.ts";
import { requireObjectName } from "./names.ts";

/** The name of the files of a commit, which is the same for the same files; null where the repository does not have the commit. */
export async function treeOf(host: GitHost, place: { readonly cachePath: string; readonly commit: string }): Promise<string | null> {
  const words = ["rev-parse", "--verify", "--quiet", `${requireObjectName(place.commit)}^{tree}`];
  const { code, stdout } = await tryGit(host, ["--git-dir", place.cachePath, ...words]);
  return code === 0 ? stdout.trim() : null;
}
