import { mkdirSync } from "node:fs";
import path from "node:path";
import type { NewEvent, RunPhase } from "@runyard/sdk/contract";
import { neutralMessage } from "../core/neutral-text.ts";
import { updateCache } from "../git/cache.ts";
import { ontoRef } from "../git/names.ts";
import type { RepositoryPlace } from "../git/local-repository.ts";
import { importResult, mergeArgv, readConflicts, relationOf } from "../git/publish.ts";
import { attemptSettings } from "../store/attempts-shown.ts";
import type { Carry, RunRow } from "../store/run-row.ts";
import { pathsInside } from "./agent-launch.ts";
import { type AttemptState, attemptState, branchBase, type RebaseState } from "./attempt-state.ts";
import { notMade } from "./base-workspace.ts";
import { commitClaims, commitTree, turnBase } from "./commit-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep, whyItFailed } from "./sandbox-step.ts";
import { signResult } from "./sign-result.ts";
import { takeResult } from "./take-result.ts";
import { goOnArgv } from "./workspace-steps.ts";

const MERGE_TIMEOUT_MS = 600_000;

type Wanted = NonNullable<Carry["rebase"]>;

interface Bringing {
  readonly wanted: Wanted;
  readonly repository: RepositoryPlace;
  readonly cachePath: string;
  /** Whether the workspace is a checkout in which nobody has worked. */
  readonly isNew: boolean;
  readonly end: AbortSignal;
}

/** What came of it, with what the log is told. */
export interface Brought {
  readonly rebase: RebaseState;
  readonly events: readonly NewEvent[];
}

/**
 * Merges what a run's base branch is by now into its workspace, in a turn that is to; null: it is not, or that was done. The merge is a
 * commit of the cache then, or the workspace is in the middle of it with files that conflict. Can be repeated as long as
 * nothing of it is stored. Throws RunFailure `merge-failed`.
 */
export async function bringBase(ctx: RunnerContext, handle: RunHandle, options: Omit<Bringing, "wanted">): Promise<Brought | null> {
  const { row } = handle;
  const wanted = row.carry?.rebase;
  if (wanted === undefined || attemptState(row).rebase !== undefined) return null;
  const { repository, cachePath, end } = options;
  const { commit } = wanted;
  await updateCache(ctx.git, { cacheDir: ctx.home.cacheDir, repository, commit, runId: row.id, ref: ontoRef(row.id), signal: end });
  const left = options.isNew ? null : await commitLeft(ctx, handle, options);
  const from = left ?? turnBase(row);
  const relation = await relationOf(ctx.git, { cachePath, head: from, onto: commit, signal: end });
  if (relation === "unrelated") throw new RunFailure({ type: "merge-failed", message: unrelated(wanted, from) });
  if (relation === "has-it") {
    if (left !== null) await goOnAt(ctx, handle, { ...options, commit: left });
    return told(handle, wanted, { outcome: "nothing", from, head: from, conflicts: [] });
  }
  await handle.commit({ change: { state: { ...attemptState(row), merging: from } satisfies AttemptState } });
  return told(handle, wanted, await merge(ctx, handle, { ...options, wanted, from, isForward: relation === "behind" }));
}

/** The phase of a turn that is over with its base brought in, and its words; null: an agent has something to do. */
export function withoutAgent(
  row: RunRow,
  { outcome, head }: RebaseState,
): { readonly phase: RunPhase; readonly said: { readonly summary: string } } | null {
  const wanted = row.carry?.rebase;
  if (wanted === undefined || wanted.hasTask || outcome === "conflicts") return null;
  const { branch, commit } = wanted;
  const at = `${branch} (${commit.slice(0, 10)})`;
  if (outcome === "nothing") return { phase: "publishing", said: { summary: `There was nothing to bring in: ${at} is in already.` } };
  const summary =
    outcome === "merged" ? `Merged ${at}, without conflicts: ${head.slice(0, 10)}.` : `Went on to ${at}, which has all of it.`;
  return { phase: attemptSettings(row).verify.length > 0 ? "verifying" : "publishing", said: { summary } };
}

function told({ row }: RunHandle, { branch, commit }: Wanted, rebase: RebaseState): Brought {
  const { outcome, head, conflicts } = rebase;
  const data = { branch, commit, before: branchBase(row), outcome, conflicts: [...conflicts] };
  const event: NewEvent = {
    type: "base.updated",
    data: { ...data, head: outcome === "merged" || outcome === "forwarded" ? head : null },
  };
  return { rebase, events: [event] };
}

function unrelated({ branch, commit }: Wanted, from: string): string {
  return `The branch ${branch} is at ${commit.slice(0, 10)} now, which has no commit in common with ${from.slice(0, 10)}: it was made anew, or the clone is shallow. Give the task to a new run, which begins from there.`;
}

/** Commits what the turns before left uncommitted, as where one of them failed: a merge would not stand beside it. Null: there is nothing. */
async function commitLeft(ctx: RunnerContext, handle: RunHandle, { cachePath, end }: Omit<Bringing, "wanted">): Promise<string | null> {
  const { row, secrets } = handle;
  const base = turnBase(row);
  const { workspace } = attemptDirs(ctx.home, row);
  const place = { workspace, inside: pathsInside(ctx, row).workspace, cachePath, base, mounts: [] };
  const { redactor } = secrets;
  const resultsDir = await commitTree(ctx, row, { ...place, name: "left", resultsDir: resultsOf(ctx, handle, "left"), redactor, end });
  const { head } = await takeResult(ctx, handle, { cachePath, resultsDir, base });
  return signResult(ctx, row, { head, cachePath, base, end });
}

function resultsOf(ctx: RunnerContext, { row }: RunHandle, step: string): string {
  const dir = path.join(attemptDirs(ctx.home, row).results, step);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

async function merge(
  ctx: RunnerContext,
  handle: RunHandle,
  options: Bringing & { readonly from: string; readonly isForward: boolean },
): Promise<RebaseState> {
  const { wanted, cachePath, from, isForward, end } = options;
  const { row } = handle;
  const resultsDir = resultsOf(ctx, handle, "merge");
  const branch = resultBranch(row.id);
  const message = `${neutralMessage(`Merge branch '${wanted.branch}' into ${branch}`, { claims: [] })}\n\n${commitClaims(row).join("\n")}\n`;
  const { workspace } = pathsInside(ctx, row);
  const author = row.spec.commit?.author;
  const step: SandboxStep & { readonly name: "merge" } = {
    name: "merge",
    argv: mergeArgv({ cachePath, workspace, resultsDir, commit: from, branch, onto: wanted, isForward, message, author }),
    env: {},
    mounts: [
      { source: cachePath, target: cachePath, mode: "ro" },
      { source: resultsDir, target: resultsDir, mode: "rw" },
    ],
    network: false,
  };
  const { result } = await runRepeatably(ctx, row, { step, timeoutMs: MERGE_TIMEOUT_MS, signal: end });
  if (result.code !== 0) throw notMerged(ctx, handle, { wanted, said: result.stderr, why: whyItFailed(result) });
  const conflicts = conflictsIn(ctx, handle, { wanted, said: result.stdout });
  if (isForward) return { outcome: "forwarded", from, head: wanted.commit, conflicts: [] };
  // Of both sides, which are known: what secrets are in it were there before.
  const imported = await importResult(ctx.git, { cachePath, resultsDir, base: from, onto: wanted.commit, runId: row.id });
  const { head: merged } = imported;
  if (merged === null) throw new Error(`The merge of run ${row.id} left no commit`);
  if (conflicts.length > 0) return { outcome: "conflicts", from, head: merged, conflicts };
  const head = (await signResult(ctx, row, { head: merged, cachePath, base: from, onto: wanted.commit, end })) ?? merged;
  if (head !== merged) await goOnAt(ctx, handle, { ...options, commit: head });
  return { outcome: "merged", from, head, conflicts: [] };
}

function conflictsIn(
  ctx: RunnerContext,
  handle: RunHandle,
  { wanted, said }: { readonly wanted: Wanted; readonly said: string },
): string[] {
  try {
    return readConflicts(said);
  } catch (error) {
    throw notMerged(ctx, handle, { wanted, said: "", why: (error as Error).message });
  }
}

function notMerged(
  ctx: RunnerContext,
  { row }: RunHandle,
  { wanted, said, why }: { readonly wanted: Wanted; readonly said: string; readonly why: string },
): RunFailure {
  const message = `The branch ${wanted.branch} could not be merged into what the run made: ${why}. The run's branch is as it was. Merge it by hand, or give the task to a new run.`;
  return new RunFailure(diskFullError(said, attemptDirs(ctx.home, row).root) ?? { type: "merge-failed", message });
}

/** Sets the workspace's repository to a commit that has the files as they are. */
async function goOnAt(
  ctx: RunnerContext,
  handle: RunHandle,
  { cachePath, commit, end }: { readonly cachePath: string; readonly commit: string; readonly end: AbortSignal },
): Promise<void> {
  const { row } = handle;
  const { workspace } = pathsInside(ctx, row);
  const step: SandboxStep & { readonly name: "onward" } = {
    name: "onward",
    argv: goOnArgv({ cachePath, workspace, branch: resultBranch(row.id), commit, keep: row.spec.sandboxDriver !== "process" }),
    env: {},
    mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
    network: false,
  };
  const { result } = await runRepeatably(ctx, row, { step, timeoutMs: MERGE_TIMEOUT_MS, signal: end });
  if (result.code === 0) return;
  throw notMade(ctx, handle, result);
}
