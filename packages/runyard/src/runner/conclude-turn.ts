import type { RunError } from "@runyard/sdk/contract";
import { judgeTurn } from "../core/outcome.ts";
import { readStepOutput } from "../sandbox/step.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, type TurnState } from "./attempt-state.ts";
import { diskFullError } from "./disk-full.ts";
import { lastBytes, tailMargin } from "./hide-in-lines.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import type { RunSecrets } from "./run-secrets.ts";

/** How an agent ended, and the turn as far as its journal tells. */
export interface Ending {
  readonly turn: TurnState;
  /** The agent's exit code; null when its supervisor died without one. */
  readonly code: number | null;
  /** The agent was told to leave after its turn had ended, so its exit says nothing. */
  readonly dismissed: boolean;
  /** How long it was waited for, where it was ended because it had opened no session. */
  readonly overdueMs?: number;
  /** Processes of the sandbox that the kernel killed for want of memory. */
  readonly oomKills: number;
}

/** How much of the end of what an agent complained of is looked at. */
const STDERR_BYTES = 4_096;

/** Judges a turn that is over; throws RunFailure with the reason where it did not succeed. */
export function requireSuccess(
  row: RunRow,
  options: {
    readonly dir: string;
    readonly ending: Ending;
    readonly redact: (text: string) => string;
    readonly secrets: RunSecrets;
    readonly renewLogin: string | null;
  },
): void {
  const { dir, ending, redact, secrets, renewLogin } = options;
  const { turn, code, dismissed, oomKills, overdueMs } = ending;
  const outcome = turn.conversation.outcome ?? { stopReason: null, error: null, sawOutput: false, lastText: null };
  if (code === null && !dismissed && turn.conversation.outcome === null) {
    const message = "The agent's supervising process died, so what the agent did last is not known. Start the run again.";
    throw new RunFailure({ type: "lost", message }, null, true);
  }
  const { usage } = row;
  const verdict = judgeTurn({
    ...outcome,
    handedIn: turn.conversation.handedIn !== undefined,
    gateway: {
      calls: usage.modelCalls - turn.before.calls,
      failed: usage.failedModelCalls - turn.before.failed,
      lastError: turn.lastError,
    },
    renewLogin,
    exit: dismissed ? null : { code },
    oomKills,
    overdueMs: overdueMs ?? null,
    stderrTail: lastBytes(redact(readStepOutput(dir, STDERR_BYTES + tailMargin(secrets.redactor)).stderr), STDERR_BYTES),
  });
  if (!verdict.ok) throw new RunFailure(withDiskInMind(dir, verdict.error));
}

/** On to publishing. */
export async function enterPublishing(handle: RunHandle): Promise<void> {
  await handle.happen({ type: "entered", phase: "publishing" }, { change: { state: concludedState(handle.row) } });
}

/** Of a conversation that is over only its id and the agent's last words are kept. */
export function concludedState(row: Pick<RunRow, "state">): AttemptState {
  const { turn, ...rest } = attemptState(row);
  const { sessionId = null, lastText = null } = turn?.conversation ?? {};
  return { ...rest, sessionId, summary: lastText ?? rest.summary ?? "" };
}

/** On a full disk an agent breaks off without being able to say why: neither its journal nor its complaints can be written. */
function withDiskInMind(dir: string, error: RunError): RunError {
  const full = error.type === "agent-error" ? diskFullError("", dir) : null;
  return full === null ? error : { ...full, message: `${full.message} ${error.message}` };
}
