import { setTimeout as sleep } from "node:timers/promises";
import { type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { mayPass, publishBranch, type PublishOptions, remoteOutcome } from "../git/publish.ts";
import type { RunnerContext } from "./context.ts";

/** Waits before further tries where nobody was reached, in milliseconds. */
const WAITS_MS = [1_000, 4_000];

/**
 * Pushes a run's branch to another machine. What keeps it from there takes nothing from the run, whose commit is in the
 * cache: it is told in the log, and the next turn tries again. Resolves with what the log is to say of it; null: it is there.
 */
export async function pushBranch(ctx: RunnerContext, options: PublishOptions, signal: AbortSignal): Promise<NewEvent | null> {
  for (let tries = 0; ; tries += 1) {
    try {
      await publishBranch(ctx.git, { ...options, signal });
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (!RunyardError.is(error)) throw error;
      const outcome = remoteOutcome(error);
      const waitMs = outcome !== null && mayPass(outcome) ? WAITS_MS[tries] : undefined;
      if (waitMs === undefined) return notPushed(error.message);
      await sleep(waitMs, undefined, { signal });
    }
  }
}

function notPushed(reason: string): NewEvent {
  const message = `${reason}. The result is kept: \`runyard diff\` shows it, and \`runyard continue\` pushes again once that is solved.`;
  return { type: "notice", data: { level: "warning", code: "branch-not-pushed", message } };
}
