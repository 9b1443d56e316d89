import { chmodSync, existsSync, lstatSync, mkdirSync, renameSync } from "node:fs";
import path from "node:path";
import type { NewEvent } from "@runyard/sdk/contract";
import { killRunDirectory } from "../sandbox/kill.ts";
import { readExitCode } from "../sandbox/run-directory.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { type AttemptDirs, attemptDirs, STEP_NAMES } from "./directories.ts";
import type { RunHandle } from "./run-handle.ts";

/**
 * Moves the workspace and the agent's home of the turn before to this attempt, and says whether there is a
 * workspace to go on with. Can be repeated: what was moved is not moved again, and a workspace that is being
 * made anew is never taken for one that was there.
 */
export async function takeOverWorkspace(ctx: Pick<RunnerContext, "home">, handle: RunHandle): Promise<boolean> {
  const { row } = handle;
  const { carry } = row;
  const { workspace } = attemptState(row);
  if (carry === null || carry.attempts.length === 0 || workspace === "fresh") return false;
  if (workspace === undefined) {
    // Whoever begins the next turn must know that the files may be here from now on.
    await noteWorkspace(handle, "taken", []);
  }
  const dirs = attemptDirs(ctx.home, row);
  const dirsOf = (attempt: number): AttemptDirs => attemptDirs(ctx.home, { id: row.id, attempt });
  const earlier = [...brokenAttempts(ctx, row, carry.attempts[0] ?? row.attempt), ...carry.attempts.map(dirsOf)];
  for (const from of earlier) await killAttempt(from);
  mkdirSync(dirs.root, { recursive: true, mode: 0o700 });
  for (const name of ["workspace", "home"] as const)
    moveFirst(
      earlier.map((from) => from[name]),
      dirs[name],
    );
  if (existsSync(dirs.workspace)) return true;
  await noteWorkspace(handle, "fresh", [workspaceGone(carry.head ?? row.base_commit)]);
  return false;
}

/**
 * Attempts of this very turn that broke once they had the workspace, the newest first: the next one goes on
 * there, because what the turns before left uncommitted is nowhere else.
 */
function brokenAttempts(ctx: Pick<RunnerContext, "home">, row: RunRow, last: number): AttemptDirs[] {
  const found: AttemptDirs[] = [];
  for (let attempt = row.attempt - 1; attempt > last; attempt -= 1) {
    const dirs = attemptDirs(ctx.home, { id: row.id, attempt });
    if (readExitCode(dirs.step("prepare")) === 0) found.push(dirs);
  }
  return found;
}

async function noteWorkspace(handle: RunHandle, workspace: AttemptState["workspace"], events: readonly NewEvent[]): Promise<void> {
  const state = { ...attemptState(handle.row), workspace } as AttemptState;
  await handle.commit({ events, change: { state } });
}

/** The turn before has ended, and with it its processes; this makes certain of it before anything is moved. */
async function killAttempt(dirs: AttemptDirs): Promise<void> {
  for (const name of STEP_NAMES) if (existsSync(dirs.step(name))) await killRunDirectory(dirs.step(name));
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
