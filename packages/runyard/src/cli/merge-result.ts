import { CliError, EXIT } from "./exit-codes.ts";
import { git, lastWords, mustGit } from "./git.ts";
import { plural } from "./output.ts";

/** A result, and where it is brought to. */
export interface Merging {
  /** The top of the working tree. */
  readonly top: string;
  /** Words that name the result for git: its branch, or its commit. */
  readonly name: string;
  readonly commit: string;
}

export interface Merged {
  readonly how: "nothing" | "fast-forward" | "merge" | "changes";
  readonly before: string;
  readonly after: string;
  /** How many files the result changed. */
  readonly files: number;
  /** A command line; null where there is nothing to undo. */
  readonly undo: string | null;
}

/**
 * Brings a result, whose commits are here, into what is checked out: as commits, or as changes that are staged. Throws
 * CliError, having touched nothing, where that would overwrite something; and for a conflict, which is left to be resolved.
 */
export async function mergeResult(merging: Merging, how: "commits" | "changes"): Promise<Merged> {
  const { top, name, commit } = merging;
  const before = (await mustGit(top, "rev-parse", "HEAD")).trim();
  const base = (await git(top, "merge-base", "HEAD", commit)).stdout.trim();
  if (base === commit) return { how: "nothing", before, after: before, files: 0, undo: null };
  const changed = split(await mustGit(top, "diff", "--name-only", "--no-renames", "-z", base === "" ? before : base, commit));
  await refuseOverwriting(top, changed);
  const asCommits = how === "commits";
  const unfinished = await mergeHead(top);
  // Some have `merge.ff` set, with which git makes no squash.
  const merged = await git(top, "merge", ...(asCommits ? ["--no-edit"] : ["--squash", "--ff"]), name);
  if (merged.code !== 0) throw await notMerged(merging, { asCommits, isOurs: unfinished === "", why: lastWords(merged) });
  const after = (await mustGit(top, "rev-parse", "HEAD")).trim();
  return {
    how: asCommits ? (after === commit ? "fast-forward" : "merge") : "changes",
    before,
    after,
    files: changed.length,
    undo: `git reset --merge ${asCommits ? before.slice(0, 12) : "HEAD"}`,
  };
}

/** Files with changes of the person's own that the run changed too. Staged ones stop git's merge, and its undo. */
async function refuseOverwriting(top: string, changed: readonly string[]): Promise<void> {
  const staged = split(await mustGit(top, "diff", "--cached", "--name-only", "--no-renames", "-z"));
  const unstaged = split(await mustGit(top, "diff", "--name-only", "--no-renames", "-z"));
  const untracked = split(await mustGit(top, "ls-files", "--others", "-z"));
  const touched = new Set([...unstaged, ...untracked]);
  // A file in the place of a folder is in its way, and the other way round. There may be very many of both.
  const others = new Set(untracked.map((other) => other.replace(/\/$/, "")));
  const folders = new Set(untracked.flatMap(foldersOf));
  const overwritten = changed.filter(
    (file) => touched.has(file) || folders.has(file) || foldersOf(file).some((folder) => others.has(folder)),
  );
  const list = (files: readonly string[]): string =>
    files
      .slice(0, 10)
      .map((file) => `\n    ${file}`)
      .join("") + (files.length > 10 ? `\n    and ${files.length - 10} more` : "");
  if (overwritten.length > 0) {
    throw new CliError(`Uncommitted changes would be overwritten, so nothing was touched:${list(overwritten)}`, {
      advice: "Commit them, or put them aside with `git stash --include-untracked`, and pull again.",
      exitCode: EXIT.refused,
    });
  }
  if (staged.length > 0) {
    throw new CliError(`Changes are staged, which would get mixed up with the run's, so nothing was touched:${list(staged)}`, {
      advice: "Commit them, or unstage them with `git reset`, and pull again.",
      exitCode: EXIT.refused,
    });
  }
}

/** What a merge is under way with; empty: there is none. */
async function mergeHead(top: string): Promise<string> {
  return (await git(top, "rev-parse", "--verify", "--quiet", "MERGE_HEAD")).stdout.trim();
}

/** A conflict is left for the person to resolve; for anything else nothing is touched. */
async function notMerged(
  merging: Merging,
  { asCommits, isOurs, why }: { readonly asCommits: boolean; readonly isOurs: boolean; readonly why: string },
): Promise<CliError> {
  const conflicts = split(await mustGit(merging.top, "diff", "--name-only", "--diff-filter=U", "-z"));
  if (conflicts.length === 0) {
    // It has merged, and could not make the commit: a key that signs was not to be had, for example.
    if (isOurs && (await mergeHead(merging.top)) !== "") await mustGit(merging.top, "merge", "--abort");
    return new CliError(`git did not merge ${merging.name}: ${why}`, { exitCode: EXIT.refused });
  }
  const files = conflicts.map((file) => `\n    ${file}`).join("");
  const undo = asCommits ? "git merge --abort" : "git reset --merge HEAD";
  return new CliError(`The run's change and yours touch the same lines in ${plural(conflicts.length, "file")}:${files}`, {
    advice: `Resolve them, then \`git add\`${asCommits ? " and `git commit`" : ""}. Or undo it with: ${undo}`,
  });
}

/** The folders that a file is in, from the top. */
function foldersOf(file: string): string[] {
  const parts = file.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

function split(list: string): string[] {
  return list.split("\0").filter((file) => file !== "");
}
