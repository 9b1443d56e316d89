import { CliError, EXIT } from "./exit-codes.ts";
import { git, lastWords, mustGit } from "./git.ts";

/** What became of the run's branch here. */
export interface PulledBranch {
  readonly how: "made" | "moved" | "there";
  /** A command line; null where there is nothing to undo. */
  readonly undo: string | null;
}

/**
 * Makes a branch of commits that are here, or moves it on to them. Throws CliError where it stands in the way: on other commits,
 * or checked out somewhere.
 */
export async function pullBranch(folder: string, branch: string, commit: string): Promise<PulledBranch> {
  const ref = `refs/heads/${branch}`;
  const found = await git(folder, "rev-parse", "--verify", "--quiet", `${ref}^{commit}`);
  const before = found.code === 0 ? found.stdout.trim() : null;
  if (before === commit) return { how: "there", undo: null };
  if (before !== null) await requireMovable(folder, { branch, before, commit });
  // Git makes sure that it still stands where it was looked at.
  const update = await git(folder, "update-ref", "-m", "runyard: pull", ref, commit, before ?? "0".repeat(commit.length));
  if (update.code !== 0) {
    // Somebody else, perhaps another pull, was faster.
    const now = await git(folder, "rev-parse", "--verify", "--quiet", `${ref}^{commit}`);
    if (now.stdout.trim() === commit) return { how: "there", undo: null };
    throw new CliError(`The branch ${branch} could not be made: ${lastWords(update)}`, {
      advice: `The commits are here: git branch <another name> ${commit.slice(0, 12)}`,
      exitCode: EXIT.refused,
    });
  }
  if (before === null) return { how: "made", undo: `git branch -D ${branch}` };
  return { how: "moved", undo: `git branch -f ${branch} ${before.slice(0, 12)}` };
}

async function requireMovable(
  folder: string,
  options: { readonly branch: string; readonly before: string; readonly commit: string },
): Promise<void> {
  const { branch, before, commit } = options;
  const inTheWay = (why: string, advice: string): CliError =>
    new CliError(`The branch ${branch} is in the way: ${why}. It was left as it is.`, { advice, exitCode: EXIT.refused });
  if ((await git(folder, "merge-base", "--is-ancestor", before, commit)).code !== 0)
    throw inTheWay(
      `it stands on ${before.slice(0, 12)}, which is not in the run's result`,
      `Rename it and pull again: git branch -m ${branch} ${branch}-mine`,
    );
  const worktrees = (await mustGit(folder, "worktree", "list", "--porcelain")).split("\n");
  if (worktrees.includes(`branch refs/heads/${branch}`))
    throw inTheWay("it is checked out", `Where it is checked out: git merge --ff-only ${commit.slice(0, 12)}`);
}

/** Checks a branch out. Returns a command line that undoes it; null: it is checked out already. Throws CliError where git refuses. */
export async function checkOut(top: string, branch: string): Promise<string | null> {
  const symbolic = await git(top, "symbolic-ref", "--quiet", "--short", "HEAD");
  const before = symbolic.code === 0 ? symbolic.stdout.trim() : (await mustGit(top, "rev-parse", "HEAD")).trim().slice(0, 12);
  if (before === branch) return null;
  // Git overwrites what is ignored without asking, which may be somebody's only copy.
  const done = await git(top, "checkout", "--quiet", "--no-overwrite-ignore", branch, "--");
  if (done.code === 0) return `git checkout ${before}`;
  throw new CliError(`The branch ${branch} is here, and git did not check it out: ${lastWords(done)}`, {
    advice: "Commit what you have changed, or put it aside with `git stash --include-untracked`, and pull again.",
    exitCode: EXIT.refused,
  });
}
