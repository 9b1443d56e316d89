import { cancelRequest, type NewRequest } from "../agents/acp/conversation.ts";
import { answerRequest, findRun } from "../store/runs.ts";
import type { RunnerContext } from "./context.ts";
import type { RunHandle } from "./run-handle.ts";

/** Closes what an agent asked that has ended its turn without waiting for the answer: whoever answers later is told that it is over. */
export async function withdrawRequests(ctx: Pick<RunnerContext, "db">, handle: RunHandle): Promise<void> {
  const { id: runId, org_id: orgId, open_requests: count } = handle.row;
  if (count === 0) return;
  const stored = await findRun(ctx.db, orgId, runId);
  for (const open of stored?.open ?? []) {
    const { line, event } = cancelRequest(open.request as NewRequest);
    await answerRequest(ctx.db, { orgId, runId, requestId: open.id, answer: null, by: null, line, event });
  }
  // The run as it is now: nothing waits any more.
  await handle.commit({});
}
