import { setTimeout as sleep } from "node:timers/promises";
import { cancelLines, type NewRequest } from "../agents/acp/conversation.ts";
import { isShimAlive, readExitCode } from "../sandbox/run-directory.ts";
import { agentWaitOf, type RunRow } from "../store/run-row.ts";
import { findRun } from "../store/runs.ts";
import { openAgentInput } from "./agent-input.ts";
import { agentDir } from "./agent-launch.ts";
import { attemptState, freshState } from "./attempt-state.ts";
import { carryReleased } from "./carry-over.ts";
import type { RunnerContext } from "./context.ts";
import type { RunHandle } from "./run-handle.ts";

/** How long an agent has to put its conversation away once its turn is cancelled. */
const PARTING_MS = 2_000;
const LOOK_MS = 50;

/** Tells the agent that its turn is over, and gives it a moment to put its conversation away. */
export async function partWithAgent(ctx: RunnerContext, handle: RunHandle): Promise<void> {
  const { row } = handle;
  const dir = agentDir(ctx, row);
  const conversation = attemptState(row).turn?.conversation;
  if (conversation === undefined || !isShimAlive(dir)) return;
  const open = (await findRun(ctx.db, row.org_id, row.id))?.open ?? [];
  const lines = cancelLines(
    conversation,
    open.map((request) => request.request as NewRequest),
  );
  await handle.commit({ lines });
  const input = openAgentInput(ctx, handle, dir);
  try {
    await input.flush();
    input.closeStdin();
    const giveUpAtMs = ctx.now() + PARTING_MS;
    while (ctx.now() < giveUpAtMs && readExitCode(dir) === null && isShimAlive(dir)) await sleep(LOOK_MS);
  } finally {
    input.close();
  }
}

/** Gives the run out of hand, once nothing of its attempt is alive: it waits for its answers without an agent. */
export async function release(handle: RunHandle): Promise<void> {
  const { row } = handle;
  const { tries } = attemptState(row);
  await handle.release({
    fact: { type: "released", notice: { level: "info", code: "agent-released", message: words(row) } },
    carry: carryReleased(row),
    state: { ...freshState(), ...(tries && { tries }) },
  });
}

function words(row: RunRow): string {
  const minutes = Math.round(agentWaitOf(row) / 6_000) / 10;
  return `Nobody has answered for ${minutes} minutes, so the agent was let go and its place was given to others. The run goes on with the answer once there is one.`;
}
