import { setTimeout as sleep } from "node:timers/promises";
import { type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { mayPass, remoteOutcome } from "../git/publish.ts";

/** Waits before further tries where nobody was reached, in milliseconds. */
const WAITS_MS = [1_000, 4_000];

export interface Published {
  /** Null: nobody has it. */
  readonly branch: string | null;
  /** What the log is to say of it. */
  readonly notices: readonly NewEvent[];
}

/** Does something with another machine, and again, within seconds, where nobody was reached. */
export async function triedAgain<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const outcome = signal.aborted || !RunyardError.is(error) ? null : remoteOutcome(error);
      const waitMs = outcome !== null && mayPass(outcome) ? WAITS_MS[tries] : undefined;
      if (waitMs === undefined) throw error;
      await sleep(waitMs, undefined, { signal });
    }
  }
}

/**
 * Tries to push a run's branch to another machine. What stands in the way takes nothing from the run, whose commit is in
 * the cache: it is told in the log, and the next turn tries again.
 */
export async function pushed(put: () => Promise<Published>, signal: AbortSignal): Promise<Published> {
  try {
    return await triedAgain(put, signal);
  } catch (error) {
    if (signal.aborted || !RunyardError.is(error)) throw error;
    return { branch: null, notices: [notPushed(error.message)] };
  }
}

function notPushed(reason: string): NewEvent {
  const message = `${reason}. The result is kept: \`runyard diff\` shows it, and \`runyard continue\` pushes again once that is solved.`;
  return { type: "notice", data: { level: "warning", code: "branch-not-pushed", message } };
}
