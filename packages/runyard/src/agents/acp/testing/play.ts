import type { EventData, EventType, NewEvent } from "@runyard/sdk/contract";
import { normalizePolicy } from "../../../core/permission-policy.ts";
import { begin, receive } from "../conversation.ts";
import type { Json } from "../json.ts";
import type { ConversationSpec, ConversationState, JournalLine, NewRequest } from "../state.ts";

/** For tests: an agent's journal is made of these. */
export const SPEC: ConversationSpec = { cwd: "/workspace", prompt: "Do it", attempt: 1, policy: normalizePolicy({}) };

/** Whole lines as a journal holds them, each at its byte offset. */
export function journal(lines: readonly string[], from = 0): JournalLine[] {
  let offset = from;
  return lines.map((text) => {
    const line = { offset, text };
    offset += Buffer.byteLength(text) + 1;
    return line;
  });
}

export function rpc(message: { readonly [key: string]: Json }): string {
  return JSON.stringify({ jsonrpc: "2.0", ...message });
}

export function update(sessionUpdate: string, rest: { readonly [key: string]: Json } = {}): string {
  return rpc({ method: "session/update", params: { sessionId: "s1", update: { sessionUpdate, ...rest } } });
}

export function chunk(text: string, kind: "message" | "thought" = "message", rest: { readonly [key: string]: Json } = {}): string {
  return update(`agent_${kind}_chunk`, { content: { type: "text", text }, ...rest });
}

export function permission(id: Json, params: { readonly [key: string]: Json }): string {
  return rpc({ id, method: "session/request_permission", params: { sessionId: "s1", ...params } });
}

export const INITIALIZED = rpc({ id: 0, result: { protocolVersion: 1, agentInfo: { name: "Probe", version: "1.2" } } });
export const OPENED = rpc({ id: 1, result: { sessionId: "s1" } });
export const END_TURN = rpc({ id: 2, result: { stopReason: "end_turn" } });

/** Everything that a conversation gave, over all of its steps. */
export interface Played {
  readonly state: ConversationState;
  readonly events: NewEvent[];
  readonly requests: NewRequest[];
  readonly lines: string[];
}

/** Plays a journal from the start of a conversation, all lines in one batch, or in batches of the sizes given. */
export function play(
  lines: readonly JournalLine[],
  options: { readonly spec?: ConversationSpec; readonly sizes?: readonly number[] } = {},
): Played {
  const spec = options.spec ?? SPEC;
  const first = begin(spec);
  const played: Played = { state: first.state, events: [...first.events], requests: [...first.requests], lines: [...first.lines] };
  let state = played.state;
  let at = 0;
  for (const size of [...(options.sizes ?? []), lines.length]) {
    // Through JSON, as it is between two servers.
    const step = receive(JSON.parse(JSON.stringify(state)) as ConversationState, spec, lines.slice(at, at + size));
    at += size;
    state = step.state;
    played.events.push(...step.events);
    played.requests.push(...step.requests);
    played.lines.push(...step.lines);
  }
  return { ...played, state };
}

/** Plays lines of a turn that is under way; offsets begin at 1,000. */
export function playTurn(lines: readonly string[], spec: ConversationSpec = SPEC): Played {
  const opening = journal([INITIALIZED, OPENED]);
  const opened = play(opening, { spec });
  const step = receive(opened.state, spec, journal(lines, 1_000));
  return { state: step.state, events: [...step.events], requests: [...step.requests], lines: [...step.lines] };
}

export function dataOf<T extends EventType>(events: readonly NewEvent[], type: T): EventData<T>[] {
  return events.flatMap((event) => (event.type === type ? [event.data as EventData<T>] : []));
}
