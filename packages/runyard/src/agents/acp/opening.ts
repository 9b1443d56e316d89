import { emit, emitAside, sendRequest, type Draft } from "./draft.ts";
import { readObject, type JsonObject } from "./json.ts";
import { type Reopening, REOPENINGS, type RpcMethod } from "./state.ts";

export function isReopeningMethod(method: RpcMethod): method is Reopening {
  return (REOPENINGS as readonly RpcMethod[]).includes(method);
}

/** True while the agent takes up an earlier conversation, or is put into a mode. */
export function isBeingOpened(draft: Draft): boolean {
  return draft.state.waiting.some(({ method }) => isReopeningMethod(method) || method === "session/set_mode");
}

/** Why the agent cannot have the servers that it is to be given; null: it can. */
export function whyNoMcp(draft: Draft, capabilities: JsonObject | null): string | null {
  const overHttp = (draft.spec.mcpServers ?? []).filter((server) => "url" in server).map((server) => server.name);
  if (overHttp.length === 0 || readObject(capabilities?.["mcpCapabilities"])?.["http"] === true) return null;
  return `The agent takes no MCP servers over HTTP, and is to have some (${overHttp.join(", ")}). Choose an agent that does, or servers that are started by a command.`;
}

/** Notes whether the agent can be told of the further folders of its workspace, where there are some. */
export function noteDirectories(draft: Draft, capabilities: JsonObject | null): void {
  if (draft.spec.additionalDirectories === undefined) return;
  draft.state.takesDirectories = readObject(readObject(capabilities?.["sessionCapabilities"])?.["additionalDirectories"]) !== null;
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
  const { cwd, additionalDirectories = [], mcpServers = [], profileQuirks } = draft.spec;
  const directories = draft.state.takesDirectories === true ? { additionalDirectories } : {};
  const params = { cwd, ...directories, mcpServers, ...(profileQuirks?.sessionMeta && { _meta: profileQuirks.sessionMeta }) };
  const way = draft.state.reopenings?.shift();
  const sessionId = sessionToReopen(draft);
  if (way === undefined || sessionId === null) sendRequest(draft, "session/new", params);
  else sendRequest(draft, way, { sessionId, ...params });
}

/** The earlier conversation is there again: it goes on with the prompt alone. */
export function receiveReopened(draft: Draft): void {
  const sessionId = sessionToReopen(draft);
  if (sessionId === null) return;
  draft.state.isReopened = true;
  receiveOpened(draft, sessionId);
}

/** There is a session: it gets the mode of its turn, where the agent has modes, and then its prompt. */
export function receiveOpened(draft: Draft, sessionId: string): void {
  const { profileQuirks, plans } = draft.spec;
  draft.state.sessionId = sessionId;
  if (profileQuirks?.modes === undefined) startPrompt(draft);
  else sendRequest(draft, "session/set_mode", { sessionId, modeId: plans === true ? profileQuirks.modes.plan : profileQuirks.modes.build });
}

export function reopeningRefused(draft: Draft, words: string): void {
  if (draft.state.reopenings?.length === 0) tellRestarted(draft, `the agent refused it: ${words}`);
  openSession(draft);
}

export function startPrompt(draft: Draft): void {
  const { state, spec } = draft;
  const sessionId = state.sessionId ?? "";
  const text = state.isReopened === true ? spec.prompt : (spec.earlier?.retold ?? spec.prompt);
  delete state.isReopened;
  state.phase = "prompting";
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
