import { cancelLines, type NewRequest } from "../agents/acp/conversation.ts";
import { isShimAlive } from "../sandbox/run-directory.ts";
import { agentWaitOf, type RunRow } from "../store/run-row.ts";
import { findRun } from "../store/runs.ts";
import { agentDir } from "./agent-launch.ts";
import { dismissAgent } from "./agent-turn.ts";
import { type AttemptState, attemptState, stateWithoutAttempt } from "./attempt-state.ts";
import { carryReleased } from "./carry-over.ts";
import type { RunnerContext } from "./context.ts";
import { leaveAsking, questionsOf } from "./leave-asking.ts";
import type { RunHandle } from "./run-handle.ts";

/** How long an agent has to end its turn and to put its conversation away. */
const PARTING_MS = 10_000;

/**
 * Tells the agent that its turn is cancelled, and waits for a while until it has put its conversation away and
 * left; what it still says goes into the log. Its open requests stay open: people answer the run now, not the agent.
 */
export async function partWithAgent(ctx: RunnerContext, handle: RunHandle): Promise<void> {
  const { row } = handle;
  const conversation = attemptState(row).turn?.conversation;
  if (conversation === undefined || !isShimAlive(agentDir(ctx, row))) return;
  const open = (await findRun(ctx.db, row.org_id, row.id))?.open ?? [];
  const requests = open.map((request) => request.request as NewRequest);
  // Known to whoever goes on from here: an answer that comes now leaves nothing else that tells of it.
  const state: AttemptState = { ...attemptState(row), parting: true };
  await handle.commit({ lines: cancelLines(conversation, requests), change: { state } });
  const patience = AbortSignal.timeout(PARTING_MS);
  await dismissAgent(ctx, handle, patience).catch((error: unknown) => {
    // An agent that does not listen is killed.
    if (error !== patience.reason) throw error;
  });
}

/** Gives the run out of hand, once nothing of its attempt is alive: it waits for its answers without an agent. */
export async function release(handle: RunHandle): Promise<void> {
  const { row } = handle;
  const notice = { level: "info", code: "agent-released", message: words(row) } as const;
  // What it asked before, without waiting, is asked now.
  if (questionsOf(row).length > 0) return leaveAsking(handle, { events: [{ type: "notice", data: notice }] });
  await handle.release({
    fact: { type: "released", notice },
    events: [],
    requests: [],
    carry: carryReleased(row),
    state: stateWithoutAttempt(row),
  });
}

function words(row: RunRow): string {
  const minutes = Math.round(agentWaitOf(row) / 6_000) / 10;
  return `Nobody has answered for ${minutes} minutes, so the agent was let go and its place was given to others. The run goes on with the answer once there is one.`;
}
