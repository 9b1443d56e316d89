import { describe, expect, it, test } from "vitest";
import type { Json } from "../acp/json.ts";
import { answerLine, type RunToolsMode } from "./server.ts";

const WORK: RunToolsMode = { plans: false, repeats: false };
const PLAN: RunToolsMode = { plans: true, repeats: false };
const ask = (method: string, params: Json = {}, mode = WORK): unknown =>
  JSON.parse(answerLine(JSON.stringify({ jsonrpc: "2.0", id: 7, method, params }), mode) ?? "null");
const call = (name: string, args: Json, mode = WORK): unknown =>
  (ask("tools/call", { name, arguments: args }, mode) as { result: unknown }).result;
const says = (text: unknown, isError = false): unknown => ({ content: [{ type: "text", text }], isError });

describe("the protocol", () => {
  it.each([
    ["2025-03-26", "2025-03-26"],
    ["2031-01-01", "2025-11-25"],
    [null, "2025-11-25"],
  ])("is agreed on: %s", (asked, agreed) => {
    expect(ask("initialize", { protocolVersion: asked })).toMatchObject({
      jsonrpc: "2.0",
      id: 7,
      result: { protocolVersion: agreed, capabilities: { tools: {} }, serverInfo: { name: "runyard" } },
    });
  });

  it("has three tools, which change nothing", () => {
    const { tools } = (ask("tools/list") as { result: { tools: Record<string, unknown>[] } }).result;
    expect(tools.map((tool) => tool["name"])).toEqual(["submit_plan", "ask_user", "report_progress"]);
    for (const tool of tools)
      expect(tool).toMatchObject({
        description: expect.any(String) as string,
        inputSchema: { type: "object", additionalProperties: false },
        annotations: { readOnlyHint: true },
      });
  });

  it("answers what it does not know, and nothing that is no request", () => {
    expect(ask("ping")).toEqual({ jsonrpc: "2.0", id: 7, result: {} });
    expect(ask("resources/list")).toMatchObject({ error: { code: -32601 } });
    expect(ask("tools/call", { name: "rm" })).toMatchObject({ error: { code: -32602 } });
    expect(JSON.parse(answerLine("{", WORK) ?? "")).toMatchObject({ id: null, error: { code: -32700 } });
    for (const line of ['{"jsonrpc":"2.0","method":"notifications/initialized"}', '{"jsonrpc":"2.0","id":1,"result":{}}', "7", "[]"])
      expect(answerLine(line, WORK)).toBeNull();
  });
});

test("every call is answered at once, with what the agent is to do next", () => {
  expect(call("submit_plan", { plan: "# Plan" }, PLAN)).toEqual(says("The plan was handed in. End your turn now; a person decides."));
  expect(call("submit_plan", { plan: "# Plan" })).toEqual(says(expect.stringMatching(/^No plan was asked for/)));
  expect(call("ask_user", { question: "Which?" })).toEqual(
    says("Your question was passed on. End your turn now; the answer will be your next message."),
  );
  expect(call("report_progress", { percentage: 1, message: "x" })).toEqual(says(expect.stringMatching(/^It was told/)));
});

test("what was passed is repeated for agents that do not report it", () => {
  const passed = { question: "Which\nport?" };
  expect(call("ask_user", passed, { plans: false, repeats: true })).toEqual(
    says(expect.stringMatching(/your next message\.\nThis was passed: \{"question":"Which\\nport\?"\}$/)),
  );
});

test("arguments that are not the tool's are an error that says what it takes", () => {
  expect(call("report_progress", { percentage: "10", message: "x" })).toEqual(
    says(expect.stringMatching(/takes percentage .* and message/), true),
  );
  expect(call("submit_plan", { plan: "x", why: "y" }, PLAN)).toEqual(says(expect.stringMatching(/and nothing else/), true));
});
