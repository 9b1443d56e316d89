import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countInput, inputBound } from "./input-bound.ts";

const counted = (body: unknown): ReturnType<typeof countInput> => countInput(Buffer.from(JSON.stringify(body)));
const ask = (...messages: unknown[]): object => ({
  model: "m",
  messages,
  tools: [{ name: "read", properties: { file: { type: "file" } } }],
});
const user = (content: unknown): object => ({ role: "user", content });
const png = (seed: string): object => ({ type: "image_url", image_url: { url: `data:image/png;base64,${seed.repeat(50_000)}` } });

test("without an earlier request its bytes are the bound", () => {
  const body = ask(user("ä€😀"));
  expect(inputBound(counted(body), [])).toBe(Buffer.byteLength(JSON.stringify(body)) + 1_024);
});

describe("with an earlier request", () => {
  const first = ask(user("word ".repeat(1_000)));
  const measured = { ...counted(first), inputTokens: 1_300 };

  test("only what differs is counted by bytes", () => {
    expect(inputBound(counted(first), [measured])).toBe(1_300 + 256);
    const said = "And then?";
    const more = ask(user("word ".repeat(1_000)), user(said));
    expect(inputBound(counted(more), [measured])).toBeGreaterThan(1_300 + 256 + said.length);
    expect(inputBound(counted(more), [measured])).toBeLessThan(1_300 + 256 + 60);
  });

  test("another conversation is bounded by the lesser of both", () => {
    const other = ask(user("something else"));
    expect(inputBound(counted(other), [measured])).toBe(inputBound(counted(other), []));
  });

  test("whatever differs, all of it is counted", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.string({ unit: "grapheme" }),
        fc.string({ unit: "grapheme" }),
        (start, end, middle) => {
          const before = { ...counted([start, end]), inputTokens: 0 };
          const now = counted([start, middle, end]);
          const grown = now.text.length - before.text.length;
          expect(inputBound(now, [before])).toBeGreaterThanOrEqual(Math.min(grown, now.text.length + 1_024));
        },
      ),
    );
  });
});

describe("pictures", () => {
  test.each([
    ["chat", ask(user([png("A")]))],
    ["Responses", { input: [user([{ type: "input_image", image_url: "data:image/png;base64,".padEnd(50_000, "A") }])] }],
    ["Messages", { messages: [user([{ type: "image", source: { type: "base64", data: "A".repeat(50_000) } }])] }],
    [
      "the result of a tool",
      { messages: [user([{ type: "tool_result", content: [{ type: "image", source: { data: "A".repeat(50_000) } }] }])] },
    ],
    ["Gemini", { contents: [{ parts: [{ inlineData: { mimeType: "image/png", data: "A".repeat(50_000) } }] }] }],
    ["Gemini, in the other spelling", { contents: [{ parts: [{ inline_data: { mime_type: "image/png", data: "A".repeat(50_000) } }] }] }],
  ])("count what they may, not their bytes: %s", (_, body) => {
    expect(counted(body).images).toBe(1);
    expect(inputBound(counted(body), [])).toBeGreaterThan(40_000);
    expect(inputBound(counted(body), [])).toBeLessThan(42_000);
  });

  test("that were there before are counted already, another one is not", () => {
    const before = { ...counted(ask(user([png("A")]))), inputTokens: 1_700 };
    expect(inputBound(counted(ask(user([png("A")]), user("More?"))), [before])).toBeLessThan(2_100);
    expect(inputBound(counted(ask(user([png("A")]), user([png("B")]))), [before])).toBeGreaterThan(41_700);
    expect(inputBound(counted(ask(user([png("C")]))), [before])).toBeGreaterThan(40_000);
  });
});

test.each([
  ["file", ask(user([{ type: "file", file: { file_data: "x" } }]))],
  ["input_file", { input: [user([{ type: "input_file", file_data: "x" }])] }],
  ["input_audio", ask(user([{ type: "input_audio", input_audio: { data: "x" } }]))],
  ["document", { messages: [user([{ type: "document", source: { type: "base64", data: "x" } }])] }],
  ["application/pdf", { contents: [{ parts: [{ inlineData: { mimeType: "application/pdf", data: "x" } }] }] }],
])("a part of the type %s cannot be bounded", (type, body) => {
  expect(() => counted(body)).toThrow(`nobody can say before the call how much a part of the type "${type}" counts`);
});

test("what a tool or a schema says is text, whatever it looks like", () => {
  const call = { type: "tool_use", name: "read", input: { type: "file", path: "a" } };
  const document = { type: "document", source: { type: "text", data: "plain" } };
  expect(counted({ ...ask(user("x")), messages: [{ role: "assistant", content: [call] }, user([document])] }).images).toBe(0);
});
