import { describe, expect, it } from "vitest";
import { normalizePolicy } from "../../core/permission-policy.ts";
import { begin, cancelLines, receive } from "./conversation.ts";
import type { Json } from "./json.ts";
import { chunk, dataOf, END_TURN, INITIALIZED, journal, OPENED, permission, play, playTurn, rpc, SPEC, update } from "./testing/play.ts";

const parse = (line: string): { [key: string]: Json } => JSON.parse(line) as { [key: string]: Json };

describe("opening a conversation", () => {
  it("begins with initialize, and offers neither files nor terminals", () => {
    const first = begin(SPEC);
    expect(first.lines).toHaveLength(1);
    expect(first.lines[0]).toMatch(/\n$/);
    const message = parse(first.lines[0] ?? "");
    expect(message).toMatchObject({ jsonrpc: "2.0", id: 0, method: "initialize", params: { protocolVersion: 1 } });
    expect((message["params"] as { clientCapabilities: Json }).clientCapabilities).toEqual({ elicitation: { form: {} } });
  });

  it("opens a session in the workspace, gives it the prompt and tells who answered", () => {
    const played = play(journal([INITIALIZED, OPENED]));
    expect(played.lines.slice(1).map(parse)).toEqual([
      { jsonrpc: "2.0", id: 1, method: "session/new", params: { cwd: "/workspace", mcpServers: [] } },
      { jsonrpc: "2.0", id: 2, method: "session/prompt", params: { sessionId: "s1", prompt: [{ type: "text", text: "Do it" }] } },
    ]);
    expect(played.events).toEqual([{ type: "agent.started", data: { name: "Probe", version: "1.2", pid: null, sessionId: "s1" } }]);
    expect(played.state.phase).toBe("prompting");
  });

  it("takes an id that was echoed as text", () => {
    expect(play(journal([rpc({ id: "0", result: { protocolVersion: 1 } })])).state.phase).toBe("opening");
  });

  it.each<[string, string[], RegExp]>([
    ["another protocol", [rpc({ id: 0, result: { protocolVersion: 2 } })], /version 2 of the Agent Client Protocol.*version 1/],
    ["no protocol at all", [rpc({ id: 0, result: {} })], /version null/],
    ["an error of initialize", [rpc({ id: 0, error: { code: -32603, message: "boom" } })], /refused initialize: boom/],
    [
      "an error of session/new",
      [INITIALIZED, rpc({ id: 1, error: { code: -32603, message: "no disk", data: { details: "ENOSPC" } } })],
      /refused session\/new: no disk: ENOSPC/,
    ],
    [
      "a login that is missing",
      [INITIALIZED, rpc({ id: 1, error: { code: -32000, message: "Authentication required" } })],
      /^The agent wants a login before it works \(Authentication required\)/,
    ],
    ["an error without words", [rpc({ id: 0, error: 7 })], /an error without a message/],
    ["a session without an id", [INITIALIZED, rpc({ id: 1, result: {} })], /session without an id/],
  ])("breaks off: %s", (_name, lines, words) => {
    const played = play(journal(lines));
    expect(played.state.phase).toBe("broken");
    expect(played.state.outcome?.stopReason).toBeNull();
    expect(played.state.outcome?.error).toMatch(words);
    expect(dataOf(played.events, "turn.ended")).toEqual([{ stopReason: null, error: played.state.outcome?.error }]);
  });
});

describe("ending a turn", () => {
  it("tells the stop reason, whether there was output, and the last words", () => {
    const usage = { inputTokens: 10, outputTokens: 4, cachedReadTokens: 3, totalTokens: 17 };
    const played = playTurn([
      chunk("first"),
      update("plan", { entries: [] }),
      update("tool_call", { toolCallId: "t" }),
      chunk("last"),
      rpc({ id: 2, result: { stopReason: "end_turn", usage } }),
    ]);
    expect(played.state).toMatchObject({ phase: "ended", usage: { inputTokens: 10, outputTokens: 4, cachedInputTokens: 3 }, waiting: [] });
    expect(played.state.outcome).toEqual({ stopReason: "end_turn", error: null, sawOutput: true, lastText: "last" });
    expect(played.events.at(-1)).toEqual({ type: "turn.ended", data: { stopReason: "end_turn", error: null } });
  });

  it("knows a turn without any output", () => {
    expect(playTurn([END_TURN]).state.outcome).toEqual({ stopReason: "end_turn", error: null, sawOutput: false, lastText: null });
    expect(playTurn([update("usage_update", { used: 5, size: 100 }), END_TURN]).state).toMatchObject({
      context: { usedTokens: 5, sizeTokens: 100 },
      outcome: { sawOutput: false },
    });
    expect(playTurn([rpc({ id: 2, result: { stopReason: "end_turn", usage: { outputTokens: 1 } } })]).state.outcome?.sawOutput).toBe(true);
  });

  it("keeps the agent's words when the prompt fails", () => {
    const played = playTurn([rpc({ id: 2, error: { code: -32603, message: "Internal error", data: "model overloaded" } })]);
    expect(played.state.phase).toBe("ended");
    expect(played.state.outcome).toMatchObject({ stopReason: null, error: "Internal error: model overloaded" });
  });

  it("does not take an answer without a stop reason for a success", () => {
    expect(playTurn([rpc({ id: 2, result: {} })]).state.outcome?.error).toMatch(/without saying why/);
  });

  it("answers to nothing that was asked end nothing", () => {
    const played = playTurn([rpc({ id: 9, result: {} }), rpc({ id: "constructor", result: {} }), rpc({ id: 2 })]);
    expect(played.state.phase).toBe("prompting");
    expect(dataOf(played.events, "log")).toHaveLength(3);
  });
});

describe("messages", () => {
  it("joins the pieces of a batch, and tells the whole text at the end", () => {
    const played = playTurn([chunk("Hel"), chunk("lo"), END_TURN]);
    expect(dataOf(played.events, "message.delta")).toEqual([{ messageId: "m1", kind: "text", text: "Hello" }]);
    expect(dataOf(played.events, "message.completed")).toEqual([{ messageId: "m1", kind: "text", text: "Hello" }]);
    expect(played.events.map((event) => event.type)).toEqual(["message.delta", "message.completed", "turn.ended"]);
  });

  it("begins a new message with another kind, another id of the agent's, or after an act", () => {
    const id = (messageId: string): { messageId: string } => ({ messageId });
    const played = playTurn([
      chunk("think", "thought"),
      chunk("a", "message", id("x")),
      chunk("b", "message", id("x")),
      chunk("c", "message", id("y")),
      update("current_mode_update", { currentModeId: "plan" }),
      chunk("d", "message", id("y")),
      END_TURN,
    ]);
    expect(dataOf(played.events, "message.completed")).toEqual([
      { messageId: "m1", kind: "thought", text: "think" },
      { messageId: "m2", kind: "text", text: "ab" },
      { messageId: "m3", kind: "text", text: "c" },
      { messageId: "m4", kind: "text", text: "d" },
    ]);
    expect(dataOf(played.events, "mode.changed")).toEqual([{ modeId: "plan" }]);
  });

  it("goes on through what is no act of the agent's", () => {
    const played = playTurn([
      chunk("a"),
      update("usage_update", { used: 1, size: 2 }),
      update("tomorrow", { x: 1 }),
      "debug: hello",
      update("session_info_update", { title: "T" }),
      chunk("b"),
      chunk(""),
      END_TURN,
    ]);
    expect(played.events.map((event) => event.type)).toEqual(["message.delta", "log", "message.delta", "message.completed", "turn.ended"]);
    expect(dataOf(played.events, "message.completed")[0]?.text).toBe("ab");
  });

  it("loses no text of a message that is longer than the state may be", () => {
    const text = `${"x".repeat(65_535)}😀${"y".repeat(70_000)}`;
    const played = playTurn([chunk(text), END_TURN]);
    const completed = dataOf(played.events, "message.completed");
    expect(completed.map((message) => message.text).join("")).toBe(text);
    expect(completed.map((message) => message.messageId)).toEqual(["m1", "m2", "m3"]);
    expect(completed[1]?.text.startsWith("😀")).toBe(true);
  });

  it("shows a link as its address and leaves out what is no text", () => {
    const link = update("agent_message_chunk", { content: { type: "resource_link", uri: "file:///a", name: "a" } });
    const image = update("agent_message_chunk", { content: { type: "image", data: "AAAA", mimeType: "image/png" } });
    const played = playTurn([link, image, update("agent_message_chunk", { content: 7 }), END_TURN]);
    expect(dataOf(played.events, "message.completed").map((message) => message.text)).toEqual(["file:///a"]);
  });
});

describe("plans", () => {
  const entries = [
    { content: "a", status: "completed", priority: "high" },
    { content: "b", status: "odd", priority: "odd" },
    { content: "called off", status: "cancelled" },
    { status: "pending" },
    7,
  ];
  const read = [
    { content: "a", status: "completed", priority: "high" },
    { content: "b", status: "pending", priority: "medium" },
  ];

  it("are told when they change", () => {
    const played = playTurn([update("plan", { entries }), update("plan", { entries }), update("plan", { entries: [] })]);
    expect(dataOf(played.events, "plan.updated")).toEqual([{ entries: read }, { entries: [] }]);
  });

  it("come from a tool where the profile says so", () => {
    const spec = { ...SPEC, profileQuirks: { planTool: "todowrite" } };
    const lines = [
      update("tool_call", { toolCallId: "t", title: "todowrite", rawInput: {} }),
      update("tool_call_update", { toolCallId: "t", title: "todowrite", status: "in_progress", rawInput: { todos: entries } }),
      update("tool_call_update", { toolCallId: "t", title: "2 todos", status: "completed" }),
    ];
    expect(dataOf(playTurn(lines, spec).events, "plan.updated")).toEqual([{ entries: read }]);
    expect(dataOf(playTurn(lines).events, "plan.updated")).toEqual([]);
  });
});

describe("lines that are no message", () => {
  it.each([
    "plain words",
    "[]",
    "7",
    '{"id":1}',
    '{"jsonrpc":"1.0","method":"session/update"}',
    '{"jsonrpc":"2.0","id":{"a":1},"method":"x/y"}',
    '{"jsonrpc":"2.0","id":true,"method":"x/y"}',
  ])("are logged: %s", (line) => {
    const played = playTurn([line]);
    expect(played.events).toEqual([{ type: "log", data: { text: line } }]);
    expect(played.lines).toEqual([]);
  });

  it("are cut at 2,000 characters, freed from NUL, and left out when blank", () => {
    const played = playTurn(["z".repeat(5_000), "a\0b", "   ", ""]);
    expect(dataOf(played.events, "log").map((log) => log.text.length)).toEqual([2_000, 3]);
    expect(JSON.stringify(played.events)).not.toContain("\\u0000");
  });

  it("are noticed when they were too long to read", () => {
    const step = receive(play([]).state, SPEC, [{ offset: 0, tooLongBytes: 20_000_000 }]);
    expect(step.events).toEqual([
      { type: "notice", data: { level: "warning", code: "line_too_long", message: expect.stringContaining("20000000 bytes") as string } },
    ]);
  });
});

describe("other messages of the agent", () => {
  it("get the answer that nothing of the kind is offered", () => {
    const played = playTurn([
      rpc({ id: 5, method: "fs/write_text_file", params: { path: "/x" } }),
      rpc({ id: null, method: "terminal/create" }),
      rpc({ method: "x/notification" }),
    ]);
    expect(played.lines.map(parse)).toMatchObject([
      { id: 5, error: { code: -32601, message: "Runyard does not offer fs/write_text_file" } },
      { id: null, error: { code: -32601 } },
    ]);
    expect(played.events).toEqual([]);
  });

  it("become notices where they are meant so", () => {
    const played = playTurn([
      update("notice", { severity: "info", title: "Hi", description: "there" }),
      update("notice", { severity: "error", title: "Bad" }),
      update("notice", {}),
    ]);
    expect(dataOf(played.events, "notice")).toEqual([
      { level: "info", code: "agent", message: "Hi: there" },
      { level: "warning", code: "agent", message: "Bad" },
    ]);
  });
});

describe("cancelling", () => {
  it("stops the turn and answers what is open, and only that", () => {
    const spec = { ...SPEC, policy: normalizePolicy({ ask: ["execute"] }) };
    const ask = permission("p-1", {
      toolCall: { toolCallId: "t", kind: "execute", title: "rm" },
      options: [{ optionId: "y", kind: "allow_once", name: "Yes" }],
    });
    const form = rpc({
      id: 8,
      method: "elicitation/create",
      params: { mode: "form", sessionId: "s1", message: "Which?", requestedSchema: { type: "object", properties: {} } },
    });
    const played = playTurn([ask, form], spec);
    expect(played.requests.map((request) => request.kind)).toEqual(["permission", "question"]);
    expect(cancelLines(played.state, played.requests).map(parse)).toEqual([
      { jsonrpc: "2.0", method: "session/cancel", params: { sessionId: "s1" } },
      { jsonrpc: "2.0", id: "p-1", result: { outcome: { outcome: "cancelled" } } },
      { jsonrpc: "2.0", id: 8, result: { action: "cancel" } },
    ]);
    expect(cancelLines(played.state, [])).toHaveLength(1);
  });

  it("says nothing to an agent that has no turn", () => {
    expect(cancelLines(play([]).state, [])).toEqual([]);
    expect(cancelLines(playTurn([END_TURN]).state, [])).toEqual([]);
  });
});
