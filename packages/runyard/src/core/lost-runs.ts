import { MAX_TIMEOUT_MS, type RunError, type RunPhase } from "@runyard/sdk/contract";
import { type AttemptSettings, decideNext, type Tries, typeInForce } from "./attempts.ts";
import type { RunFact } from "./run-machine.ts";

/** How many runners may be lost with one turn of a run before it is given up. */
export const MAX_LOSSES = 3;

/** A run that a lost runner had in hand. */
export interface LostRun {
  readonly runnerId: string;
  readonly phase: RunPhase;
  /** Its result may have been given to somebody, or may be at any moment. */
  readonly mayBeOut: boolean;
  readonly attempt: number;
  readonly cancelReason: string | null;
  /** Runners that were lost with this turn before. */
  readonly losses: number;
  readonly settings: AttemptSettings;
  /** The time that the run asked for, in milliseconds. */
  readonly timeoutMs: number;
  readonly tries: Tries;
  /** Active time of the run up to now, and that of the turns before. */
  readonly activeMs: number;
  readonly turnActiveMs: number;
  /** False while it waits for a person: its clock stands still then. */
  readonly isActive: boolean;
}

/** What becomes of it: it is queued again, with what its next attempt goes on from; or it ends; or nothing yet. */
export type Fate =
  | { readonly fact: Extract<RunFact, { type: "requeued" }>; readonly tries: Tries }
  | { readonly fact: Extract<RunFact, { type: "broke" | "deadline_passed" | "cancelled" }> }
  | null;

/**
 * What becomes of a run whose runner is lost. A wish to cancel and a deadline hold as ever. It is queued again only
 * where `someoneLives` to take it up: until then its own runner may come back and go on in the middle of the turn.
 */
export function decideLost(run: LostRun, someoneLives: boolean): Fate {
  if (run.cancelReason !== null) return { fact: { type: "cancelled", reason: run.cancelReason } };
  const timeoutMs = run.tries.timeoutMs ?? run.timeoutMs;
  if (run.isActive && run.activeMs - Math.max(run.turnActiveMs, run.tries.activeBeforeMs) >= timeoutMs)
    return outOfTime(run, { timeoutMs, someoneLives });
  if (run.mayBeOut) {
    return broke(
      `The runner ${run.runnerId} was lost while it published the result, so a part of that may be out: look whether the repository has the run's branch before you start it again.`,
    );
  }
  if (run.losses >= MAX_LOSSES)
    return broke(`The runner ${run.runnerId} was lost, as ${run.losses} before it in this turn: the run is given up.`);
  return someoneLives
    ? again(run, { ...run.tries, failed: [...run.tries.failed, { attempt: run.attempt, error: lost(run) }] }, lost(run))
    : null;
}

function outOfTime(run: LostRun, { timeoutMs, someoneLives }: { timeoutMs: number; someoneLives: boolean }): Fate {
  const error: RunError = {
    type: "timeout",
    message: `The runner ${run.runnerId} was lost, and the run used up its ${minutes(timeoutMs)} minutes of active time.`,
  };
  // The run's own rules for this error, but for the wait: the queue is wait enough.
  const next = decideNext({ ...run, error, canGoOn: false, nowMs: 0, random: 0, hostMemoryBytes: 0 });
  if (!next.again) return { fact: { type: "deadline_passed", error } };
  return someoneLives ? again(run, next.tries, error) : null;
}

function again(run: LostRun, tries: Tries, error: RunError): Fate {
  const timeout = Math.min(tries.timeoutMs ?? run.timeoutMs, MAX_TIMEOUT_MS);
  const retry = { attempt: run.attempt + 1, error, delayMs: 0, timeout, sandboxType: typeInForce(run.settings, tries) };
  // What was waited for was the lost runner's to wait for.
  return { fact: { type: "requeued", retry }, tries: { ...tries, notBeforeMs: null } };
}

function broke(message: string): Fate {
  return { fact: { type: "broke", error: { type: "lost", message } } };
}

function lost(run: LostRun): RunError {
  return { type: "lost", message: `The runner ${run.runnerId} was lost: it did not say for too long that it lives.` };
}

function minutes(ms: number): number {
  return Math.round(ms / 6_000) / 10;
}
