import { setTimeout as sleep } from "node:timers/promises";
import { type BranchProblem, type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { branchProblemOf, mayPass, remoteOutcome } from "../git/publish.ts";
import { diskFullCause } from "./disk-full.ts";

/** Waits before further tries where nobody was reached, in milliseconds. */
const WAITS_MS = [1_000, 4_000];

export interface Published {
  /** Null: nobody has it. */
  readonly branch: string | null;
  /** What the log is to say of it. */
  readonly notices: readonly NewEvent[];
  /** Why nobody has it. */
  readonly problem?: BranchProblem;
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
 * Tries to make a run's branch, here or on another machine. What stands in the way takes nothing from the run, whose commit is
 * in the cache: it is told in its result and its log, and the next turn tries again. A full disk is an error as ever.
 */
export async function pushed(put: () => Promise<Published>, signal: AbortSignal): Promise<Published> {
  try {
    return await triedAgain(put, signal);
  } catch (error) {
    if (signal.aborted || !RunyardError.is(error) || diskFullCause(error) !== null) throw error;
    return notPushed(branchProblemOf(error));
  }
}

function notPushed(problem: BranchProblem): Published {
  const { message } = problem;
  return { branch: null, problem, notices: [{ type: "notice", data: { level: "warning", code: "branch-not-pushed", message } }] };
}
