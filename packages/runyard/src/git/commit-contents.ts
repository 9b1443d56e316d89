import { readFile } from "node:fs/promises";
import path from "node:path";
import { GitError, type GitHost, runGitScript } from "./host-git.ts";
import { requireObjectName } from "./names.ts";

const TIMEOUT_MS = 10 * 60_000;
/** Most bytes of a commit with its message, without its files; and of all of a result's together. They are read into memory. */
const MAX_COMMIT_BYTES = 1024 ** 2;
const MAX_COMMITS_BYTES = 128 * 1024 ** 2;

/**
 * The commits that rev-list gives, parents first, and their contents behind each other: $1 git directory, $2 folder, $3 and
 * $4 the limits, and the words of rev-list. Says so, and reads none of them, where they are too large: an agent's commit may have any size.
 */
const SCRIPT = `umask 077
repository=$1 folder=$2 most=$3 most_of_all=$4
shift 4
git --git-dir "$repository" rev-list --reverse --topo-order "$@" >"$folder/names" || exit
git --git-dir "$repository" cat-file --batch-check='%(objectsize)' --buffer <"$folder/names" >"$folder/sizes" || exit
all=0
while read -r size; do
  all=$((all + size))
  [ "$size" -le "$most" ] && [ "$all" -le "$most_of_all" ] || { echo large; exit 0; }
done <"$folder/sizes"
git --git-dir "$repository" cat-file --batch --buffer <"$folder/names" >"$folder/commits"
`;

export interface CommitContent {
  readonly name: string;
  /** As git stores it; it need not be UTF-8. */
  readonly content: Buffer;
}

/** The commits behind `base`, and behind `onto` where there is one, up to `head`, parents first. What is written on the way is left in `dir`. Throws GitError. */
export async function readCommitContents(
  host: GitHost,
  place: {
    readonly cachePath: string;
    readonly base: string;
    readonly onto?: string | undefined;
    readonly head: string;
    readonly dir: string;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<CommitContent[]> {
  const { cachePath, dir, signal, base, onto = base } = place;
  const commits = [requireObjectName(place.head), `^${requireObjectName(base)}`, `^${requireObjectName(onto)}`];
  const args = ["cat-file"];
  const words = [cachePath, dir, String(MAX_COMMIT_BYTES), String(MAX_COMMITS_BYTES), ...commits];
  const result = await runGitScript(host, { script: SCRIPT, words, args }, { signal, timeoutMs: TIMEOUT_MS });
  if (result.code !== 0) throw new GitError(args, result);
  if (result.stdout !== "") {
    const stderr = `a commit of the result has more than ${MAX_COMMIT_BYTES} bytes beside its files, or all together more than ${MAX_COMMITS_BYTES}`;
    throw new GitError(args, { code: null, stderr });
  }
  return splitBatch(await readFile(path.join(dir, "commits")));
}

/** What `cat-file --batch` says: a line with name, kind and size, the content, and a line end. */
function splitBatch(bytes: Buffer): CommitContent[] {
  const commits: CommitContent[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(10, at);
    const [name = "", kind, size] = bytes.toString("latin1", at, end).split(" ");
    if (end === -1 || kind !== "commit" || !/^\d+$/.test(size ?? ""))
      throw new Error(`git gave ${JSON.stringify(bytes.toString("latin1", at, at + 80))}`);
    commits.push({ name, content: bytes.subarray(end + 1, end + 1 + Number(size)) });
    at = end + 1 + Number(size) + 1;
  }
  return commits;
}
