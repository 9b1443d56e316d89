import type { NewEvent } from "@runyard/sdk/contract";
import { cutText, type Json } from "./json.ts";
import type { ConversationSpec, ConversationState, NewRequest, RpcMethod, Step } from "./state.ts";

/**
 * Longest message, in characters. An open message is stored again with every batch, so a longer one
 * goes on as the next message: no text is lost, and the run's row stays small.
 */
const MAX_MESSAGE_CHARS = 65_536;

type MessageKind = "text" | "thought";

/** A step in the making: a copy of the state that may be written, and what has come out so far. */
export interface Draft {
  readonly spec: ConversationSpec;
  readonly state: ConversationState;
  readonly events: NewEvent[];
  readonly requests: NewRequest[];
  readonly lines: string[];
  /** Text of the open message that no event holds yet: pieces of one batch become one delta. */
  delta: string;
  /** Where the line begins in the agent's journal that is taken in. */
  offset: number;
}

export function openDraft(state: ConversationState, spec: ConversationSpec): Draft {
  return { spec, state: structuredClone(state), events: [], requests: [], lines: [], delta: "", offset: 0 };
}

export function closeDraft(draft: Draft): Step {
  flushDelta(draft);
  return { state: draft.state, events: draft.events, requests: draft.requests, lines: draft.lines };
}

/** A JSON-RPC message as a line. */
export function rpcLine(message: { readonly [key: string]: Json }): string {
  return `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
}

/** Sends a request of ours and remembers what its answer will mean. */
export function sendRequest(draft: Draft, method: RpcMethod, params: Json): void {
  const id = draft.state.nextId++;
  draft.state.waiting.push({ id, method });
  draft.lines.push(rpcLine({ id, method, params }));
}

/** Adds an event; whatever the agent does next ends the message that it was writing. */
export function emit(draft: Draft, event: NewEvent): void {
  endMessage(draft);
  draft.events.push(event);
}

/** Adds an event that is no act of the agent's and may stand in the middle of a message. */
export function emitAside(draft: Draft, event: NewEvent): void {
  flushDelta(draft);
  draft.events.push(event);
}

/** Adds text to the open message, or to a new one when the kind or the agent's own message id differs. */
export function addText(draft: Draft, text: string, from: { readonly kind: MessageKind; readonly agentId: string | null }): void {
  const open = draft.state.message;
  const otherId = open !== null && from.agentId !== null && open.agentId !== null && open.agentId !== from.agentId;
  if (open !== null && (open.kind !== from.kind || otherId)) endMessage(draft);
  draft.state.sawOutput ||= text !== "";
  for (let rest = text; rest !== "";) {
    const message = (draft.state.message ??= { id: nextMessageId(draft), kind: from.kind, agentId: from.agentId, text: "" });
    const room = MAX_MESSAGE_CHARS - message.text.length;
    const piece = cutText(rest, room);
    message.text += piece;
    draft.delta += piece;
    rest = rest.slice(piece.length);
    if (rest !== "") endMessage(draft);
  }
}

/** Later attempts have a conversation of their own: their messages must not be taken for pieces of earlier ones. */
function nextMessageId({ spec, state }: Draft): string {
  const number = ++state.messageCount;
  return spec.attempt === 1 ? `m${number}` : `m${spec.attempt}_${number}`;
}

/** Ends the open message, if there is one: its whole text becomes one event. */
function endMessage(draft: Draft): void {
  flushDelta(draft);
  const message = draft.state.message;
  if (message === null) return;
  draft.state.message = null;
  draft.events.push({ type: "message.completed", data: { messageId: message.id, kind: message.kind, text: message.text } });
  if (message.kind === "text" && message.text.trim() !== "") draft.state.lastText = message.text;
}

function flushDelta(draft: Draft): void {
  const message = draft.state.message;
  if (message === null || draft.delta === "") return;
  draft.events.push({ type: "message.delta", data: { messageId: message.id, kind: message.kind, text: draft.delta } });
  draft.delta = "";
}
