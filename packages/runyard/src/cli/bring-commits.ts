import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { CliError, EXIT } from "./exit-codes.ts";
import { git, lastWords, mustGit } from "./git.ts";
import { shellWord } from "./output.ts";
import { writeTo } from "./workspace-files.ts";

/** The result of a run, as its record has it. */
export interface Wanted {
  readonly run: Run;
  readonly commit: string;
}

/**
 * Makes sure that a repository has the commits of a run's result: where they are not here, from the server, as a bundle that
 * must hold the very commit that the run's record names. No ref is made. Returns whether they were fetched. Throws CliError.
 */
export async function bringCommits(client: RunyardClient, folder: string, { run, commit }: Wanted): Promise<boolean> {
  await requireBase(folder, run);
  // All of it, not the commit alone: a fetch that was broken off may have left a part.
  const whole = ["rev-list", "--objects", "--quiet", commit, `^${run.baseCommit}`];
  if ((await git(folder, ...whole)).code === 0) return false;
  const draft = await mkdtemp(path.join(tmpdir(), "runyard-pull-"));
  try {
    const bundle = path.join(draft, "result.bundle");
    await writeTo(bundle, client.runs.bundle(run.id));
    const heads = (await mustGit(folder, "bundle", "list-heads", bundle)).trimEnd().split("\n");
    const ref = heads.length === 1 && heads[0]?.startsWith(`${commit} refs/heads/`) ? heads[0].slice(commit.length + 1) : undefined;
    if (ref === undefined) throw new CliError(`The server sent other commits than ${commit}, which ${run.id} made, so nothing was taken.`);
    const fetched = await git(folder, ...FETCH, "--", bundle, ref);
    if (fetched.code !== 0) throw new CliError(`git did not take the commits of ${run.id}: ${lastWords(fetched)}`);
    await mustGit(folder, ...whole);
    return true;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Objects only, each of them checked. */
const FETCH = [
  "-c",
  "fetch.fsckObjects=true",
  "fetch",
  "--quiet",
  "--no-tags",
  "--no-write-fetch-head",
  "--no-recurse-submodules",
  "--refmap=",
];

async function requireBase(folder: string, run: Run): Promise<void> {
  if ((await git(folder, "cat-file", "-e", `${run.baseCommit}^{commit}`)).code === 0) return;
  const remotes = (await mustGit(folder, "remote")).split("\n").filter((name) => name !== "");
  const from = remotes.includes("origin") ? "origin" : (remotes[0] ?? shellWord(run.repositoryUrl));
  const isShallow = (await mustGit(folder, "rev-parse", "--is-shallow-repository")).trim() === "true";
  throw new CliError(
    `The commit ${run.baseCommit.slice(0, 12)}, which ${run.id} started from, is not in ${folder}: it is another repository than ${run.repositoryUrl}, or has not got that commit yet.`,
    { advice: `In a clone of it, get it with: git fetch ${isShallow ? "--unshallow " : ""}${from}`, exitCode: EXIT.refused },
  );
}
