import { chmodSync, existsSync, lstatSync, mkdirSync, renameSync } from "node:fs";
import path from "node:path";
import type { NewEvent } from "@runyard/sdk/contract";
import { killRunDirectory } from "../sandbox/kill.ts";
import { readExitCode } from "../sandbox/run-directory.ts";
import type { Carry, RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { type AttemptDirs, attemptDirs, namesOf, type RepeatableStep, stepsOf } from "./directories.ts";
import { isOverlay } from "./overlay-workspace.ts";
import type { RunHandle } from "./run-handle.ts";

/** What an attempt's workspace is made of. */
export interface TakenOver {
  /** There is a workspace to go on with. */
  readonly isTaken: boolean;
  /** The attempt whose workspace a plan phase gets a copy of; null: it begins with a commit. */
  readonly copyOf: AttemptDirs | null;
}

/**
 * Moves the workspace and the agent's home of the turn before to this attempt, and says what there is to go on
 * with. In a plan phase the workspace stays where it is. Can be repeated: what was moved is not moved again, and
 * a workspace that is being made anew is never taken for one that was there.
 */
export async function takeOverWorkspace(ctx: Pick<RunnerContext, "home">, handle: RunHandle): Promise<TakenOver> {
  const { row } = handle;
  const { carry } = row;
  const { workspace } = attemptState(row);
  if (carry === null || workspace === "fresh") return FRESH;
  const dirs = attemptDirs(ctx.home, row);
  const dirsOf = (attempt: number): AttemptDirs => attemptDirs(ctx.home, { id: row.id, attempt });
  const broken = brokenAttempts(ctx, row, carry);
  const workspaces = [...broken, ...carry.attempts.map(dirsOf)];
  const homes = [...broken, ...(carry.homes ?? carry.attempts).map(dirsOf)];
  const isMissed = !row.plans && workspaces.length > 0;
  // Whoever begins the next turn must know that the files may be here from now on.
  if (isMissed && workspace === undefined) await noteWorkspace(handle, "taken", []);
  for (const from of new Set([...workspaces, ...homes])) await killAttempt(from);
  mkdirSync(dirs.root, { recursive: true, mode: 0o700 });
  moveFirst(
    homes.map((from) => from.home),
    dirs.home,
  );
  if (row.plans) return { isTaken: false, copyOf: carry.attempts.map(dirsOf).find((from) => isDirectory(from.workspace)) ?? null };
  // Where there never was one, as behind the first plan of a run, none is missed. What lies here then, a server has begun to
  // make that was killed.
  if (!isMissed) return FRESH;
  const from = workspaces.find(({ workspace: there }) => isDirectory(there));
  moveFirst(
    workspaces.map(({ repositories }) => repositories),
    dirs.repositories,
  );
  // Before the folder on which it is seen, by which a repetition finds out that this is not over.
  if (from !== undefined && !existsSync(dirs.workspace)) moveFirst([from.overlay], dirs.overlay);
  moveFirst(from === undefined ? [] : [from.workspace], dirs.workspace);
  if (existsSync(dirs.workspace)) return { isTaken: true, copyOf: null };
  await noteWorkspace(handle, "fresh", [workspaceGone(carry.head ?? row.base_commit)]);
  return FRESH;
}

const FRESH: TakenOver = { isTaken: false, copyOf: null };

/**
 * Attempts of this very turn that broke once they had the workspace, the newest first: the next one goes on
 * there, because what the turns before left uncommitted is nowhere else. Those that planned are none of them.
 */
function brokenAttempts(ctx: Pick<RunnerContext, "home">, row: RunRow, carry: Carry): AttemptDirs[] {
  const known = [carry.goesOn?.attempt, carry.attempts[0], carry.homes?.[0]].filter((attempt) => attempt !== undefined);
  const last = known.length === 0 ? row.attempt : Math.max(...known);
  const found: AttemptDirs[] = [];
  for (let attempt = row.attempt - 1; attempt > last; attempt -= 1) {
    const dirs = attemptDirs(ctx.home, { id: row.id, attempt });
    if (hadWorkspace(dirs) && !isHalfMerged(row, dirs)) found.push(dirs);
  }
  return found;
}

/** Whether an attempt was lost while it brought in the base branch: nobody knows what of that is in its files. */
function isHalfMerged(row: RunRow, dirs: AttemptDirs): boolean {
  return (
    row.carry?.rebase !== undefined &&
    attemptState(row).rebase === undefined &&
    namesOf("merge").some((name) => existsSync(dirs.step(name)))
  );
}

/** Whether an attempt came to have its workspace, and not only a part of it: set-up may have failed in the middle. */
function hadWorkspace(dirs: AttemptDirs): boolean {
  const succeeded = (step: RepeatableStep): boolean => namesOf(step).some((name) => readExitCode(dirs.step(name)) === 0);
  const isSetUp = existsSync(dirs.step("setup-0"));
  return isSetUp ? succeeded("settle") : succeeded("prepare") || succeeded("restore") || isOverlay(dirs);
}

async function noteWorkspace(handle: RunHandle, workspace: AttemptState["workspace"], events: readonly NewEvent[]): Promise<void> {
  const state = { ...attemptState(handle.row), workspace } as AttemptState;
  await handle.commit({ events, change: { state } });
}

/** The turn before has ended, and with it its processes; this makes certain of it before anything is moved. */
async function killAttempt(dirs: AttemptDirs): Promise<void> {
  for (const step of stepsOf(dirs.root)) await killRunDirectory(step);
}

function moveFirst(sources: readonly string[], target: string): void {
  if (existsSync(target)) return;
  const source = sources.find(isDirectory);
  if (source === undefined) return;
  // To move a directory is to write in it, which an agent may have taken from us.
  chmodSync(source, 0o700);
  mkdirSync(path.dirname(target), { recursive: true, mode: 0o700 });
  renameSync(source, target);
}

function isDirectory(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === true;
}

function workspaceGone(commit: string): NewEvent {
  return {
    type: "notice",
    data: {
      level: "warning",
      code: "workspace-renewed",
      message: `The workspace of the turn before is not there any more: the agent works on a new copy of the commit ${commit.slice(0, 10)}. What was not committed is lost.`,
    },
  };
}
