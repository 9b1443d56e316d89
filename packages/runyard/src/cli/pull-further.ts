import { realpath } from "node:fs/promises";
import path from "node:path";
import type { Run } from "@runyard/sdk/contract";
import { git } from "./git.ts";

/** A further repository of a run, with what the run left there. */
export interface FurtherHere {
  readonly name: string;
  readonly repositoryUrl: string;
  readonly baseCommit: string;
  readonly headBranch: string | null;
  readonly headCommit: string | null;
  /** Why there is no branch; null: nothing stands in its way. */
  readonly problem: string | null;
}

/**
 * Which of a run's further repositories a folder belongs to: the very one, or a clone that has the commit that the run started
 * from there, and not the one of its first repository. Null: none of them.
 */
export async function furtherHere(run: Run, folder: string): Promise<FurtherHere | null> {
  // Servers of earlier versions know of none.
  const further = (run as Partial<Run>).repositories ?? [];
  if (further.length === 0) return null;
  const here = await commonDir(folder);
  if (here === null || here === (await commonDir(run.repositoryUrl))) return null;
  const places = await Promise.all(further.map(async (one) => ({ one, at: await commonDir(one.repositoryUrl) })));
  const same = places.find(({ at }) => at === here)?.one;
  const isFirst = same === undefined && (await hasCommit(folder, run.baseCommit));
  const found = same ?? (isFirst ? undefined : await firstOf(further, ({ baseCommit }) => hasCommit(folder, baseCommit)));
  if (found === undefined) return null;
  const { name, repositoryUrl, baseCommit } = found;
  const { headBranch = null, headCommit = null, problem = null } = run.result?.repositories?.find((one) => one.name === name) ?? {};
  return { name, repositoryUrl, baseCommit, headBranch, headCommit, problem };
}

async function firstOf<T>(all: readonly T[], test: (one: T) => Promise<boolean>): Promise<T | undefined> {
  for (const one of all) if (await test(one)) return one;
  return undefined;
}

async function hasCommit(folder: string, commit: string): Promise<boolean> {
  return (await git(path.resolve(folder), "cat-file", "-e", `${commit}^{commit}`)).code === 0;
}

/** What all worktrees of a repository share, as a real path; null where there is no repository on this machine. */
async function commonDir(folder: string): Promise<string | null> {
  // A URL is no folder, and one that looks like one is none of this repository.
  const place = await realpath(folder).catch(() => null);
  if (place === null) return null;
  const found = await git(place, "rev-parse", "--git-common-dir").catch(() => null);
  return found?.code === 0 ? realpath(path.resolve(place, found.stdout.replace(/\n$/, ""))) : null;
}
