import { eventDataSchemas, TOOL_KINDS, type NewEvent } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalizePolicy } from "../../core/permission-policy.ts";
import { begin, cancelRequest, receive } from "./conversation.ts";
import { chunk, INITIALIZED, journal, OPENED, permission, play, rpc, SPEC, update, type Played } from "./testing/play.ts";
import type { Json } from "./json.ts";
import type { ConversationSpec } from "./state.ts";

const spec: ConversationSpec = {
  ...SPEC,
  policy: normalizePolicy({ ask: ["execute", "other"], deny: ["delete"] }),
  profileQuirks: { planTool: "todo" },
};

/** The same in a later turn, with an earlier conversation to take up. */
const laterSpec: ConversationSpec = { ...spec, attempt: 2, earlier: { sessionId: "s0", retold: "Long ago" } };
const offering = (agentCapabilities: Json): string => rpc({ id: 0, result: { protocolVersion: 1, agentCapabilities } });

const json = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
const words = fc.oneof(fc.string(), fc.string({ unit: "grapheme", maxLength: 40 }), fc.constantFrom("\0", "\ud83d", "x".repeat(70_000)));
const toolId = fc.constantFrom("t1", "t2", "t3", "__proto__");
const status = fc.constantFrom("pending", "in_progress", "completed", "failed", "odd");
const kind = fc.constantFrom(...TOOL_KINDS, "odd");

const toolFields = fc.record(
  {
    title: fc.oneof(words, fc.constantFrom("todo", "runyard_submit_plan", "mcp__runyard__ask_user", "mcp.runyard.report_progress")),
    kind,
    status,
    content: fc.oneof(
      json,
      fc.array(
        fc.record({
          type: fc.constantFrom("content", "diff", "terminal"),
          content: fc.record({ text: words }),
          path: words,
          newText: words,
        }),
      ),
    ),
    locations: fc.oneof(json, fc.array(fc.record({ path: words }))),
    rawInput: fc.oneof(
      json,
      fc.record({ todos: fc.array(json, { maxLength: 3 }), command: words }),
      fc.record({ plan: words, steps: fc.array(fc.oneof(words, json), { maxLength: 3 }) }, { requiredKeys: [] }),
      fc.record({ question: words }),
      fc.record({ percentage: fc.oneof(fc.integer({ min: -1, max: 101 }), fc.double()), message: words }),
    ),
    rawOutput: fc.oneof(json, fc.record({ exitCode: fc.integer(), output: words })),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<{ [key: string]: Json }>;

const options = fc.array(
  fc.record({
    optionId: fc.oneof(fc.string(), json),
    kind: fc.constantFrom("allow_once", "reject_once", "allow_always", "odd"),
    name: json,
  }),
  { maxLength: 4 },
) as fc.Arbitrary<Json>;

/** What an agent may send with an id of its own; `n` keeps the ids apart. */
const request = fc.oneof(
  fc
    .record({
      toolCall: fc.oneof(
        json,
        fc.tuple(toolId, toolFields).map(([toolCallId, rest]) => ({ toolCallId, ...rest })),
      ),
      options: fc.oneof(options, json),
    })
    .map((params) => (n: number) => permission(n, params)),
  fc
    .record({ mode: fc.constantFrom("form", "url"), message: json, requestedSchema: json })
    .map((params) => (n: number) => rpc({ id: `q${n}`, method: "elicitation/create", params })),
  fc.tuple(fc.string(), json).map(
    ([method, params]) =>
      (n: number) =>
        rpc({ id: n, method, params }),
  ),
);

const told = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(words, fc.constantFrom("message", "thought"), fc.option(fc.constantFrom("a", "b"), { nil: null }))
      .map(([text, of, messageId]) => chunk(text, of, { messageId })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom("tool_call", "tool_call_update"), toolId, toolFields)
      .map(([of, toolCallId, rest]) => update(of, { toolCallId, ...rest })),
  },
  fc.array(fc.record({ content: words, status, priority: fc.constantFrom("high", "low") })).map((entries) => update("plan", { entries })),
  fc
    .tuple(
      fc.constantFrom("current_mode_update", "usage_update", "notice", "tool_call", "plan", "agent_message_chunk", "tomorrow"),
      fc.dictionary(fc.string(), json),
    )
    .map(([of, rest]) => update(of, rest)),
  fc
    .record(
      {
        id: fc.oneof(fc.constantFrom(0, 1, 2, "1"), json),
        result: fc.oneof(json, fc.record({ stopReason: fc.constantFrom("end_turn", "refusal"), usage: json })),
      },
      { requiredKeys: ["id"] },
    )
    .map((answer) => rpc(answer as { [key: string]: Json })),
  fc.record({ id: fc.constantFrom(0, 1, 2), error: json }).map((answer) => rpc(answer)),
  json.map((value) => JSON.stringify(value)),
  fc.string().map((text) => text.replaceAll("\n", " ")),
);

const line = fc.oneof({ weight: 4, arbitrary: told.map((text) => () => text) }, { weight: 1, arbitrary: request });
const lines = fc
  .tuple(fc.constantFrom([], [INITIALIZED], [INITIALIZED, OPENED]), fc.array(line, { maxLength: 30 }))
  .map(([opening, rest]) => [...opening, ...rest.map((make, n) => make(100 + n))]);
/** Openings of a later turn: what the agent offers, and what becomes of it, with anything in between. */
const laterLines = fc
  .tuple(
    fc.constantFrom<Json>(
      {},
      { loadSession: true },
      { sessionCapabilities: { resume: {} } },
      { loadSession: true, sessionCapabilities: { resume: {} } },
    ),
    fc.array(line, { maxLength: 30 }),
  )
  .map(([capabilities, rest]) => [offering(capabilities), ...rest.map((make, n) => make(100 + n))]);
const sizes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 12 });

/** Events without what batches may join: deltas of a message in one text, updates of a tool not at all. */
function settled(events: readonly NewEvent[]): { readonly rest: readonly NewEvent[]; readonly texts: { [messageId: string]: string } } {
  const texts: { [messageId: string]: string } = {};
  for (const event of events) {
    if (event.type === "message.delta") texts[event.data.messageId] = (texts[event.data.messageId] ?? "") + event.data.text;
  }
  return { rest: events.filter((event) => event.type !== "message.delta" && event.type !== "tool.updated"), texts };
}

function idsOf(sent: readonly string[]): Json[] {
  return sent
    .map((text) => JSON.parse(text) as { id?: Json; method?: Json })
    .flatMap((message) => (message.method === undefined ? [message.id ?? null] : []));
}

function check(property: (all: readonly string[], cuts: readonly number[]) => void): void {
  fc.assert(fc.property(lines, sizes, property), { numRuns: 300 });
}

describe("whatever an agent sends", () => {
  it("gives the same state, texts, requests and lines however it is cut into batches", () => {
    check((all, cuts) => {
      const whole = play(journal(all), { spec });
      const cut = play(journal(all), { spec, sizes: cuts });
      expect(cut.state).toEqual(whole.state);
      expect(cut.requests).toEqual(whole.requests);
      expect(cut.lines).toEqual(whole.lines);
      expect(settled(cut.events)).toEqual(settled(whole.events));
    });
  });

  it("makes events that keep the contract", () => {
    check((all, cuts) => {
      for (const event of play(journal(all), { spec, sizes: cuts }).events) {
        expect(eventDataSchemas[event.type].safeParse(event.data).error).toBeUndefined();
      }
    });
  });

  it("gives each message its whole text once, and nothing after it", () => {
    check((all, cuts) => {
      const { events } = play(journal(all), { spec, sizes: cuts });
      const { texts } = settled(events);
      const completed = events.flatMap((event) => (event.type === "message.completed" ? [event.data] : []));
      expect(new Set(completed.map((message) => message.messageId)).size).toBe(completed.length);
      for (const message of completed) expect(message.text).toBe(texts[message.messageId]);
    });
  });

  it("answers each request at most once, by the policy or by a person and never by both", () => {
    check((all, cuts) => {
      const played: Played = play(journal(all), { spec, sizes: cuts });
      const byPolicy = idsOf(played.lines);
      const byPeople = idsOf(played.requests.map((open) => cancelRequest(open).line));
      const answered = [...byPolicy, ...byPeople];
      expect(new Set(answered).size).toBe(answered.length);
      const asked = all.map((text) => readId(text)).filter((id) => id !== undefined);
      expect(new Set(answered)).toEqual(new Set(asked));
    });
  });

  it("leaves a state that JSON keeps whole, and that stays small", () => {
    check((all) => {
      const { state } = play(journal(all), { spec });
      expect(JSON.parse(JSON.stringify(state))).toStrictEqual(state);
      expect(JSON.stringify(state).length).toBeLessThan(3_000_000);
    });
  });

  it("is taken without a word of complaint, nested as deep as it may be", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const nested = [
      deep,
      `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"mode":"form","requestedSchema":${deep}}}`,
      `{"jsonrpc":"2.0","id":2,"method":"session/request_permission","params":{"toolCall":{"rawInput":${deep}}}}`,
    ];
    const played = play(journal([INITIALIZED, OPENED, ...nested]), { spec });
    expect(() => JSON.stringify(played)).not.toThrow();
  });
});

describe("whatever an agent sends that takes a conversation up again", () => {
  it("gives the same however it is cut, keeps the contract, and tells nothing of before the prompt as the turn's own", () => {
    fc.assert(
      fc.property(laterLines, sizes, (all, cuts) => {
        const whole = play(journal(all), { spec: laterSpec });
        const cut = play(journal(all), { spec: laterSpec, sizes: cuts });
        expect(cut.state).toEqual(whole.state);
        expect(cut.lines).toEqual(whole.lines);
        expect(settled(cut.events)).toEqual(settled(whole.events));
        for (const event of cut.events) expect(eventDataSchemas[event.type].safeParse(event.data).error).toBeUndefined();
        const prompts = whole.lines.filter((text) => text.includes('"session/prompt"'));
        expect(prompts.length).toBeLessThanOrEqual(1);
        expect(whole.events.filter((event) => event.type === "agent.started")).toHaveLength(prompts.length);
        // A new conversation is always told of, and told what was before.
        const isNew = whole.lines.some((text) => text.includes('"session/new"'));
        expect(whole.events.some((event) => event.type === "notice" && event.data.code === "conversation-restarted")).toBe(isNew);
        for (const prompt of prompts) expect(prompt.includes("Long ago")).toBe(isNew);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the step itself", () => {
  it("leaves the state that it was given as it was", () => {
    check((all) => {
      const { state } = begin(spec);
      const before = JSON.stringify(state);
      receive(state, spec, journal(all));
      expect(JSON.stringify(state)).toBe(before);
    });
  });
});

/** The id of a line that is a request of the agent's; undefined for any other line. */
function readId(text: string): Json | undefined {
  let message: Json;
  try {
    message = JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
  if (typeof message !== "object" || message === null || Array.isArray(message)) return undefined;
  const { jsonrpc, id, method } = message as { [key: string]: Json | undefined };
  return jsonrpc === "2.0" && typeof method === "string" && (typeof id === "number" || typeof id === "string" || id === null)
    ? id
    : undefined;
}
