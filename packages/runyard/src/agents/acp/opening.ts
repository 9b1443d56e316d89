import { emit, emitAside, sendRequest, type Draft } from "./draft.ts";
import { readObject, type JsonObject } from "./json.ts";
import { type Reopening, REOPENINGS, type RpcMethod } from "./state.ts";

export function isReopeningMethod(method: RpcMethod): method is Reopening {
  return (REOPENINGS as readonly RpcMethod[]).includes(method);
}

/** True while the agent takes up an earlier conversation. */
export function isReopening(draft: Draft): boolean {
  return draft.state.waiting.some((request) => isReopeningMethod(request.method));
}

/** Why the agent cannot have the servers that it is to be given; null: it can. */
export function whyNoMcp(draft: Draft, capabilities: JsonObject | null): string | null {
  const overHttp = (draft.spec.mcpServers ?? []).filter((server) => "url" in server).map((server) => server.name);
  if (overHttp.length === 0 || readObject(capabilities?.["mcpCapabilities"])?.["http"] === true) return null;
  return `The agent takes no MCP servers over HTTP, and is to have some (${overHttp.join(", ")}). Choose an agent that does, or servers that are started by a command.`;
}

/** Notes which ways the agent offers to take up the earlier conversation, where there is one. */
export function beginReopening(draft: Draft, capabilities: JsonObject | null): void {
  if (sessionToReopen(draft) === null) return;
  const offered: Record<Reopening, boolean> = {
    "session/resume": readObject(readObject(capabilities?.["sessionCapabilities"])?.["resume"]) !== null,
    "session/load": capabilities?.["loadSession"] === true,
  };
  draft.state.reopenings = REOPENINGS.filter((way) => offered[way]);
  if (draft.state.reopenings.length === 0) tellRestarted(draft, "the agent offers no way to");
}

/** Asks for the earlier conversation by the next way that is left, else for a new one. */
export function openSession(draft: Draft): void {
  const { cwd, mcpServers = [] } = draft.spec;
  const way = draft.state.reopenings?.shift();
  const sessionId = sessionToReopen(draft);
  if (way === undefined || sessionId === null) sendRequest(draft, "session/new", { cwd, mcpServers });
  else sendRequest(draft, way, { sessionId, cwd, mcpServers });
}

/** The earlier conversation is there again: it goes on with the prompt alone. */
export function receiveReopened(draft: Draft): void {
  const sessionId = sessionToReopen(draft);
  if (sessionId !== null) startPrompt(draft, { sessionId, text: draft.spec.prompt });
}

export function reopeningRefused(draft: Draft, words: string): void {
  if (draft.state.reopenings?.length === 0) tellRestarted(draft, `the agent refused it: ${words}`);
  openSession(draft);
}

export function startPrompt(draft: Draft, prompt: { readonly sessionId: string; readonly text: string }): void {
  const { sessionId, text } = prompt;
  draft.state.sessionId = sessionId;
  draft.state.phase = "prompting";
  emit(draft, { type: "agent.started", data: { ...draft.state.agent, pid: null, sessionId } });
  sendRequest(draft, "session/prompt", { sessionId, prompt: [{ type: "text", text }] });
}

function sessionToReopen(draft: Draft): string | null {
  return draft.spec.earlier?.sessionId ?? null;
}

function tellRestarted(draft: Draft, reason: string): void {
  emitAside(draft, {
    type: "notice",
    data: {
      level: "warning",
      code: "conversation-restarted",
      message: `The conversation of the turn before could not be taken up (${reason}). The agent begins a new one, and is told what it was asked and what it said last.`,
    },
  });
}
