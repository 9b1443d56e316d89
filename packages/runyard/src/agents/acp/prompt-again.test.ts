import { expect, test } from "vitest";
import { begin, type ConversationSpec, receive } from "./conversation.ts";
import { promptAgain } from "./prompt-again.ts";

const spec: ConversationSpec = {
  cwd: "/workspace",
  prompt: "Do it",
  attempt: 1,
  policy: { ask: [], deny: [], rules: [], default: "allow" },
};
const answers = (...messages: object[]): { offset: number; text: string }[] =>
  messages.map((message, offset) => ({ offset, text: JSON.stringify({ jsonrpc: "2.0", ...message }) }));
const said = (text: string): object => ({
  method: "session/update",
  params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } },
});

test("a next prompt goes into the same session, and its turn is judged by what it brings itself", () => {
  const first = receive(
    begin(spec).state,
    spec,
    answers({ id: 0, result: { protocolVersion: 1 } }, { id: 1, result: { sessionId: "s" } }, said("One."), {
      id: 2,
      result: { stopReason: "end_turn" },
    }),
  );
  expect(first.state).toMatchObject({ phase: "ended", outcome: { sawOutput: true, lastText: "One." } });
  const again = promptAgain(first.state, spec, "It fails");
  expect(again.events).toEqual([{ type: "message.user", data: { text: "It fails" } }]);
  expect(again.lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { jsonrpc: "2.0", id: 3, method: "session/prompt", params: { sessionId: "s", prompt: [{ type: "text", text: "It fails" }] } },
  ]);
  expect(again.state).toMatchObject({ phase: "prompting", outcome: null, sawOutput: false });
  const silent = receive(again.state, spec, answers({ id: 3, result: { stopReason: "end_turn" } }));
  expect(silent.state).toMatchObject({ phase: "ended", outcome: { sawOutput: false, stopReason: "end_turn" } });
});

test("there is none without a session, nor in the middle of a turn", () => {
  const beginning = begin(spec).state;
  expect(() => promptAgain(beginning, spec, "x")).toThrow("initializing");
  expect(() => promptAgain({ ...beginning, phase: "prompting", sessionId: "s" }, spec, "x")).toThrow("prompting");
});
