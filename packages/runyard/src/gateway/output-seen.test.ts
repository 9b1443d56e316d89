import { expect, test } from "vitest";
import { meterOutput } from "./output-seen.ts";
import { readEvent, type StreamEvent } from "./wire-format.ts";

const event = (data: unknown): StreamEvent => readEvent(Buffer.from(`data: ${JSON.stringify(data)}\n\n`));
const seen = (...events: unknown[]): number => {
  const meter = meterOutput(1_000_000);
  for (const one of events) meter.see(event(one));
  return meter.tokens;
};
const text = "x".repeat(60);

test.each<[string, unknown, number]>([
  ["chat: text", { choices: [{ index: 0, delta: { content: text } }] }, 10],
  ["chat: reasoning", { choices: [{ delta: { reasoning_content: text } }] }, 10],
  [
    "chat: the call of a tool",
    { choices: [{ delta: { tool_calls: [{ index: 0, type: "function", function: { arguments: text } }] } }] },
    10,
  ],
  ["chat: one piece is one token at least", { choices: [{ delta: { content: "a" } }] }, 1],
  ["chat: an empty piece is none", { choices: [{ delta: { content: "" }, finish_reason: "stop" }] }, 0],
  ["Responses: text", { type: "response.output_text.delta", delta: text }, 10],
  ["Responses: the whole once more", { type: "response.output_text.done", text }, 0],
  ["Responses: the end", { type: "response.completed", response: { output: [{ content: [{ text }] }] } }, 0],
  ["Messages: text", { type: "content_block_delta", delta: { type: "text_delta", text } }, 10],
  ["Messages: thinking", { type: "content_block_delta", delta: { type: "thinking_delta", thinking: text } }, 10],
  ["Messages: the call of a tool", { type: "content_block_delta", delta: { type: "input_json_delta", partial_json: text } }, 10],
  ["Messages: a beginning", { type: "message_start", message: { content: [] } }, 0],
  ["Gemini: text", { candidates: [{ content: { parts: [{ text }] } }] }, 10],
  ["Gemini: the call of a function", { candidates: [{ content: { parts: [{ functionCall: { name: "f", args: { a: text } } }] } }] }, 12],
])("%s", (_, data, tokens) => expect(seen(data)).toBe(tokens));

test("an element of a list counts as an event does, and what is no JSON does not", () => {
  const meter = meterOutput(10);
  meter.see(readEvent(Buffer.from(`[{"candidates":[{"content":{"parts":[{"text":"${text}"}]}}]}`), "json-array"));
  meter.see(readEvent(Buffer.from(`,\n{"candidates":[{"content":{"parts":[{"text":"${text}"}]}}]}`), "json-array"));
  meter.see(readEvent(Buffer.from("data: [DONE]\n\n")));
  meter.see(readEvent(Buffer.from(": comment\n\n")));
  expect(meter.tokens).toBe(20);
  expect(meter.isOver).toBe(false);
});

test("much more than the limit is over it, and a little more is not: it is an estimate", () => {
  const meter = meterOutput(100);
  for (let piece = 0; piece < 189; piece += 1) meter.see(event({ choices: [{ delta: { content: "a" } }] }));
  expect(meter.isOver).toBe(false);
  meter.see(event({ choices: [{ delta: { content: "a" } }] }));
  expect(meter.isOver).toBe(true);
});
