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

/**
 * Tries to make a run's branch, here or on another machine. What stands in the way takes nothing from the run, whose commit is
 * in the cache: it is told in its result and its log, and the next turn tries again. A full disk is an error as ever.
 */
export async function pushed(put: () => Promise<Published>, signal: AbortSignal): Promise<Published> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await put();
    } catch (error) {
      if (signal.aborted || !RunyardError.is(error) || diskFullCause(error) !== null) throw error;
      const outcome = remoteOutcome(error);
      const waitMs = outcome !== null && mayPass(outcome) ? WAITS_MS[tries] : undefined;
      if (waitMs === undefined) return notPushed(branchProblemOf(error));
      await sleep(waitMs, undefined, { signal });
    }
  }
}

function notPushed(problem: BranchProblem): Published {
  const { message } = problem;
  return { branch: null, problem, notices: [{ type: "notice", data: { level: "warning", code: "branch-not-pushed", message } }] };
}
