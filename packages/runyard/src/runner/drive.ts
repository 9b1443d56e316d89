import { setTimeout as sleep } from "node:timers/promises";
import { type NewEvent, type RunError, RunyardError, type RunPhase } from "@runyard/sdk/contract";
import { cancelRequest, type NewRequest } from "../agents/acp/conversation.ts";
import type { RunFact } from "../core/run-machine.ts";
import { mayPass, remoteOutcome } from "../git/publish.ts";
import { JournalShrankError } from "../sandbox/journal.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { DatabaseUnavailableError } from "../store/database.ts";
import type { RunRow } from "../store/run-row.ts";
import { findRun, reloadRun } from "../store/runs.ts";
import { doTurn } from "./agent-turn.ts";
import { isBounded, requireBudget, requireShare } from "./budget.ts";
import type { RunnerContext } from "./context.ts";
import { type AttemptDirs, attemptDirs, stepsOf } from "./directories.ts";
import { diskFullCause } from "./disk-full.ts";
import { watchForEnd } from "./end-watch.ts";
import { openRunSecrets } from "./give-secrets.ts";
import { letGoOf } from "./let-go.ts";
import { awaitAttempt, beginNext, nextAfter, settleCalls } from "./next-attempt.ts";
import { leaveOverlay, writtenIn } from "./overlay-workspace.ts";
import { forgetLogin } from "./own-login.ts";
import { makePlan } from "./plan-phase.ts";
import { prepareWorkspace } from "./prepare.ts";
import { publishResult } from "./publish.ts";
import { concludeBroken } from "./replay.ts";
import { verifyWork } from "./verify.ts";
import { partWithAgent, release } from "./release.ts";
import { Detached, EndRequest, FencedError, ReleaseRequest, type RunHandle, runHandle, RunFailure } from "./run-handle.ts";

/** Each phase does its work and commits the next one, so that a restarted server goes on with the phase it finds. */
const PHASES = {
  preparing: prepareWorkspace,
  planning: makePlan,
  building: doTurn,
  verifying: verifyWork,
  publishing: publishResult,
} as const;

function workOf(phase: string): ((ctx: RunnerContext, handle: RunHandle, end: AbortSignal) => Promise<void>) | undefined {
  return (PHASES as Record<string, (typeof PHASES)["building"] | undefined>)[phase];
}

/** How long to wait before a run that could not be gone on with is taken up again, in milliseconds; doubled each time. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 5_000;

/** Why a run is to end. Once that is decided it stays so, also where ending it has to be tried again. */
interface Decided {
  readonly reason: unknown;
}

/**
 * Takes one run from where it stands to its end. Never rejects: a run that cannot go on ends with the
 * reason; a run that somebody else owns is left alone; when the server leaves, the run lives on. Where
 * even that fails (the database is away, a disk is full) it is tried again until it works. Where `row` is not sure, because
 * this process had the run in hand until now and may have gone on with it already, it is read first.
 */
export async function driveRun(context: RunnerContext, row: RunRow, { isSure }: { readonly isSure: boolean }): Promise<void> {
  const ctx = { ...context, git: context.gitOf(row.org_id) };
  let current = isSure ? row : await takeUpAgain(ctx, row, 0);
  let decided: Decided | null = null;
  const secrets = openRunSecrets(ctx, row);
  for (let retryMs = FIRST_RETRY_MS; current !== undefined; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
    const handle = runHandle(ctx, current, secrets);
    try {
      decided ??= await workThrough(ctx, handle);
      if (decided !== null && isInHand(handle.row)) await endRun(ctx, handle, decided.reason);
      if (isInHand(handle.row)) {
        current = handle.row;
        decided = null;
        retryMs = FIRST_RETRY_MS;
        continue;
      }
      await ctx.gateway.closeRun(row.id).catch(() => undefined);
      forgetLogin(ctx, handle.row);
      await letGoOfOverlay(ctx, handle.row);
      return;
    } catch (error) {
      if (error instanceof FencedError) await letGoOf(ctx, handle.row);
      if (isOthersNow(error)) return;
      const what = error instanceof DatabaseUnavailableError ? "The database is away" : "A run could not be ended";
      ctx.log("warn", `${what}; it is tried again`, { run: row.id, error: secrets.redactor.text(errorText(error)) });
      current = await takeUpAgain(ctx, row, retryMs);
      // While the database was away, the lease may have passed, and the run with it.
      if (current === undefined) await letGoOf(ctx, handle.row);
      // The next attempt may have been committed without an answer: what ended the last one does not end this one.
      if (current?.attempt !== handle.row.attempt) decided = null;
    }
  }
}

/** What could not be ended now is by the next server, or by whoever looks through what ended runs left. */
async function letGoOfOverlay(ctx: RunnerContext, row: RunRow): Promise<void> {
  await leaveOverlay(attemptDirs(ctx.home, row).root).catch((error: unknown) =>
    ctx.log("error", "What holds the workspace of a run could not be ended", { run: row.id, error: errorText(error) }),
  );
}

/** Does phase after phase until the run has ended: null, or why it cannot go on. Throws where nothing may be decided. */
async function workThrough(ctx: RunnerContext, handle: RunHandle): Promise<Decided | null> {
  const watch = watchForEnd(ctx, handle.row);
  try {
    // A run that a server was ending when it was killed must not look like one whose agent broke off.
    await orLeave(ctx, watch.looked);
    await orLeave(ctx, handle.secrets.load());
    while (isInHand(handle.row)) {
      requireBudget(ctx, handle.row);
      await requireShare(ctx, handle.row);
      const work = workOf(handle.row.phase);
      if (work === undefined) throw new Error(`Nothing is known to do in the phase ${handle.row.phase}`);
      await orLeave(ctx, ctx.lease.whenHeld(watch.signal));
      if (watch.signal.aborted) throw watch.signal.reason;
      await orLeave(ctx, awaitAttempt(ctx, handle, watch.signal));
      await orLeave(ctx, work(ctx, handle, watch.signal));
    }
    return null;
  } catch (error) {
    // Work that was broken off because the run is somebody else's may say so in words of its own.
    if (watch.signal.reason instanceof FencedError) throw watch.signal.reason;
    if (isOthersNow(error) || error instanceof DatabaseUnavailableError) throw error;
    return { reason: error };
  } finally {
    watch.close();
  }
}

/** False once a run has ended, or waits for somebody who may take his time. */
function isInHand(row: RunRow): boolean {
  return row.finished_at === null && row.owner !== null;
}

/** Somebody else goes on with the run: another owner, or the next server. */
function isOthersNow(error: unknown): boolean {
  return error instanceof FencedError || error instanceof Detached;
}

/**
 * A lost connection may or may not have committed: only the row tells. Reads it as soon as that works;
 * undefined when the run is not this owner's any more, or the server leaves.
 */
async function takeUpAgain(ctx: RunnerContext, row: RunRow, retryMs: number): Promise<RunRow | undefined> {
  for (let waitMs = retryMs; !ctx.leaving.aborted; waitMs = Math.max(retryMs, FIRST_RETRY_MS)) {
    await sleep(waitMs, undefined, { signal: ctx.leaving }).catch(() => undefined);
    if (ctx.leaving.aborted) return undefined;
    try {
      const now = await reloadRun(ctx.db, row);
      return now?.owner === row.owner ? now : undefined;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError))
        ctx.log("error", "A run could not be read", { run: row.id, error: errorText(error) });
    }
  }
  return undefined;
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
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

/** Kills what the attempt started, and commits the next attempt, that the run waits without one, or why it ended. */
async function endRun(ctx: RunnerContext, handle: RunHandle, error: unknown): Promise<void> {
  // Nothing is killed for a run that somebody else has taken over: this throws FencedError then.
  await handle.commit({});
  const isRelease = error instanceof ReleaseRequest;
  if (isRelease) await partWithAgent(ctx, handle);
  const dirs = attemptDirs(ctx.home, handle.row);
  for (const dir of stepsOf(dirs.root)) await killRunDirectory(dir);
  if (isBounded(handle.row)) await settleSpending(ctx, handle);
  const { row } = handle;
  if (isRelease) return releaseOrEnd(ctx, handle);
  if (!(error instanceof EndRequest || error instanceof RunFailure))
    ctx.log("error", "A run ended by an error of the runner", { run: row.id, error: handle.secrets.redactor.text(errorText(error)) });
  const fact = factOf(error, dirs, row.phase);
  const next = await nextAfter(ctx, row, { fact, canGoOn: error instanceof RunFailure && error.canGoOn });
  const last = error instanceof RunFailure ? error.last : null;
  const events = [...(last?.events ?? []), ...(await withdrawnRequests(ctx, row))];
  if (next.again) return beginNext(ctx, handle, { next, events });
  const told = [...events, ...(await concludeBroken(ctx, handle, fact))];
  await handle.happen(withNote(fact, next.note), { events: told, change: last === null ? {} : { state: last.state } });
}

/** What a run took of what it may spend is known before its place is given to others. Where it cannot be known the run ends all the same. */
async function settleSpending(ctx: RunnerContext, handle: RunHandle): Promise<void> {
  try {
    await ctx.gateway.closeRun(handle.row.id);
    await settleCalls(ctx, handle);
  } catch (error) {
    if (isOthersNow(error) || error instanceof DatabaseUnavailableError) throw error;
    ctx.log("warn", "What a run spent last is not known", { run: handle.row.id, error: errorText(error) });
  }
}

/** Where somebody cancelled in the meantime, the run ends instead of waiting for people. */
async function releaseOrEnd(ctx: RunnerContext, handle: RunHandle): Promise<void> {
  try {
    await release(handle);
  } catch (error) {
    if (!(error instanceof EndRequest)) throw error;
    await endRun(ctx, handle, error);
  }
}

function withNote(fact: RunFact, note: string | null): RunFact {
  return fact.type === "broke" && note !== null ? { ...fact, error: { ...fact.error, message: `${fact.error.message} ${note}` } } : fact;
}

/** What the agent asked and nobody will answer any more. */
async function withdrawnRequests(ctx: RunnerContext, row: RunRow): Promise<NewEvent[]> {
  const stored = await findRun(ctx.db, row.org_id, row.id);
  return (stored?.open ?? []).map((open) => cancelRequest(open.request as NewRequest).event);
}

function factOf(error: unknown, dirs: AttemptDirs, phase: RunPhase): RunFact {
  if (error instanceof EndRequest) return error.fact;
  if (error instanceof RunFailure) return { type: "broke", error: error.error };
  const why = internalError(error, dirs.root);
  // The work is done, only nobody has it yet.
  const kept = phase === "publishing" ? ` What the agent left is in ${writtenIn(dirs)}.` : "";
  return { type: "broke", error: { ...why, message: `${why.message}${kept}` } };
}

function internalError(error: unknown, dir: string): RunError {
  const full = diskFullCause(error, dir);
  if (full !== null) return full;
  if (error instanceof JournalShrankError)
    return {
      type: "lost",
      message: "The journal of the agent was changed by somebody else, so what it did is not known. Start the run again.",
    };
  const message = error instanceof Error ? error.message : String(error);
  const outcome = remoteOutcome(error);
  if (outcome !== null && mayPass(outcome)) return { type: "network-error", message: `${message}.` };
  // Words that were written for the user need no more.
  const said = RunyardError.is(error) ? `${message}.` : `Runyard could not go on with the run: ${message}`;
  return { type: "sandbox-unavailable", message: said };
}
