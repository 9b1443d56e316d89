import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import { CliError, EXIT } from "./exit-codes.ts";
import { git, lastWords, mustGit } from "./git.ts";
import { shellWord } from "./output.ts";
import { writeTo } from "./workspace-files.ts";

/** The result of a run, as its record has it. */
export interface Wanted {
  readonly runId: string;
  readonly commit: string;
  /** The repository of the run that it is in; a further one has a name. */
  readonly place: { readonly repositoryUrl: string; readonly baseCommit: string; readonly name?: string };
}

/**
 * Makes sure that a repository has the commits of a run's result: where they are not here, from the server, as a bundle that
 * must hold the very commit that the run's record names. No ref is made. Returns whether they were fetched. Throws CliError.
 */
export async function bringCommits(client: RunyardClient, folder: string, { runId, commit, place }: Wanted): Promise<boolean> {
  await requireBase(folder, runId, place);
  // All of it, not the commit alone: a fetch that was broken off may have left a part.
  const whole = ["rev-list", "--objects", "--quiet", commit, `^${place.baseCommit}`];
  if ((await git(folder, ...whole)).code === 0) return false;
  const draft = await mkdtemp(path.join(tmpdir(), "runyard-pull-"));
  try {
    const bundle = path.join(draft, "result.bundle");
    await writeTo(bundle, client.runs.bundle(runId, place.name === undefined ? {} : { repository: place.name }));
    const heads = (await mustGit(folder, "bundle", "list-heads", bundle)).trimEnd().split("\n");
    const ref = heads.length === 1 && heads[0]?.startsWith(`${commit} refs/heads/`) ? heads[0].slice(commit.length + 1) : undefined;
    if (ref === undefined) throw new CliError(`The server sent other commits than ${commit}, which ${runId} made, so nothing was taken.`);
    const fetched = await git(folder, ...FETCH, "--", bundle, ref);
    if (fetched.code !== 0) throw new CliError(`git did not take the commits of ${runId}: ${lastWords(fetched)}`);
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

async function requireBase(folder: string, runId: string, { repositoryUrl, baseCommit }: Wanted["place"]): Promise<void> {
  if ((await git(folder, "cat-file", "-e", `${baseCommit}^{commit}`)).code === 0) return;
  const remotes = (await mustGit(folder, "remote")).split("\n").filter((name) => name !== "");
  const from = remotes.includes("origin") ? "origin" : (remotes[0] ?? shellWord(repositoryUrl));
  const isShallow = (await mustGit(folder, "rev-parse", "--is-shallow-repository")).trim() === "true";
  throw new CliError(
    `The commit ${baseCommit.slice(0, 12)}, which ${runId} started from, is not in ${folder}: it is another repository than ${repositoryUrl}, or has not got that commit yet.`,
    { advice: `In a clone of it, get it with: git fetch ${isShallow ? "--unshallow " : ""}${from}`, exitCode: EXIT.refused },
  );
}
