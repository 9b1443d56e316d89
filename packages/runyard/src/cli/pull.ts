import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import { isTerminal, type Run } from "@runyard/sdk/contract";
import { Option } from "commander";
import { bringCommits } from "./bring-commits.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { git } from "./git.ts";
import { type Merged, mergeResult } from "./merge-result.ts";
import { bytes, paintFor, plural, printable, printJson, say, shellWord, writeOut } from "./output.ts";
import { checkOut, pullBranch } from "./pull-branch.ts";
import { furtherHere, type FurtherHere } from "./pull-further.ts";
import { whyNoBranch } from "./render-run.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { writeTo } from "./workspace-files.ts";

interface PullOptions {
  readonly checkout?: true;
  readonly merge?: true;
  readonly apply?: true;
  /** True: to stdout. */
  readonly patch?: true | string;
  readonly into?: string;
  readonly json?: boolean;
}

export const pull = command("pull", {
  summary: "Bring a run's result into a clone of its repository",
  group: GROUP.runs,
  more: "Stand in a clone of the run's repository, or of one of its further ones, on any machine, or name it with --into. What is not there comes from the server: the very commits that the run made. Without an option they become the run's branch, and nothing else is touched. No hook is run. Nothing is touched either where uncommitted changes would be overwritten. How to undo it is printed.",
  examples: [
    "runyard pull last",
    "runyard pull last --checkout",
    "runyard pull 62g7a1 --merge",
    "runyard pull 62g7a1 --apply --into ~/src/site",
    "runyard pull 62g7a1 --patch fix.patch",
  ],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--checkout", "check the branch out as well")
  .addOption(new Option("--merge", "merge the branch into the one that is checked out").conflicts("checkout"))
  .addOption(new Option("--apply", "bring the changes only, staged and not committed; without a branch").conflicts(["checkout", "merge"]))
  .addOption(
    new Option("--patch [file]", "write the changes as a patch into a file, or to stdout; no repository is needed").conflicts([
      "checkout",
      "merge",
      "apply",
      "into",
    ]),
  )
  .option("--into <folder>", "a clone of the run's repository (default: the one you stand in)")
  .addOption(jsonOption())
  .action(async (name: string, options: PullOptions) => {
    if (options.json === true && options.patch === true)
      throw new CliError("A patch on stdout leaves no room for JSON.", { advice: "Name a file: --patch <file>", exitCode: EXIT.usage });
    const client = connect();
    const run = await client.runs.get(await findRunId(client, name));
    const further = options.patch === undefined ? await furtherHere(run, options.into ?? ".") : null;
    const { branch, commit } = (await keptOf(client, run, options)) ?? resultOf(run, further, options);
    if (options.patch !== undefined) return writePatch(client, run, { file: options.patch, json: options.json === true });
    const top = await repositoryAt(options.into ?? ".", run, options);
    const isFetched = await bringCommits(client, top, {
      runId: run.id,
      commit,
      place: further ?? { repositoryUrl: run.repositoryUrl, baseCommit: run.baseCommit },
    });
    const done =
      branch === null ? await mergeResult({ top, name: commit, commit }, "changes") : await takeBranch({ top, branch, commit }, options);
    if (options.json === true) printJson({ runId: run.id, repository: top, branch, commit, isFetched, ...done });
    else tell(done, { runId: run.id, branch, commit });
  });

interface Result {
  /** Null: it is not wanted. */
  readonly branch: string | null;
  readonly commit: string;
}

type Done = Merged | { readonly how: "made" | "moved" | "there" | "checked-out"; readonly undo: string | null };

async function takeBranch(
  at: { readonly top: string; readonly branch: string; readonly commit: string },
  options: PullOptions,
): Promise<Done> {
  const { top, branch, commit } = at;
  const pulled = await pullBranch(top, branch, commit);
  if (options.merge === true) return mergeResult({ top, name: branch, commit }, "commits");
  if (options.checkout !== true) return pulled;
  return { how: "checked-out", undo: await checkOut(top, branch) };
}

/** What a run has made whose last turn left no result, for those who want no branch of it; null: it has one, or made nothing. */
async function keptOf(client: RunyardClient, run: Run, { apply, patch }: PullOptions): Promise<Result | null> {
  if ((apply !== true && patch === undefined) || run.result !== null || !isTerminal(run.status)) return null;
  const { headCommit } = await client.runs.diff(run.id);
  return headCommit === null ? null : { branch: null, commit: commitName(headCommit) };
}

/** What goes into commands of git is what git takes for it, whatever a server says. */
function commitName(name: string): string {
  if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(name)) throw new CliError("The server names no commit of git.");
  return name;
}

function resultOf(run: Run, further: FurtherHere | null, { apply, patch }: PullOptions): Result {
  const { headBranch: branch = null, headCommit: commit = null } = further ?? run.result ?? {};
  if (commit !== null) {
    commitName(commit);
    if (branch !== null && !/^[\w][\w./-]*$/.test(branch)) throw new CliError("The server names no branch of git.");
    if (apply === true || patch !== undefined) return { branch: null, commit };
    if (branch !== null) return { branch, commit };
    const made = further === null ? `made a change and no branch: ${whyNoBranch(run)}.` : whyNoFurther(run, further);
    throw new CliError(`${run.id} ${made}`, {
      advice: `Take the change with: runyard pull ${run.id} --apply`,
      exitCode: EXIT.refused,
    });
  }
  if (further !== null && run.result)
    throw new CliError(`${run.id} ${whyNoFurther(run, further)}`, {
      advice: `See it with: runyard show ${run.id}`,
      exitCode: EXIT.refused,
    });
  if (isTerminal(run.status) && run.turn > 1 && apply !== true && patch === undefined)
    throw new CliError(`${run.id} is ${run.status} in turn ${run.turn}, which brought no result.`, {
      advice: `See what the turns before made with: runyard diff ${run.id}\nTake it with: runyard pull ${run.id} --apply`,
      exitCode: EXIT.refused,
    });
  const message = isTerminal(run.status)
    ? `${run.id} is ${run.status} and left no result: there is nothing to bring.`
    : `${run.id} is ${run.status}: its result comes when it has ended.`;
  throw new CliError(message, { advice: `See it with: runyard show ${run.id}`, exitCode: EXIT.refused });
}

function whyNoFurther(run: Run, { name, headCommit, problem }: FurtherHere): string {
  return `left no branch in ${name}${problem ? `: ${problem}` : headCommit === null ? ": it changed nothing there." : `: ${whyNoBranch(run)}.`}`;
}

/** The top of the working tree, or the folder of a repository without one. */
async function repositoryAt(folder: string, run: Run, { checkout, merge, apply }: PullOptions): Promise<string> {
  const place = path.resolve(folder);
  const top = await git(place, "rev-parse", "--show-toplevel").catch(() => null);
  if (top?.code === 0) return top.stdout.replace(/\n$/, "");
  const bare = top === null ? null : await git(place, "rev-parse", "--absolute-git-dir");
  if (bare?.code === 0 && (checkout ?? merge ?? apply) === true)
    throw new CliError(`${place} is a repository without a working tree, into which nothing can be brought but the branch.`, {
      advice: `Make the branch: runyard pull ${run.id}`,
      exitCode: EXIT.refused,
    });
  if (bare?.code === 0) return bare.stdout.replace(/\n$/, "");
  throw new CliError(`${place} is in no git repository.`, {
    advice: run.repositoryUrl.startsWith("/")
      ? `Go into a clone of the run's repository first: cd ${shellWord(run.repositoryUrl)}`
      : `Make a clone of the run's repository first: git clone ${shellWord(run.repositoryUrl)}`,
    exitCode: EXIT.refused,
  });
}

async function writePatch(
  client: RunyardClient,
  run: Run,
  { file, json }: { readonly file: true | string; readonly json: boolean },
): Promise<void> {
  const patch = client.runs.patchStream(run.id);
  if (file === true || file === "-") {
    await writeOut(patch);
    return;
  }
  const size = await writeTo(file, patch);
  if (json) printJson({ runId: run.id, how: "patch", file: path.resolve(file), bytes: size });
  else say(`A patch of ${bytes(size)} in ${printable(file)}. Take it with: git apply ${shellWord(file)}`);
}

function tell(done: Done, { runId, branch, commit }: Result & { readonly runId: string }): void {
  const paint = paintFor(process.stderr);
  const name = branch ?? commit.slice(0, 12);
  const isLeft = branch !== null && ["made", "moved", "there"].includes(done.how);
  say(sentenceOf(done, name).replace(/^\w+/, (word) => paint("green", word)));
  for (const hint of [
    ...(done.undo === null ? [] : [`Undo: ${done.undo}`]),
    ...(isLeft ? [`Look: git log -p HEAD..${branch}`, `Take: runyard pull ${runId} --checkout (or --merge, --apply)`] : []),
  ])
    say(paint("dim", `  ${hint}`));
}

function sentenceOf(done: Done, name: string): string {
  const files = "files" in done ? plural(done.files, "file") : "";
  switch (done.how) {
    case "made":
      return `Made the branch ${name}. Nothing else was touched.`;
    case "moved":
      return `Moved the branch ${name} on. Nothing else was touched.`;
    case "there":
      return `Nothing to do: the branch ${name} is here.`;
    case "checked-out":
      return `Checked ${name} out.`;
    case "nothing":
      return `Nothing to do: ${name} is already in what is checked out.`;
    case "changes":
      return `Brought the changes of ${name} (${files}), staged and not committed.`;
    case "fast-forward":
      return `Merged ${name} (${files}).`;
    case "merge":
      return `Merged ${name} (${files}, a merge commit).`;
  }
}
