import type { EventData, RunError } from "@runyard/sdk/contract";
import { endOf, whatHappened } from "./verify.ts";

/** The error of a run whose set-up failed: which command, how it ended, and its last lines. `count`: of all commands. */
export function setupError(finished: EventData<"setup.finished">, count: number): RunError {
  const place = count === 1 ? "" : ` (command ${finished.index + 1} of ${count})`;
  return {
    type: finished.cause === "out-of-memory" ? "out-of-memory" : "setup-failed",
    message: `The set-up failed: \`${finished.command}\`${place} ${whatHappened(finished)}. The agent was not started.${endOf(finished.output)}`,
  };
}
