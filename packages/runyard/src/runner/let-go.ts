import { setTimeout as sleep } from "node:timers/promises";
import { isTerminal } from "@runyard/sdk/contract";
import { killRunDirectory } from "../sandbox/kill.ts";
import type { RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, stepsOf } from "./directories.ts";
import { forgetLogin } from "./own-login.ts";

const RETRY_MS = 500;

/**
 * Ends what this runner has started for an attempt that was taken from it: the run is another runner's now, waits
 * for one, or has ended, so nobody will ever read what those processes write. Leaves them alone where another process
 * of this very home goes on with them, and where the server leaves before it is known. Never rejects.
 */
export async function letGoOf(ctx: RunnerContext, row: RunRow): Promise<void> {
  try {
    if (!(await isTakenAway(ctx, row))) return;
    ctx.log("warn", "A run was taken from this runner; its processes are ended", { run: row.id, attempt: row.attempt });
    await ctx.gateway.closeRun(row.id).catch(() => undefined);
    await killAttempt(attemptDirs(ctx.home, row).root);
    forgetLogin(ctx, row);
  } catch (error) {
    ctx.log("error", "The processes of a run that was taken away could not be ended", { run: row.id, error: String(error) });
  }
}

/** Ends everything that an attempt has started, for certain. */
export async function killAttempt(root: string): Promise<void> {
  for (const step of stepsOf(root)) await killRunDirectory(step);
}

async function isTakenAway(ctx: RunnerContext, row: RunRow): Promise<boolean> {
  while (!ctx.leaving.aborted) {
    try {
      const now = await reloadRun(ctx.db, row);
      if (now === undefined || isTerminal(now.status)) return true;
      return now.owner === null || now.runner_id !== row.runner_id || now.attempt !== row.attempt;
    } catch {
      await sleep(RETRY_MS, undefined, { signal: ctx.leaving }).catch(() => undefined);
    }
  }
  return false;
}
