import { git, GitError, type GitHost, type GitOptions, runGitScript, tryGit } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { requireObjectName, resultRef } from "./names.ts";
import { differingFiles } from "./touched-files.ts";

const TIMEOUT_MS = 5 * 60_000;
/** Names of files in one command. */
const AT_ONCE = 100;

/** How a branch stands to what its base is now: it has all of it, is behind it, has gone another way, or has nothing to do with it. */
export type Relation = "has-it" | "behind" | "diverged" | "unrelated";

interface Place {
  readonly cachePath: string;
  readonly signal?: AbortSignal | undefined;
}

function optionsOf({ signal }: Place): GitOptions {
  return { signal, timeoutMs: TIMEOUT_MS };
}

/** Looks how two commits of a cache stand to each other. Throws GitError. */
export async function relationOf(
  host: GitHost,
  { head, onto, ...place }: Place & { readonly head: string; readonly onto: string },
): Promise<Relation> {
  const words = ["--git-dir", place.cachePath, "merge-base", requireObjectName(head), requireObjectName(onto)];
  const { code, stdout, stderr } = await tryGit(host, words, optionsOf(place));
  if (code === 1) return "unrelated";
  if (code !== 0) throw new GitError(words, { code, stderr });
  const common = stdout.trim();
  if (common === onto) return "has-it";
  return common === head ? "behind" : "diverged";
}

/** A merge in which files conflicted, and what became of it; all are commits of a cache. */
export interface ConflictedMerge extends Place {
  /** The two sides. */
  readonly ours: string;
  readonly theirs: string;
  /** The merge as git left it, with the markers in the files that conflict. */
  readonly merged: string;
  /** What came of that. */
  readonly head: string;
  /** Files that conflict. */
  readonly files: readonly string[];
  /** Those of them that the repository of the workspace still has as unmerged. */
  readonly unmerged: readonly string[];
}

/**
 * Files of a merge that nobody has resolved: they have markers that neither side has, or had none to begin with, as where one
 * side removed what the other changed, and are still what git left, unmerged. Reads objects of the cache and runs nothing.
 */
export async function unresolvedFiles(host: GitHost, merge: ConflictedMerge): Promise<string[]> {
  const [ours, theirs, merged, head] = [
    await markersIn(host, merge, merge.ours),
    await markersIn(host, merge, merge.theirs),
    await markersIn(host, merge, merge.merged),
    await markersIn(host, merge, merge.head),
  ];
  const isMarked = (found: ReadonlyMap<string, ReadonlySet<number>>, file: string): boolean =>
    [...(found.get(file) ?? [])].some((marker) => !ours.get(file)?.has(marker) && !theirs.get(file)?.has(marker));
  const unmarked = merge.files.filter((file) => !isMarked(merged, file) && merge.unmerged.includes(file));
  const changed = new Set(await differingFiles(host, { ...merge, base: merge.merged }));
  return merge.files.filter((file) => isMarked(head, file) || (unmarked.includes(file) && !changed.has(file)));
}

/**
 * Whether all that the other side brings without a conflict was taken back, as by `git merge --abort`: what follows would
 * say that it has the base, and undo it.
 */
export async function isTakenBack(host: GitHost, merge: Omit<ConflictedMerge, "unmerged">): Promise<boolean> {
  const brought = (await differingFiles(host, { ...merge, base: merge.ours, head: merge.merged })).filter(
    (file) => !merge.files.includes(file),
  );
  const kept = new Set(await differingFiles(host, { ...merge, base: merge.ours }));
  return brought.length > 0 && !brought.some((file) => kept.has(file));
}

/** For each kind of marker the files that have a line which begins with it, a line of output each: $1 cache, $2 commit, then the files. */
const MARKERS_SCRIPT = `cache=$1 commit=$2
shift 2
for kind in '<{7} ' '[|]{7} ' '>{7} ' '={7}[[:space:]]*$'; do
  git --git-dir "$cache" grep -a -l -z --no-color --no-textconv -E "^$kind" "$commit" -- "$@"
  code=$?
  [ $code -le 1 ] || exit $code
  echo
done
`;

/** The kinds of markers that begin a line of a file, by number, for each file that has any. */
async function markersIn(
  host: GitHost,
  { files, ...place }: Place & Pick<ConflictedMerge, "files">,
  commit: string,
): Promise<ReadonlyMap<string, ReadonlySet<number>>> {
  const found = new Map<string, Set<number>>();
  for (let at = 0; at < files.length; at += AT_ONCE) {
    const paths = files.slice(at, at + AT_ONCE).map((file) => `:(top,literal)${file}`);
    const [words, args] = [[place.cachePath, requireObjectName(commit), ...paths], ["grep"]];
    const result = await runGitScript(host, { script: MARKERS_SCRIPT, words, args }, optionsOf(place));
    if (result.code !== 0) throw new GitError(args, result);
    for (const [kind, names] of result.stdout.split("\n").entries()) {
      for (const name of names.split("\0").filter((one) => one !== "")) {
        const file = name.slice(commit.length + 1);
        found.set(file, (found.get(file) ?? new Set()).add(kind));
      }
    }
  }
  return found;
}

/** Makes a merge of two commits with the files and the words of a third one, holds it for the run, and returns it. Can be repeated: the same comes out. */
export async function mergeWithFilesOf(
  host: GitHost,
  merge: Place & { readonly ours: string; readonly theirs: string; readonly head: string; readonly runId: string },
): Promise<string> {
  const { cachePath, runId } = merge;
  const [ours, theirs, head] = [merge.ours, merge.theirs, merge.head].map(requireObjectName);
  const inCache = (...words: string[]): string[] => ["--git-dir", cachePath, ...words];
  const said = await git(
    host,
    inCache("log", "-1", "--format=%an%x00%ae%x00%ad%x00%B", "--date=raw", "--no-show-signature", head ?? ""),
    optionsOf(merge),
  );
  const [name = "", email = "", date = "", message = ""] = said.split("\0");
  const by = { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_AUTHOR_DATE: `@${date}` };
  const env = { ...by, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email, GIT_COMMITTER_DATE: `@${date}` };
  const words = inCache("commit-tree", `${head}^{tree}`, "-p", ours ?? "", "-p", theirs ?? "", "-m", `${message.trimEnd()}\n`);
  const made = (await git(host, words, { ...optionsOf(merge), env })).trim();
  const ref = resultRef(runId);
  await withLocks(cachePath, [ref], () => git(host, inCache("update-ref", "--no-deref", ref, made), optionsOf(merge)));
  return made;
}
