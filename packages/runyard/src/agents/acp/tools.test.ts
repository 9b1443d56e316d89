import type { NewEvent } from "@runyard/sdk/contract";
import { describe, expect, it } from "vitest";
import type { Json } from "./json.ts";
import { chunk, dataOf, END_TURN, permission, playTurn, update } from "./testing/play.ts";
import { MAX_OPEN_TOOLS, MAX_OUTPUT_CHARS } from "./tools.ts";

type Fields = { readonly [key: string]: Json };

const call = (toolCallId: string, rest: Fields = {}): string => update("tool_call", { toolCallId, ...rest });
const change = (toolCallId: string, rest: Fields = {}): string => update("tool_call_update", { toolCallId, ...rest });
const text = (words: string): Json => [{ type: "content", content: { type: "text", text: words } }];
const types = (events: readonly NewEvent[]): string[] => events.map((event) => event.type);

describe("a tool call", () => {
  it("starts, changes and finishes with all that was said of it", () => {
    const played = playTurn([
      call("t1", { title: "bash", kind: "execute", status: "pending", locations: [{ path: "/w", line: 3 }] }),
      change("t1", { title: "ls", status: "in_progress" }),
      change("t1", { title: "ls", status: "in_progress" }),
      change("t1", { status: "completed", content: text("a\nb"), rawOutput: { output: "a\nb", metadata: { exit: 3 } } }),
    ]);
    const base = { toolCallId: "t1", kind: "execute", diffs: [], locations: ["/w"], output: null, exitCode: null };
    expect(played.events).toEqual([
      { type: "tool.started", data: { ...base, title: "bash", status: "pending" } },
      { type: "tool.updated", data: { ...base, title: "ls", status: "in_progress" } },
      { type: "tool.finished", data: { ...base, title: "ls", status: "completed", output: "a\nb", exitCode: 3 } },
    ]);
    expect(played.state.tools).toEqual([]);
    expect(played.state.sawOutput).toBe(true);
  });

  it("is made by an update that no start preceded", () => {
    const played = playTurn([change("t1", { status: "completed", kind: "sing", name: "song" })]);
    expect(types(played.events)).toEqual(["tool.started", "tool.finished"]);
    expect(dataOf(played.events, "tool.started")[0]).toMatchObject({ title: "song", kind: "other", status: "completed" });
  });

  it("has its id for a title where it has no other", () => {
    expect(dataOf(playTurn([call("t1", { title: "  " })]).events, "tool.started")[0]?.title).toBe("t1");
  });

  it("is dropped when it finished, and its late updates with it; a new call may take its id", () => {
    const played = playTurn([call("t", { status: "failed" }), change("t", { title: "late" }), call("t", { title: "again" })]);
    expect(types(played.events)).toEqual(["tool.started", "tool.finished", "tool.started"]);
    expect(dataOf(played.events, "tool.started")[1]).toMatchObject({ title: "again", status: "pending" });
  });

  it("without an id, or with one that is no text, is nothing", () => {
    const played = playTurn([
      update("tool_call", { title: "x" }),
      update("tool_call", { toolCallId: 7 }),
      update("tool_call", { toolCallId: "" }),
    ]);
    expect(played.events).toEqual([]);
    expect(played.state.sawOutput).toBe(false);
  });

  it("has the output that came bit by bit beside it, and the exit code of its terminal", () => {
    const beside = (fields: Fields): Fields => ({ _meta: { terminal_info: { terminal_id: "t1" }, ...fields } });
    const played = playTurn([
      call("t1", { title: "make", status: "in_progress", content: [{ type: "terminal", terminalId: "t1" }] }),
      change("t1", beside({ terminal_output_delta: { data: "one\n", terminal_id: "t1" } })),
      change("t1", beside({ terminal_output: { data: "two\n", terminal_id: "t1" } })),
      change("t1", { status: "failed", ...beside({ terminal_exit: { exit_code: 2, signal: null, terminal_id: "t1" } }) }),
      call("t2", { status: "completed", ...beside({ terminal_output_delta: 7, terminal_exit: { exit_code: "2" } }) }),
    ]);
    expect(dataOf(played.events, "tool.finished")).toMatchObject([
      { output: "one\ntwo\n", exitCode: 2 },
      { output: null, exitCode: null },
    ]);
    const long = playTurn([
      call("t"),
      ...Array.from({ length: 3 }, () => change("t", beside({ terminal_output_delta: { data: "x".repeat(MAX_OUTPUT_CHARS / 2) } }))),
    ]);
    expect(long.state.tools[0]?.view.output).toHaveLength(MAX_OUTPUT_CHARS);
  });

  it.each<[string, Json, number | null]>([
    ["exitCode", { exitCode: 1 }, 1],
    ["exit_code", { exit_code: 2 }, 2],
    ["metadata.exit", { metadata: { exit: 0 } }, 0],
    ["metadata.exitCode", { metadata: { exitCode: -1 } }, -1],
    ["a fraction", { exitCode: 1.5 }, null],
    ["text", { exitCode: "1" }, null],
    ["nothing", "x", null],
  ])("takes the exit code from %s", (_name, rawOutput, exitCode) => {
    expect(dataOf(playTurn([call("t", { status: "completed", rawOutput })]).events, "tool.finished")[0]?.exitCode).toBe(exitCode);
  });

  it.each<[string, Fields, string | null]>([
    ["content", { content: text("c"), rawOutput: { output: "r" } }, "c"],
    ["the raw output", { rawOutput: { output: "r" } }, "r"],
    ["a raw error", { rawOutput: { error: "no" } }, "no"],
    ["raw text", { rawOutput: "t" }, "t"],
    ["nowhere", { content: [7, { type: "content", content: { type: "image" } }, { type: "terminal" }] }, null],
  ])("takes its output from %s", (_name, fields, output) => {
    expect(dataOf(playTurn([call("t", { status: "completed", ...fields })]).events, "tool.finished")[0]?.output).toBe(output);
  });

  it("keeps a diff that later updates do not repeat, and cuts what is too long", () => {
    const diff = [
      { type: "diff", path: "/w/a", oldText: null, newText: "n".repeat(100_000) },
      { type: "diff", newText: "no path" },
    ];
    const played = playTurn([call("t", { content: diff }), change("t", { status: "completed", content: text("o".repeat(100_000)) })]);
    const [finished] = dataOf(played.events, "tool.finished");
    expect(finished?.diffs).toEqual([{ path: "/w/a", oldText: null, newText: "n".repeat(MAX_OUTPUT_CHARS / 2) }]);
    expect(finished?.output).toHaveLength(MAX_OUTPUT_CHARS);
  });

  it("ends the message before it", () => {
    expect(types(playTurn([chunk("a"), call("t"), chunk("b"), END_TURN]).events)).toEqual([
      "message.delta",
      "message.completed",
      "tool.started",
      "message.delta",
      "message.completed",
      "turn.ended",
    ]);
  });
});

describe("bounds", () => {
  it("forgets the oldest of too many open calls", () => {
    const played = playTurn(Array.from({ length: 500 }, (_, n) => call(`t${n}`)));
    expect(played.state.tools).toHaveLength(MAX_OPEN_TOOLS);
    expect(played.state.tools.at(-1)?.view.toolCallId).toBe("t499");
  });

  it("remembers only the last finished calls", () => {
    const played = playTurn(Array.from({ length: 500 }, (_, n) => call(`t${n}`, { status: "completed" })));
    expect(played.state.finishedTools.length).toBeLessThan(100);
    expect(played.state.tools).toEqual([]);
  });

  it("keeps the log of a growing output linear, and tells all of it at the end", () => {
    const lines = Array.from({ length: 2_000 }, (_, n) => change("t", { status: "in_progress", content: text("line\n".repeat(n + 1)) }));
    const played = playTurn([call("t"), ...lines.flatMap((line, n) => [line, `noise ${n}`]), change("t", { status: "completed" })]);
    const told = dataOf(played.events, "tool.updated");
    const size = told.reduce((sum, data) => sum + (data.output ?? "").length, 0);
    expect(told[0]?.output).toBe("line\n");
    expect(told.length).toBeGreaterThan(100);
    expect(size).toBeLessThan(2 * 1_024 * lines.length);
    expect(dataOf(played.events, "tool.finished")[0]?.output).toBe("line\n".repeat(2_000));
  });

  it("joins updates of one batch that nothing stands between", () => {
    const played = playTurn([call("t"), change("t", { title: "a" }), change("t", { title: "b" }), change("t", { title: "c" })]);
    expect(dataOf(played.events, "tool.updated").map((data) => data.title)).toEqual(["c"]);
  });
});

describe("a permission that names a call", () => {
  it("adds the diff to a known call, and leaves its title and status", () => {
    const toolCall = {
      toolCallId: "t",
      title: "/w/a",
      status: "pending",
      kind: "edit",
      content: [{ type: "diff", path: "/w/a", oldText: "", newText: "x" }],
    };
    const played = playTurn([
      call("t", { title: "write", status: "in_progress" }),
      permission(0, { toolCall, options: [] }),
      change("t", { status: "completed", content: text("ok") }),
    ]);
    expect(dataOf(played.events, "tool.updated")[0]).toMatchObject({ title: "write", status: "in_progress", kind: "edit" });
    expect(dataOf(played.events, "tool.finished")[0]).toMatchObject({ output: "ok", diffs: [{ path: "/w/a" }] });
  });
});
