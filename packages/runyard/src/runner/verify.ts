import type { EventData, NewEvent } from "@runyard/sdk/contract";
import { promptAgain } from "../agents/acp/prompt-again.ts";
import { feedbackOf, verifyError } from "../core/verify.ts";
import { isShimAlive, readExitCode } from "../sandbox/run-directory.ts";
import { attemptSettings } from "../store/attempts-shown.ts";
import { agentDir } from "./agent-launch.ts";
import { conversationSpec } from "./agent-session.ts";
import { callsBefore, dismissAgent } from "./agent-turn.ts";
import { type AttemptState, attemptState, type VerifyState } from "./attempt-state.ts";
import { enterPublishing } from "./conclude-turn.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runVerifyCommand } from "./verify-command.ts";

const FIRST_ROUND: VerifyState = { round: 1, index: 0, begun: false, results: [] };

/**
 * Checks what the agent left with the run's commands, one after the other. When all succeed the agent is
 * dismissed and the run goes on to publishing. The first that fails goes back to the living agent as its
 * next prompt, or ends the run with a RunFailure. Everything that was decided is stored before it is done,
 * so that a restarted server goes on with the same command.
 */
export async function verifyWork(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { verify: commands } = attemptSettings(handle.row);
  for (;;) {
    const verify = stateOf(handle);
    const command = commands[verify.index];
    if (command === undefined) break;
    const { round, index } = verify;
    if (!verify.begun) {
      const started: EventData<"verify.started"> = { command: command.run, kind: command.kind, round };
      await handle.commit({
        events: [{ type: "verify.started", data: started }],
        change: { state: withVerify(handle, { ...verify, begun: true }) },
      });
    }
    const finished = await runVerifyCommand(ctx, handle.row, { place: { command, round, index }, end, secrets: handle.secrets });
    if (!finished.passed) return goBack(ctx, handle, finished);
    await handle.commit({
      events: [{ type: "verify.finished", data: finished }],
      change: { state: withVerify(handle, { ...verify, index: index + 1, begun: false, results: resultsWith(verify, finished) }) },
    });
  }
  // A turn that only brought in its base branch had none.
  if (attemptState(handle.row).turn !== undefined) await dismissAgent(ctx, handle, end);
  await enterPublishing(handle);
}

/** Gives the failure to the agent as its next prompt, in the same commit that tells of it; throws RunFailure where that cannot be. */
async function goBack(ctx: RunnerContext, handle: RunHandle, finished: EventData<"verify.finished">): Promise<void> {
  const { row } = handle;
  const state = attemptState(row);
  const verify = stateOf(handle);
  const events: NewEvent[] = [{ type: "verify.finished", data: finished }];
  const results = resultsWith(verify, finished);
  const why = whyNotBack(ctx, handle, verify);
  if (why !== null || state.turn === undefined) {
    const { workspace } = attemptDirs(ctx.home, row);
    // Told with the end of the attempt: a server that comes in between finds the same command and decides the same.
    const last = { events, state: withVerify(handle, { ...verify, results }) };
    throw new RunFailure(verifyError(finished, { why: why ?? "", workspace }), last);
  }
  const again = promptAgain(state.turn.conversation, conversationSpec(ctx, row), feedbackOf(finished));
  const next: AttemptState = {
    ...state,
    turn: { conversation: again.state, lastError: null, before: callsBefore(row) },
    verify: { round: verify.round + 1, index: 0, begun: false, results },
  };
  await handle.happen(
    { type: "entered", phase: "building" },
    { events: [...events, ...again.events], lines: again.lines, change: { state: next } },
  );
}

/** Why a failure does not go back to the agent, or null. */
function whyNotBack(ctx: RunnerContext, handle: RunHandle, { round }: VerifyState): string | null {
  const { verifyRetries } = attemptSettings(handle.row);
  if (attemptState(handle.row).turn === undefined) return "No agent was at work that could be told; `runyard continue` gives it to one.";
  if (verifyRetries === 0) return "It was not to be given back to the agent.";
  if (round > verifyRetries)
    return `The agent was told ${verifyRetries === 1 ? "once" : `${verifyRetries} times`} and could not put it right.`;
  const dir = agentDir(ctx, handle.row);
  return readExitCode(dir) === null && isShimAlive(dir) ? null : "The agent had left already, so it could not be told.";
}

function stateOf(handle: RunHandle): VerifyState {
  return attemptState(handle.row).verify ?? FIRST_ROUND;
}

function withVerify(handle: RunHandle, verify: VerifyState): AttemptState {
  return { ...attemptState(handle.row), verify };
}

function resultsWith(verify: VerifyState, finished: EventData<"verify.finished">): VerifyState["results"] {
  const { command, kind, round, passed, exitCode, cause } = finished;
  return [...verify.results, { command, kind, round, passed, exitCode, cause }];
}
