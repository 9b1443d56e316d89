import { addText, closeDraft, emit, emitAside, openDraft, rpcLine, sendRequest, type Draft } from "./draft.ts";
import { cutText, parseJson, readInteger, readLabel, readObject, readText, type Json, type JsonObject } from "./json.ts";
import { cancelledPermission, receivePermission, type Answer, type RequestPlace } from "./permissions.ts";
import {
  beginReopening,
  isBeingOpened,
  isReopeningMethod,
  noteDirectories,
  openSession,
  receiveOpened,
  receiveReopened,
  reopeningRefused,
  startPrompt,
  whyNoMcp,
} from "./opening.ts";
import { updatePlan } from "./plan.ts";
import { cancelledQuestion, receiveQuestion } from "./questions.ts";
import {
  initialState,
  type ConversationSpec,
  type ConversationState,
  type JournalLine,
  type NewRequest,
  type RpcMethod,
  type Step,
} from "./state.ts";
import { applyToolCall } from "./tools.ts";

export { permissionAnswer } from "./permissions.ts";
export { answerProblem, questionAnswer } from "./questions.ts";
export { questionsAsked, questionsLeft } from "./own-calls.ts";
export type { ConversationSpec, ConversationState, JournalLine, NewRequest, Step } from "./state.ts";

/** The version of ACP that is spoken here. */
const PROTOCOL_VERSION = 1;
const METHOD_NOT_FOUND = -32601;
const AUTH_REQUIRED = -32000;
const MAX_LOG_CHARS = 2_000;
const MAX_LABEL_CHARS = 500;

/** Opens a conversation: the first line for the agent, and the state to go on with. */
export function begin(spec: ConversationSpec): Step {
  const draft = openDraft(initialState(), spec);
  sendRequest(draft, "initialize", {
    protocolVersion: PROTOCOL_VERSION,
    // Neither files nor terminals: the agent works in its own sandbox, with its own tools.
    clientCapabilities: { elicitation: { form: {} } },
    clientInfo: { name: "runyard", title: "Runyard", version: "0.1.0" },
  });
  return closeDraft(draft);
}

/**
 * Takes in whole lines of the agent's journal. Pure: the same lines give the same end state however they
 * are cut into batches; only deltas and updates of one batch are joined.
 */
export function receive(state: ConversationState, spec: ConversationSpec, lines: readonly JournalLine[]): Step {
  const draft = openDraft(state, spec);
  for (const line of lines) receiveLine(draft, line);
  return closeDraft(draft);
}

/** What tells the agent to stop its turn: `session/cancel`, and an answer to each request that is still open. */
export function cancelLines(state: ConversationState, openRequests: readonly NewRequest[]): readonly string[] {
  const stop =
    state.phase === "prompting" && state.sessionId !== null
      ? [rpcLine({ method: "session/cancel", params: { sessionId: state.sessionId } })]
      : [];
  return [...stop, ...openRequests.map((request) => cancelRequest(request).line)];
}

/** The answer to a request that nobody decides any more, because its turn is cancelled or over. */
export function cancelRequest(request: NewRequest): Answer {
  return request.kind === "permission" ? cancelledPermission(request) : cancelledQuestion(request);
}

function receiveLine(draft: Draft, line: JournalLine): void {
  draft.offset = line.offset;
  if ("tooLongBytes" in line) {
    emitAside(draft, {
      type: "notice",
      data: {
        level: "warning",
        code: "line_too_long",
        message: `The agent wrote a line of ${line.tooLongBytes} bytes, which is longer than Runyard reads. It was left out.`,
      },
    });
    return;
  }
  const message = readObject(parseJson(line.text));
  if (message?.["jsonrpc"] !== "2.0" || !receiveMessage(draft, message, line.offset)) logLine(draft, line.text);
}

/** False for what is no message of the protocol. */
function receiveMessage(draft: Draft, message: JsonObject, offset: number): boolean {
  const method = readText(message["method"]);
  const id = message["id"];
  if (method === null) return receiveResponse(draft, message);
  if (id === undefined) {
    // Before the prompt an agent can only tell again what the log has already.
    if (method === "session/update" && !isBeingOpened(draft))
      receiveUpdate(draft, readObject(readObject(message["params"])?.["update"]) ?? {});
    return true;
  }
  if (typeof id !== "string" && typeof id !== "number" && id !== null) return false;
  receiveRequest(draft, { method, params: readObject(message["params"]) ?? {} }, { offset, rpcId: id });
  return true;
}

function receiveRequest(draft: Draft, request: { readonly method: string; readonly params: JsonObject }, place: RequestPlace): void {
  if (request.method === "session/request_permission") receivePermission(draft, request.params, place);
  else if (request.method === "elicitation/create") receiveQuestion(draft, request.params, place);
  else {
    const message = `Runyard does not offer ${cutText(request.method, MAX_LABEL_CHARS)}`;
    draft.lines.push(rpcLine({ id: place.rpcId, error: { code: METHOD_NOT_FOUND, message } }));
  }
}

function receiveUpdate(draft: Draft, update: JsonObject): void {
  switch (update["sessionUpdate"]) {
    case "agent_message_chunk":
      return receiveChunk(draft, update, "text");
    case "agent_thought_chunk":
      return receiveChunk(draft, update, "thought");
    case "tool_call":
      return applyToolCall(draft, update, "call");
    case "tool_call_update":
      return applyToolCall(draft, update, "update");
    case "plan":
      return updatePlan(draft, update["entries"]);
    case "current_mode_update":
      return receiveMode(draft, update);
    case "usage_update":
      return receiveContext(draft, update);
    case "notice":
      return receiveNotice(draft, update);
    default:
      // Commands, titles, options, and whatever comes to be: nothing that a run's log shows.
      return;
  }
}

function receiveChunk(draft: Draft, update: JsonObject, kind: "text" | "thought"): void {
  const content = readObject(update["content"]);
  const text = content?.["type"] === "resource_link" ? readText(content["uri"]) : readText(content?.["text"]);
  if (text !== null) addText(draft, text, { kind, agentId: readLabel(update["messageId"], MAX_LABEL_CHARS) });
}

function receiveMode(draft: Draft, update: JsonObject): void {
  const modeId = readLabel(update["currentModeId"], MAX_LABEL_CHARS);
  if (modeId !== null) emit(draft, { type: "mode.changed", data: { modeId } });
}

function receiveContext(draft: Draft, update: JsonObject): void {
  const usedTokens = readInteger(update["used"]);
  const sizeTokens = readInteger(update["size"]);
  if (usedTokens !== null && sizeTokens !== null) draft.state.context = { usedTokens, sizeTokens };
}

function receiveNotice(draft: Draft, update: JsonObject): void {
  const words = [readText(update["title"]), readText(update["description"])].filter((text) => text !== null && text.trim() !== "");
  if (words.length === 0) return;
  emitAside(draft, {
    type: "notice",
    data: { level: update["severity"] === "info" ? "info" : "warning", code: "agent", message: cutText(words.join(": "), MAX_LOG_CHARS) },
  });
}

/** False for an answer to nothing that was asked. */
function receiveResponse(draft: Draft, message: JsonObject): boolean {
  const id = message["id"];
  // Some agents echo a number as text.
  const asked = draft.state.waiting.find((request) => request.id === id || String(request.id) === id);
  if (!asked || (message["result"] === undefined && message["error"] === undefined)) return false;
  draft.state.waiting = draft.state.waiting.filter((request) => request !== asked);
  if (message["error"] !== undefined && message["error"] !== null) receiveError(draft, asked.method, message["error"]);
  else RESULT_HANDLERS[asked.method](draft, readObject(message["result"]) ?? {});
  return true;
}

const RESULT_HANDLERS: { readonly [method in RpcMethod]: (draft: Draft, result: JsonObject) => void } = {
  initialize: receiveInitialized,
  "session/new": receiveSession,
  "session/resume": receiveReopened,
  "session/load": receiveReopened,
  "session/set_mode": startPrompt,
  "session/prompt": receiveTurnEnd,
};

function receiveInitialized(draft: Draft, result: JsonObject): void {
  const version = result["protocolVersion"];
  if (version !== PROTOCOL_VERSION) {
    breakOff(
      draft,
      `The agent speaks version ${shortJson(version)} of the Agent Client Protocol; Runyard speaks version ${PROTOCOL_VERSION}. Use a release of the agent that does.`,
    );
    return;
  }
  const info = readObject(result["agentInfo"]);
  draft.state.agent = { name: readLabel(info?.["name"], MAX_LABEL_CHARS), version: readLabel(info?.["version"], MAX_LABEL_CHARS) };
  const capabilities = readObject(result["agentCapabilities"]);
  const problem = whyNoMcp(draft, capabilities);
  if (problem !== null) {
    breakOff(draft, problem);
    return;
  }
  draft.state.phase = "opening";
  noteDirectories(draft, capabilities);
  beginReopening(draft, capabilities);
  openSession(draft);
}

function receiveSession(draft: Draft, result: JsonObject): void {
  const sessionId = readText(result["sessionId"]);
  if (sessionId === null || sessionId === "") {
    breakOff(draft, "The agent opened a session without an id, so no task can be given to it.");
    return;
  }
  receiveOpened(draft, sessionId);
}

function receiveTurnEnd(draft: Draft, result: JsonObject): void {
  const usage = readObject(result["usage"]);
  if (usage) {
    const inputTokens = readInteger(usage["inputTokens"]);
    const outputTokens = readInteger(usage["outputTokens"]);
    draft.state.usage = { inputTokens, outputTokens, cachedInputTokens: readInteger(usage["cachedReadTokens"]) };
    draft.state.sawOutput ||= (outputTokens ?? 0) > 0;
  }
  const stopReason = readLabel(result["stopReason"], MAX_LABEL_CHARS);
  endTurn(draft, "ended", { stopReason, error: stopReason === null ? "The agent ended its turn without saying why." : null });
}

function receiveError(draft: Draft, method: RpcMethod, error: Json): void {
  if (isReopeningMethod(method)) {
    reopeningRefused(draft, errorWords(readObject(error)));
    return;
  }
  const words = errorWords(readObject(error));
  const needsLogin = readObject(error)?.["code"] === AUTH_REQUIRED;
  const said = needsLogin
    ? `The agent wants a login before it works (${words}). Connect a model to Runyard: agents use that one, and have no login of their own.`
    : words;
  if (method === "session/prompt") endTurn(draft, "ended", { stopReason: null, error: said });
  else breakOff(draft, needsLogin ? said : `The agent refused ${method}: ${said}`);
}

/** The agent's words; details are where some keep the reason. */
function errorWords(error: JsonObject | null): string {
  const message = readLabel(error?.["message"], MAX_LOG_CHARS) ?? "an error without a message";
  const data = error?.["data"];
  const details =
    readLabel(data, MAX_LOG_CHARS) ??
    readLabel(readObject(data)?.["details"], MAX_LOG_CHARS) ??
    readLabel(readObject(data)?.["message"], MAX_LOG_CHARS);
  return details === null || message.includes(details) ? message : `${message}: ${details}`;
}

function breakOff(draft: Draft, error: string): void {
  endTurn(draft, "broken", { stopReason: null, error });
}

function endTurn(
  draft: Draft,
  phase: "ended" | "broken",
  how: { readonly stopReason: string | null; readonly error: string | null },
): void {
  emit(draft, { type: "turn.ended", data: how });
  const { sawOutput, lastText } = draft.state;
  draft.state.phase = phase;
  draft.state.outcome = { ...how, sawOutput, lastText };
}

function logLine(draft: Draft, text: string): void {
  if (text.trim() === "") return;
  emitAside(draft, { type: "log", data: { text: cutText(text.replaceAll("\0", "\u{FFFD}"), MAX_LOG_CHARS) } });
}

function shortJson(value: Json | undefined): string {
  return cutText(JSON.stringify(value ?? null), 40);
}
