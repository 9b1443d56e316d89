import { describe, expect, it } from "vitest";
import type { Json } from "./json.ts";
import { retell } from "./retell.ts";
import { chunk, dataOf, journal, permission, play, rpc, SPEC, type Played, update } from "./testing/play.ts";
import type { ConversationSpec } from "./state.ts";

const LATER: ConversationSpec = { ...SPEC, prompt: "Now this", attempt: 2, earlier: { sessionId: "old", retold: "What was before" } };

const initialized = (agentCapabilities: Json): string => rpc({ id: 0, result: { protocolVersion: 1, agentCapabilities } });
const RESUMES: Json = { sessionCapabilities: { resume: {} } };
const LOADS: Json = { loadSession: true };
const BOTH: Json = { loadSession: true, sessionCapabilities: { resume: {} } };
const refused = (id: number): string => rpc({ id, error: { code: -32002, message: "No previous sessions" } });

/** Our requests behind initialize: method, and session or prompt. */
function asked(played: Played): unknown[] {
  return played.lines.slice(1).map((line) => {
    const { method, params } = JSON.parse(line) as { method: string; params: { sessionId?: string; prompt?: [{ text: string }] } };
    return [method, params.sessionId ?? null, ...(params.prompt === undefined ? [] : [params.prompt[0].text])];
  });
}

describe("taking up an earlier conversation", () => {
  it.each<[string, string[], unknown[]]>([
    ["resumes where the agent offers it", [initialized(BOTH), rpc({ id: 1, result: {} })], [["session/resume", "old"]]],
    ["loads where it offers only that", [initialized(LOADS), rpc({ id: 1, result: null })], [["session/load", "old"]]],
    [
      "loads where resuming was refused",
      [initialized(BOTH), refused(1), rpc({ id: 2, result: {} })],
      [
        ["session/resume", "old"],
        ["session/load", "old"],
      ],
    ],
  ])("%s, and gives the prompt alone", (_, lines, ways) => {
    const played = play(journal(lines), { spec: LATER });
    expect(asked(played)).toEqual([...ways, ["session/prompt", "old", "Now this"]]);
    expect(dataOf(played.events, "agent.started")).toMatchObject([{ sessionId: "old" }]);
    expect(dataOf(played.events, "notice")).toEqual([]);
    expect(played.state).toMatchObject({ phase: "prompting", sessionId: "old" });
  });

  it.each<[string, string[], unknown[], RegExp]>([
    ["offers neither", [initialized({}), rpc({ id: 1, result: { sessionId: "new" } })], [], /offers no way to/],
    [
      "refuses both",
      [initialized(BOTH), refused(1), refused(2), rpc({ id: 3, result: { sessionId: "new" } })],
      [
        ["session/resume", "old"],
        ["session/load", "old"],
      ],
      /refused it: No previous sessions/,
    ],
    [
      "refuses the one",
      [initialized(RESUMES), refused(1), rpc({ id: 2, result: { sessionId: "new" } })],
      [["session/resume", "old"]],
      /refused/,
    ],
  ])("tells an agent that %s what was before", (_, lines, ways, words) => {
    const played = play(journal(lines), { spec: LATER });
    expect(asked(played)).toEqual([...ways, ["session/new", null], ["session/prompt", "new", "What was before"]]);
    expect(dataOf(played.events, "notice")).toMatchObject([
      { code: "conversation-restarted", message: expect.stringMatching(words) as string },
    ]);
  });

  it("keeps what is replayed out of the log, and what comes after the prompt in it", () => {
    const replayed = [update("user_message_chunk", { content: { type: "text", text: "Do it" } }), chunk("Done before")];
    const tool = update("tool_call", { toolCallId: "t", title: "old", status: "completed" });
    const played = play(journal([initialized(LOADS), ...replayed, tool, rpc({ id: 1, result: {} }), chunk("New")]), { spec: LATER });
    expect(played.events.map((event) => event.type)).toEqual(["agent.started", "message.delta"]);
    expect(dataOf(played.events, "message.delta")).toMatchObject([{ messageId: "m2_1", text: "New" }]);
    expect(played.state).toMatchObject({ lastText: null, tools: [], finishedTools: [] });
    // The control: without a conversation to load, the same lines are the turn's.
    const first = play(journal([initialized(LOADS), tool]), { spec: SPEC });
    expect(first.events.map((event) => event.type)).toEqual(["tool.started", "tool.finished"]);
  });

  it("answers what the agent asks meanwhile", () => {
    const ask = permission(7, { toolCall: { toolCallId: "t" }, options: [{ optionId: "y", kind: "allow_once", name: "Yes" }] });
    const played = play(journal([initialized(LOADS), ask]), { spec: LATER });
    expect(played.lines.at(-1)).toContain('"optionId":"y"');
  });

  it("says nothing of a restart where nothing was ever said", () => {
    const spec: ConversationSpec = { ...LATER, earlier: { sessionId: null, retold: "What was before" } };
    const played = play(journal([initialized(BOTH), rpc({ id: 1, result: { sessionId: "new" } })]), { spec });
    expect(asked(played)).toEqual([
      ["session/new", null],
      ["session/prompt", "new", "What was before"],
    ]);
    expect(dataOf(played.events, "notice")).toEqual([]);
  });
});

describe("the servers of a run", () => {
  const started = { name: "local", command: "/usr/bin/docs", args: ["--stdio"], env: [{ name: "A", value: "b" }] };
  const remote = { type: "http", name: "docs", url: "http://gateway/mcp/docs", headers: [] } as const;
  const given = (played: Played): unknown[] =>
    played.lines.flatMap((line) => {
      const { params } = JSON.parse(line) as { params: { mcpServers?: unknown } };
      return params.mcpServers === undefined ? [] : [params.mcpServers];
    });
  const TAKES_HTTP: Json = { ...(BOTH as object), mcpCapabilities: { http: true } };

  it("are given to each session, new or taken up", () => {
    const mcpServers = [started, remote];
    const first = play(journal([initialized(TAKES_HTTP), rpc({ id: 1, result: { sessionId: "s1" } })]), { spec: { ...SPEC, mcpServers } });
    expect(given(first)).toEqual([mcpServers]);
    const refusals = [initialized(TAKES_HTTP), refused(1), refused(2), rpc({ id: 3, result: { sessionId: "new" } })];
    expect(given(play(journal(refusals), { spec: { ...LATER, mcpServers } }))).toEqual([mcpServers, mcpServers, mcpServers]);
    expect(given(play(journal([initialized(BOTH)])))).toEqual([[]]);
  });

  it.each<[string, Json]>([
    ["says so", { mcpCapabilities: { http: false } }],
    ["says nothing of it", {}],
  ])("over HTTP end the run of an agent that takes none and %s", (_, capabilities) => {
    const played = play(journal([initialized(capabilities)]), { spec: { ...SPEC, mcpServers: [started, remote] } });
    expect(played.state).toMatchObject({
      phase: "broken",
      outcome: { error: expect.stringMatching(/takes no MCP servers over HTTP.*\(docs\)/) as string },
    });
    expect(given(played)).toEqual([]);
    // The control: what it starts itself, it takes.
    expect(play(journal([initialized(capabilities)]), { spec: { ...SPEC, mcpServers: [started] } }).state.phase).toBe("opening");
  });
});

describe("an agent with modes", () => {
  const modes = { plan: "look", build: "work" };
  const sessionMeta = { agent: { careful: true } };
  const MODAL: ConversationSpec = { ...SPEC, profileQuirks: { modes, sessionMeta } };
  const opened = rpc({ id: 1, result: { sessionId: "s1" } });
  const modeSet = rpc({ id: 2, result: {} });
  const sent = (played: Played): unknown[] => played.lines.slice(1).map((line) => JSON.parse(line) as unknown);

  it.each([
    ["work", MODAL],
    ["look", { ...MODAL, plans: true }],
  ])("is put into the mode %j before it gets its prompt, and takes its settings with the session", (modeId, spec) => {
    const played = play(journal([initialized({}), opened, modeSet]), { spec });
    expect(sent(played)).toMatchObject([
      { method: "session/new", params: { cwd: "/workspace", mcpServers: [], _meta: sessionMeta } },
      { method: "session/set_mode", params: { sessionId: "s1", modeId } },
      { method: "session/prompt", params: { sessionId: "s1", prompt: [{ text: "Do it" }] } },
    ]);
  });

  it("takes its conversation up in the mode of the new turn", () => {
    const spec = { ...LATER, profileQuirks: MODAL.profileQuirks ?? {} };
    const told = update("current_mode_update", { currentModeId: "work" });
    const played = play(journal([initialized(BOTH), rpc({ id: 1, result: {} }), told, modeSet]), { spec, sizes: [2, 1] });
    expect(sent(played)).toMatchObject([
      { method: "session/resume", params: { sessionId: "old", _meta: sessionMeta } },
      { method: "session/set_mode", params: { sessionId: "old", modeId: "work" } },
      { method: "session/prompt", params: { sessionId: "old", prompt: [{ text: "Now this" }] } },
    ]);
    expect(played.events.map((event) => event.type)).toEqual(["agent.started"]);
    expect(played.state).not.toHaveProperty("isReopened");
    const anew = play(journal([initialized({}), opened, modeSet]), { spec });
    expect(sent(anew).at(-1)).toMatchObject({ params: { prompt: [{ text: "What was before" }] } });
  });

  it("gets no task in another mode", () => {
    const played = play(journal([initialized({}), opened, rpc({ id: 2, error: { code: -32602, message: "No such mode" } })]), {
      spec: MODAL,
    });
    expect(played.state).toMatchObject({ phase: "broken", outcome: { error: "The agent refused session/set_mode: No such mode" } });
  });
});

describe("further folders of the workspace", () => {
  const spec: ConversationSpec = { ...SPEC, additionalDirectories: ["/repositories/lib"] };
  const TAKES: Json = { loadSession: true, sessionCapabilities: { resume: {}, additionalDirectories: {} } };
  const paramsOf = (played: Played): unknown[] =>
    played.lines.slice(1).map((line) => (JSON.parse(line) as { params: { additionalDirectories?: unknown } }).params.additionalDirectories);

  it("are told to an agent that takes them, in every way to open a session", () => {
    expect(paramsOf(play(journal([initialized(TAKES)]), { spec }))).toEqual([["/repositories/lib"]]);
    const later = { ...LATER, additionalDirectories: ["/repositories/lib"] };
    const ways = play(journal([initialized(TAKES), refused(1), refused(2)]), { spec: later });
    expect(paramsOf(ways)).toEqual([["/repositories/lib"], ["/repositories/lib"], ["/repositories/lib"]]);
  });

  it("are not told to one that does not say so, nor where there are none", () => {
    expect(paramsOf(play(journal([initialized(BOTH)]), { spec }))).toEqual([undefined]);
    const without = play(journal([initialized(TAKES)]), { spec: SPEC });
    expect(paramsOf(without)).toEqual([undefined]);
    expect(without.state).not.toHaveProperty("takesDirectories");
  });
});

describe("telling what was before", () => {
  it("says the task, the last prompt and the last words, and each once", () => {
    const story = { task: "Build it", lastPrompt: "Paint it", lastWords: "Painted.", prompt: "Sell it" };
    expect(retell(story)).toMatch(
      /The task was:\nBuild it\n\nWhat you were asked last:\nPaint it\n\nWhat you said last:\nPainted\.\n\n.*\nSell it$/,
    );
    const short = retell({ ...story, lastPrompt: "Build it", lastWords: " " });
    expect(short.split("Build it")).toHaveLength(2);
    expect(short).not.toContain("said last");
  });
});
