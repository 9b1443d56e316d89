import type { NewEvent } from "@runyard/sdk/contract";
import { type NewRequest, questionsAsked, questionsLeft } from "../agents/acp/conversation.ts";
import type { RunRow } from "../store/run-row.ts";
import { attemptState, stateWithoutAttempt } from "./attempt-state.ts";
import { carryReleased } from "./carry-over.ts";
import type { RunHandle } from "./run-handle.ts";

/** What the agent asked in the turn that it has ended, and does not wait for. */
export function questionsOf(row: RunRow): readonly NewRequest[] {
  const conversation = attemptState(row).turn?.conversation;
  return conversation === undefined ? [] : questionsLeft(conversation, row.attempt);
}

/**
 * Gives the run out of hand with the questions of an agent that has ended its turn and is gone, behind these events:
 * the run goes on with the answers, as its agent's next prompt. Throws as `RunHandle.release` does.
 */
export async function leaveAsking(handle: RunHandle, options: { readonly events: readonly NewEvent[] }): Promise<void> {
  const { row } = handle;
  const requests = questionsOf(row);
  await handle.release({
    fact: { type: "left_asking", questions: questionsAsked(requests) },
    events: options.events,
    requests,
    carry: carryReleased(row),
    state: stateWithoutAttempt(row),
  });
}
