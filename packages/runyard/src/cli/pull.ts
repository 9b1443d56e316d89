import { realpath } from "node:fs/promises";
import path from "node:path";
import { isTerminal, type Run } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { git, lastWords, mustGit } from "./git.ts";
import { paintFor, plural, printJson, say, shellWord } from "./output.ts";
import { furtherHere } from "./pull-further.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const pull = command("pull", {
  summary: "Bring a run's change into the branch checked out here",
  group: GROUP.runs,
  more: `Stand in the run's repository, or in one of its further ones. The run's branch is merged into the current one (fast-forward where that is possible). Nothing is touched where uncommitted changes would be overwritten. How to undo it is printed.`,
  examples: ["runyard pull last", "runyard pull 62g7a1 --no-commit"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--no-commit", "bring the changes only, staged and not committed")
  .addOption(jsonOption())
  .action(async (name: string, options: { commit: boolean; json?: boolean }) => {
    const client = connect();
    const run = await client.runs.get(await findRunId(client, name));
    const further = await furtherHere(run, isHere);
    const { branch, commit } = further ?? resultOf(run);
    const top = further === null ? await standingIn(run) : (await mustGit(".", "rev-parse", "--show-toplevel")).replace(/\n$/, "");
    const tree: Tree = {
      top,
      branch: await presentBranch(top, { branch, commit, runId: run.id }),
      before: (await mustGit(top, "rev-parse", "HEAD")).trim(),
    };
    const done = await bring(tree, options.commit);
    if (options.json === true) printJson({ runId: run.id, repository: top, branch, ...done });
    else tell(done, branch);
  });

interface Tree {
  /** The top of the working tree. */
  readonly top: string;
  /** The run's branch. */
  readonly branch: string;
  /** The commit that is checked out. */
  readonly before: string;
}

interface Done {
  readonly how: "nothing" | "fast-forward" | "merge" | "changes";
  readonly before: string;
  readonly after: string;
  readonly files: number;
  /** A command line; null where there is nothing to undo. */
  readonly undo: string | null;
}

function resultOf(run: Run): { branch: string; commit: string } {
  if (run.result?.headBranch && run.result.headCommit) return { branch: run.result.headBranch, commit: run.result.headCommit };
  if (isTerminal(run.status) && run.turn > 1)
    throw new CliError(`${run.id} is ${run.status} in turn ${run.turn}, which brought no result.`, {
      advice: `What the turns before made: runyard diff ${run.id}`,
      exitCode: EXIT.refused,
    });
  if (run.result?.headCommit)
    throw new CliError(`${run.id} made a change and no branch: it was not to publish one, could not, or is a replay.`, {
      advice: `Take the change with: runyard diff ${run.id} | git apply`,
      exitCode: EXIT.refused,
    });
  const message = isTerminal(run.status)
    ? `${run.id} is ${run.status} and left no branch: there is nothing to bring.`
    : `${run.id} is ${run.status}: its branch comes when it has ended.`;
  throw new CliError(message, { advice: `See it with: runyard show ${run.id}`, exitCode: EXIT.refused });
}

/** The top of the working tree that one stands in; refuses another repository than the run's. */
async function standingIn(run: Run): Promise<string> {
  const top = await git(".", "rev-parse", "--show-toplevel");
  const advice = `Go there first: cd ${shellWord(run.repositoryUrl)}`;
  if (top.code !== 0) throw new CliError("You do not stand in the working tree of a git repository.", { advice, exitCode: EXIT.refused });
  const here = await commonDir(".");
  const there = await commonDir(run.repositoryUrl).catch(() => null);
  if (here !== null && here === there) return top.stdout.replace(/\n$/, "");
  throw new CliError(`${run.id} worked on another repository: ${run.repositoryUrl}`, {
    advice: there === null ? `It is not on this machine. To take the change from afar: runyard diff ${run.id} | git apply` : advice,
    exitCode: EXIT.refused,
  });
}

async function isHere(repositoryUrl: string): Promise<boolean> {
  const here = await commonDir(".");
  return here !== null && here === (await commonDir(repositoryUrl).catch(() => null));
}

/** What all worktrees of a repository share, as a real path; null where there is no repository. */
async function commonDir(folder: string): Promise<string | null> {
  const found = await git(folder, "rev-parse", "--git-common-dir");
  return found.code === 0 ? realpath(path.resolve(folder, found.stdout.replace(/\n$/, ""))) : null;
}

async function presentBranch(top: string, wanted: { branch: string; commit: string; runId: string }): Promise<string> {
  const found = await git(top, "rev-parse", "--verify", "--quiet", `refs/heads/${wanted.branch}^{commit}`);
  if (found.code === 0) return wanted.branch;
  const kept = await git(top, "cat-file", "-e", `${wanted.commit}^{commit}`);
  const advice =
    kept.code === 0
      ? `Its commit is still here: git branch ${wanted.branch} ${wanted.commit}`
      : `The change is still there: runyard diff ${wanted.runId} | git apply`;
  throw new CliError(`The branch ${wanted.branch} is not in this repository any more.`, { advice, exitCode: EXIT.refused });
}

async function bring(tree: Tree, commit: boolean): Promise<Done> {
  const { top, branch, before } = tree;
  const base = (await git(top, "merge-base", "HEAD", branch)).stdout.trim();
  const theirs = (await mustGit(top, "rev-parse", `refs/heads/${branch}`)).trim();
  if (base === theirs) return { how: "nothing", before, after: before, files: 0, undo: null };
  const changed = split(await mustGit(top, "diff", "--name-only", "--no-renames", "-z", base === "" ? before : base, theirs));
  await refuseOverwriting(top, changed);
  const merged = commit ? await git(top, "merge", "--no-edit", branch) : await git(top, "merge", "--squash", branch);
  if (merged.code !== 0) throw await notMerged(tree, { commit, why: lastWords(merged) });
  const after = (await mustGit(top, "rev-parse", "HEAD")).trim();
  const how = commit ? (after === theirs ? "fast-forward" : "merge") : "changes";
  return { how, before, after, files: changed.length, undo: `git reset --merge ${commit ? before.slice(0, 12) : "HEAD"}` };
}

/** Files with changes of the person's own that the run changed too. Staged ones stop git's merge, and its undo. */
async function refuseOverwriting(top: string, changed: readonly string[]): Promise<void> {
  const staged = split(await mustGit(top, "diff", "--cached", "--name-only", "--no-renames", "-z"));
  const unstaged = split(await mustGit(top, "diff", "--name-only", "--no-renames", "-z"));
  const untracked = split(await mustGit(top, "ls-files", "--others", "-z"));
  const touched = new Set([...unstaged, ...untracked]);
  const overwritten = changed.filter(
    (file) => touched.has(file) || untracked.some((other) => file.startsWith(`${other}/`) || other.startsWith(`${file}/`)),
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

/** A conflict is left for the person to resolve; for anything else git has touched nothing. */
async function notMerged(tree: Tree, { commit, why }: { readonly commit: boolean; readonly why: string }): Promise<CliError> {
  const conflicts = split(await mustGit(tree.top, "diff", "--name-only", "--diff-filter=U", "-z"));
  if (conflicts.length === 0) return new CliError(`git did not merge ${tree.branch}: ${why}`, { exitCode: EXIT.refused });
  const files = conflicts.map((file) => `\n    ${file}`).join("");
  const undo = commit ? "git merge --abort" : "git reset --merge HEAD";
  return new CliError(`The run's change and yours touch the same lines in ${plural(conflicts.length, "file")}:${files}`, {
    advice: `Resolve them, then \`git add\` and \`git commit\`. Or undo it with: ${undo}`,
  });
}

function tell(done: Done, branch: string): void {
  const paint = paintFor(process.stderr);
  const files = plural(done.files, "file");
  if (done.how === "nothing") return say(`Nothing to do: ${branch} is already in the current branch.`);
  if (done.how === "changes") say(`${paint("green", "Brought")} the changes of ${branch} (${files}), staged and not committed.`);
  else say(`${paint("green", "Merged")} ${branch} (${files}${done.how === "merge" ? ", a merge commit" : ""}).`);
  say(paint("dim", `  Undo: ${done.undo}`));
}

function split(list: string): string[] {
  return list.split("\0").filter((file) => file !== "");
}
