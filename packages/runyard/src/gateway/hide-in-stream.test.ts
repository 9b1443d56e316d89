import { expect, test } from "vitest";
import { createRedactor } from "../redact.ts";
import { hideInStream } from "./hide-in-stream.ts";

const VALUE = 'cnry/Zt9"Rp2 é decoy';
const redactor = createRedactor([], [{ name: "TOKEN", value: VALUE }]);
const pieces = [VALUE.slice(0, 7), VALUE.slice(7, 13), VALUE.slice(13)];
const stream = (events: readonly unknown[]): Buffer =>
  Buffer.from(`${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}data: [DONE]\n\n`);
const textIn = (bytes: Buffer, read: (event: never) => string | undefined): string =>
  bytes
    .toString()
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => read(JSON.parse(line.slice(6)) as never) ?? "")
    .join("");

test.each([
  [
    "chat completions",
    (text: string) => ({ choices: [{ index: 0, delta: { content: text } }] }),
    (event: { choices: { delta: { content: string } }[] }) => event.choices[0]?.delta.content,
  ],
  [
    "Messages",
    (text: string) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
    (event: { delta: { text: string } }) => event.delta.text,
  ],
  ["Responses", (text: string) => ({ type: "response.output_text.delta", delta: text }), (event: { delta: string }) => event.delta],
  [
    "Gemini",
    (text: string) => ({ candidates: [{ content: { parts: [{ text }] } }] }),
    (event: { candidates: { content: { parts: { text: string }[] } }[] }) => event.candidates[0]?.content.parts[0]?.text,
  ],
])("pieces of a secret in a stream of %s are hidden, in as many bytes", (_, eventOf, read) => {
  const bytes = stream(["It is ", ...pieces, "."].map((text) => eventOf(text)));
  const hidden = hideInStream(bytes, redactor);
  expect(hidden.length).toBe(bytes.length);
  expect(textIn(hidden, read as (event: never) => string)).toBe(`It is ${"*".repeat(VALUE.length)}.`);
  for (const piece of pieces) expect(hidden.toString()).not.toContain(JSON.stringify(piece).slice(1, -1));
  expect(hidden.toString()).toContain("data: [DONE]\n\n");
  // The control: the same stream without it, and what is no stream, stay as they are.
  expect(hideInStream(bytes, createRedactor([], [{ name: "X", value: "another-value" }]))).toBe(bytes);
  const other = Buffer.from('{"a": "x"}\n\xff\x00');
  expect(hideInStream(other, redactor)).toBe(other);
});

test("arguments of tools, which are JSON in pieces, are hidden too", () => {
  const json = JSON.stringify({ command: `echo ${VALUE}` });
  const event = (text: string): unknown => ({ choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: text } }] } }] });
  const bytes = stream([json.slice(0, 20), json.slice(20, 29), json.slice(29)].map(event));
  const hidden = hideInStream(bytes, redactor).toString();
  expect(hidden).not.toContain("cnry");
  expect(hidden).not.toContain("decoy");
});
