import { closeDraft, emit, openDraft, sendRequest } from "./draft.ts";
import type { ConversationSpec, ConversationState, Step } from "./state.ts";

/**
 * Gives an agent whose turn has ended the next prompt in the same session: the line for it, and the state
 * to go on with. Throws where there is no session, or a turn is under way.
 */
export function promptAgain(state: ConversationState, spec: ConversationSpec, prompt: string): Step {
  const { sessionId } = state;
  if (sessionId === null || state.phase !== "ended") throw new Error(`An agent that is ${state.phase} cannot be given a next prompt`);
  const draft = openDraft({ ...state, phase: "prompting", outcome: null, sawOutput: false }, spec);
  emit(draft, { type: "message.user", data: { text: prompt } });
  sendRequest(draft, "session/prompt", { sessionId, prompt: [{ type: "text", text: prompt }] });
  return closeDraft(draft);
}
