import { describe, expect, it } from "vitest";
import { planningPolicy } from "../../core/plan.ts";
import { normalizePolicy } from "../../core/permission-policy.ts";
import { questionsAsked, questionsLeft } from "./conversation.ts";
import type { Json, JsonObject } from "./json.ts";
import { dataOf, END_TURN, permission, type Played, playTurn, SPEC, update } from "./testing/play.ts";

const PLANNING = { ...SPEC, plans: true, policy: planningPolicy(normalizePolicy({ default: "ask" }), null) };
const PLAN = { plan: "# Plan" };
const OPTIONS = [
  { optionId: "yes", kind: "allow_once", name: "Yes" },
  { optionId: "no", kind: "reject_once", name: "No" },
];

const begun = (fields: JsonObject): string => update("tool_call", { toolCallId: "t", ...fields });
const changed = (fields: JsonObject): string => update("tool_call_update", { toolCallId: "t", ...fields });
const done = (title: string, rawInput: Json, toolCallId = "t"): string =>
  update("tool_call", { toolCallId, title, kind: "other", status: "completed", rawInput });
const ignored = (played: Played): string[] =>
  dataOf(played.events, "notice").flatMap(({ code, message }) => (code === "tool-call-ignored" ? [message] : []));

/** How agents report a call, from its beginning to its end. */
const REPORTS: readonly (readonly [string, readonly string[]])[] = [
  [
    "opencode",
    [
      begun({ title: "runyard_submit_plan", kind: "other", status: "pending", rawInput: {} }),
      changed({ title: "runyard_submit_plan", status: "in_progress", rawInput: PLAN }),
      changed({ title: "", status: "completed", rawInput: PLAN, rawOutput: { output: "The plan was handed in." } }),
    ],
  ],
  [
    "codex",
    [
      begun({
        title: "mcp.runyard.submit_plan",
        kind: "execute",
        status: "in_progress",
        rawInput: { server: "runyard", tool: "submit_plan", arguments: PLAN },
        _meta: { is_mcp_tool_call: true },
      }),
      changed({
        status: "completed",
        rawInput: { server: "runyard", tool: "submit_plan", arguments: PLAN },
        rawOutput: { result: {}, error: null },
      }),
    ],
  ],
  [
    "claude",
    [
      begun({ title: "mcp__runyard__submit_plan", name: "mcp__runyard__submit_plan", kind: "other", status: "pending", content: [] }),
      changed({ rawInput: PLAN }),
      changed({ status: "completed", content: [{ type: "content", content: { type: "text", text: "The plan was handed in." } }] }),
    ],
  ],
  [
    "claude, with a title for people",
    [
      begun({ title: "Hand in", _meta: { claudeCode: { toolName: "mcp__runyard__submit_plan" } }, rawInput: PLAN }),
      changed({ status: "completed" }),
    ],
  ],
  [
    "gemini, to which the answer repeats what was passed",
    [
      begun({ title: "submit_plan (runyard MCP Server)", kind: "other", status: "in_progress", content: [] }),
      changed({
        title: "submit_plan (runyard MCP Server)",
        status: "completed",
        content: [
          { type: "content", content: { type: "text", text: `The plan was handed in.\nThis was passed: ${JSON.stringify(PLAN)}` } },
        ],
      }),
    ],
  ],
  ["others", [done("runyard/submit_plan", PLAN)]],
];

it.each(REPORTS)("takes the plan that is handed in, as it is reported by %s", (_, lines) => {
  const played = playTurn([...lines, END_TURN], PLANNING);
  expect(played.state.handedIn).toBe("# Plan");
  expect(ignored(played)).toEqual([]);
  expect(playTurn(lines.slice(0, -1), PLANNING).state.handedIn).toBeUndefined();
});

it("keeps the last plan, and none of a call that failed", () => {
  const lines = [done("runyard_submit_plan", PLAN, "a"), done("runyard_submit_plan", { plan: "# New", steps: ["one"] }, "b")];
  const failed = update("tool_call", { toolCallId: "c", title: "runyard_submit_plan", status: "failed", rawInput: { plan: "# Late" } });
  expect(playTurn([...lines, failed, END_TURN], PLANNING).state.handedIn).toBe("# New\n\n- one");
});

describe("what lies", () => {
  it.each<[string, string, Json]>([
    ["another server's", "mcp__other__submit_plan", PLAN],
    ["a name with more in front of it", "not-runyard_submit_plan", PLAN],
    ["another tool of a server with this name", "runyard_drop_table", PLAN],
  ])("is any other call: %s", (_, title, rawInput) => {
    const played = playTurn([done(title, rawInput), END_TURN], PLANNING);
    expect(played.state.handedIn).toBeUndefined();
    expect(ignored(played)).toEqual([]);
  });

  it.each<[string, string, Json]>([
    ["no arguments", "runyard_submit_plan", {}],
    ["a plan that is no text", "runyard_submit_plan", { plan: ["# Plan"] }],
    ["arguments of another tool", "runyard_submit_plan", { question: "x" }],
    ["more than the tool takes", "runyard_submit_plan", { plan: "x", command: "rm" }],
    ["an empty question", "runyard_ask_user", { question: " " }],
    ["options that are no texts", "runyard_ask_user", { question: "x", options: [1] }],
    ["more than everything", "runyard_report_progress", { percentage: 101, message: "x" }],
    ["progress without a word", "runyard_report_progress", { percentage: 1 }],
  ])("is ignored and told: %s", (_, title, rawInput) => {
    const played = playTurn([done(title, rawInput), END_TURN], PLANNING);
    expect(played.state).not.toHaveProperty("handedIn");
    expect(played.state).not.toHaveProperty("questions");
    expect(ignored(played)).toEqual([expect.stringMatching(/passed nothing that the tool takes\. It was ignored\.$/)]);
  });

  it("is bounded: a long plan, many questions, a call behind the end of the turn", () => {
    const long = playTurn([done("runyard_submit_plan", { plan: "x".repeat(10_000_000) })], PLANNING);
    expect(long.state.handedIn).toHaveLength(70_000);
    const asking = Array.from({ length: 25 }, (_, n) => done("runyard_ask_user", { question: `${n}?` }, `t${n}`));
    const many = playTurn([...asking, done("runyard_ask_user", { question: "3?" }, "again"), END_TURN]);
    expect(many.state.questions).toHaveLength(20);
    expect(ignored(many)).toHaveLength(5);
    expect(playTurn([END_TURN, done("runyard_ask_user", { question: "Late?" })]).state.questions).toBeUndefined();
  });

  it("is no plan outside of a plan phase", () => {
    const played = playTurn([done("runyard_submit_plan", PLAN), END_TURN]);
    expect(played.state.handedIn).toBeUndefined();
    expect(ignored(played)).toEqual(["The agent handed in a plan, and was not asked for one. It was ignored."]);
  });
});

it("keeps what the agent asks for the end of its turn", () => {
  const lines = [
    done("runyard_ask_user", { question: "Which port?", options: ["4600", " ", "4700"] }, "a"),
    done("runyard_ask_user", { question: "Which host?", options: null }, "b"),
    END_TURN,
  ];
  const played = playTurn(lines);
  expect(played.requests).toEqual([]);
  const [first, second] = [1_000, 1_000 + Buffer.byteLength(lines[0] ?? "") + 1];
  const left = questionsLeft(played.state, 2);
  expect(left).toMatchObject([
    { kind: "question", id: `ask_2_${first}`, offset: first, title: "Which port?\n- 4600\n- 4700" },
    { kind: "question", id: `ask_2_${second}`, offset: second, title: "Which host?" },
  ]);
  expect(questionsAsked(left)[1]).toEqual({ questionId: `ask_2_${second}`, question: "Which host?" });
});

it("tells progress, as a whole percentage", () => {
  const played = playTurn([done("runyard_report_progress", { percentage: 33.4, message: "A third" })]);
  expect(dataOf(played.events, "progress.reported")).toEqual([{ percentage: 33, message: "A third" }]);
});

describe("permission", () => {
  const answer = (lines: readonly string[]): unknown => {
    const played = playTurn(lines, PLANNING);
    return dataOf(played.events, "permission.resolved").map(({ decision, rule }) => [decision, rule])[0] ?? played.requests.length;
  };

  it("is given in front of every other rule, where the call says it all, and where it was told before", () => {
    const whole = permission(1, { toolCall: { toolCallId: "t", title: "mcp__runyard__submit_plan", rawInput: PLAN }, options: OPTIONS });
    expect(answer([whole])).toEqual(["allow", "run tools"]);
    const codex = permission(1, { toolCall: { toolCallId: "t", kind: "execute", status: "pending" }, options: OPTIONS });
    expect(answer([...(REPORTS[1]?.[1].slice(0, 1) ?? []), codex])).toEqual(["allow", "run tools"]);
  });

  it("is given to an agent that never reports what it passes", () => {
    const asks = permission(1, { toolCall: { toolCallId: "t", kind: "other", title: "ask_user (runyard MCP Server)" }, options: OPTIONS });
    expect(dataOf(playTurn([asks], { ...PLANNING, profileQuirks: { tellsNoInput: true } }).events, "permission.resolved")).toMatchObject([
      { decision: "allow", rule: "run tools" },
    ]);
    expect(answer([asks])).toBe(1);
  });

  it.each<[string, JsonObject]>([
    ["a command", { title: "runyard_submit_plan", kind: "execute", rawInput: { command: "rm -r ." } }],
    ["a file", { title: "runyard_submit_plan", kind: "edit", rawInput: PLAN, locations: [{ path: "/workspace/a" }] }],
    ["nothing", { title: "runyard_submit_plan", kind: "execute" }],
    ["another tool's arguments", { title: "runyard_submit_plan", kind: "execute", rawInput: { prompt: "x" } }],
  ])("is the policy's for a call that has the name, and %s", (_, call) => {
    expect(answer([permission(1, { toolCall: { toolCallId: "t", ...call }, options: OPTIONS })])).not.toEqual(["allow", "run tools"]);
  });
});
