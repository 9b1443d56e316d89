import type { NewEvent, PullRequest, RunResult } from "@runyard/sdk/contract";
import { newId } from "../engine/ids.ts";
import type { RunHandle } from "./run-handle.ts";

/** What a run has published. */
export interface Published {
  readonly result: RunResult;
  readonly pullRequest: PullRequest | null;
  /** What came before its end. */
  readonly events: readonly NewEvent[];
}

/** Ends the run with what it published; or, where it watches the checks of that, gives it out of hand until they have ended. */
export async function finishPublished(handle: RunHandle, { result, pullRequest, events }: Published): Promise<void> {
  const { spec, carry } = handle.row;
  const { headBranch: branch, headCommit: commit } = result;
  if (spec.checks === undefined || branch === null || commit === null)
    return handle.happen({ type: "finished", result, ...(pullRequest && { pullRequest }) }, { events });
  const { checks } = spec;
  await handle.awaitChecks({
    fact: { type: "checks_awaited", started: { commit, branch, timeout: checks.timeout } },
    events,
    effectId: newId("effect"),
    effect: { checks, commit, branch, before: carry?.checks ?? null, result, pullRequest },
  });
}
