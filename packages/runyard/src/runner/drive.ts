import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent, RunError } from "@runyard/sdk/contract";
import { cancelRequest, type NewRequest } from "../agents/acp/conversation.ts";
import type { RunFact } from "../core/run-machine.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { DatabaseUnavailableError } from "../store/database.ts";
import type { RunRow } from "../store/run-row.ts";
import { findRun, reloadRun } from "../store/runs.ts";
import { doTurn } from "./agent-turn.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, STEP_NAMES } from "./directories.ts";
import { watchForEnd } from "./end-watch.ts";
import { prepareWorkspace } from "./prepare.ts";
import { publishResult } from "./publish.ts";
import { Detached, EndRequest, FencedError, type RunHandle, runHandle, RunFailure } from "./run-handle.ts";

/** Each phase does its work and commits the next one, so that a restarted server goes on with the phase it finds. */
const PHASES = { preparing: prepareWorkspace, building: doTurn, publishing: publishResult } as const;

function workOf(phase: string): ((ctx: RunnerContext, handle: RunHandle, end: AbortSignal) => Promise<void>) | undefined {
  return (PHASES as Record<string, (typeof PHASES)["building"] | undefined>)[phase];
}

/** How long to wait before the database is tried again, in milliseconds. */
const DATABASE_RETRY_MS = 500;

/**
 * Takes one run from where it stands to its end. Never rejects: a run that cannot go on ends with the
 * reason; a run that somebody else owns is left alone; when the server leaves, the run lives on.
 */
export async function driveRun(ctx: RunnerContext, row: RunRow): Promise<void> {
  let current: RunRow | undefined = row;
  while (current !== undefined) {
    const outcome = await driveUntilEnd(ctx, current);
    current = outcome === "database-away" ? await waitForDatabase(ctx, row) : undefined;
  }
}

async function driveUntilEnd(ctx: RunnerContext, row: RunRow): Promise<"let-go" | "database-away"> {
  const handle = runHandle(ctx, row);
  const watch = watchForEnd(ctx, row);
  try {
    try {
      while (handle.row.finished_at === null) {
        const work = workOf(handle.row.phase);
        if (work === undefined) throw new Error(`Nothing is known to do in the phase ${handle.row.phase}`);
        if (watch.signal.aborted) throw watch.signal.reason;
        await orLeave(ctx, work(ctx, handle, watch.signal));
      }
    } catch (error) {
      if (error instanceof DatabaseUnavailableError) throw error;
      await endRun(ctx, handle, error);
    }
    if (handle.row.finished_at !== null) await ctx.gateway.closeRun(row.id).catch(() => undefined);
    return "let-go";
  } catch (error) {
    if (error instanceof FencedError || error instanceof Detached) return "let-go";
    if (error instanceof DatabaseUnavailableError) return "database-away";
    ctx.log("error", "A run could not be ended", { run: row.id, error: String((error as Error).stack ?? error) });
    return "let-go";
  } finally {
    watch.close();
  }
}

/**
 * A lost connection may or may not have committed: only the row tells. Reads it as soon as the database
 * is back; undefined when the run is not this owner's any more, has ended, or the server leaves.
 */
async function waitForDatabase(ctx: RunnerContext, row: RunRow): Promise<RunRow | undefined> {
  ctx.log("warn", "The database is away; the run goes on when it is back", { run: row.id });
  while (!ctx.leaving.aborted) {
    await sleep(DATABASE_RETRY_MS);
    try {
      const now = await reloadRun(ctx.db, row);
      return now?.owner === row.owner && now?.finished_at === null ? now : undefined;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error;
    }
  }
  return undefined;
}

/** Work that is waited for until the server leaves; the next server repeats what was not finished. */
function orLeave(ctx: RunnerContext, work: Promise<void>): Promise<void> {
  const { leaving } = ctx;
  work.catch(() => undefined);
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(new Detached());
    leaving.addEventListener("abort", leave, { once: true });
    work.then(resolve, reject).finally(() => leaving.removeEventListener("abort", leave));
    if (leaving.aborted) leave();
  });
}

/** Kills what the run started, and commits why it ended. */
async function endRun(ctx: RunnerContext, handle: RunHandle, error: unknown): Promise<void> {
  if (error instanceof FencedError || error instanceof Detached) throw error;
  // Nothing is killed for a run that somebody else has taken over: this throws FencedError then.
  await handle.commit({});
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  for (const name of STEP_NAMES) if (existsSync(dirs.step(name))) await killRunDirectory(dirs.step(name));
  await handle.happen(factOf(error), { events: await withdrawnRequests(ctx, row) });
  if (error instanceof EndRequest || error instanceof RunFailure) return;
  ctx.log("error", "A run ended by an error of the runner", { run: row.id, error: String((error as Error).stack ?? error) });
}

/** What the agent asked and nobody will answer any more. */
async function withdrawnRequests(ctx: RunnerContext, row: RunRow): Promise<NewEvent[]> {
  const stored = await findRun(ctx.db, row.org_id, row.id);
  return (stored?.open ?? []).map((open) => cancelRequest(open.request as NewRequest).event);
}

function factOf(error: unknown): RunFact {
  if (error instanceof EndRequest) return error.fact;
  return { type: "broke", error: error instanceof RunFailure ? error.error : internalError(error) };
}

function internalError(error: unknown): RunError {
  const message = error instanceof Error ? error.message : String(error);
  if (typeof error === "object" && error !== null && "code" in error && error.code === "ENOSPC") {
    return { type: "disk-full", message: "The disk is full. Make room and start the run again." };
  }
  return { type: "sandbox-unavailable", message: `Runyard could not go on with the run: ${message}` };
}
