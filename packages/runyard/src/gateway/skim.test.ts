import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { anthropicMessages } from "./anthropic-messages.ts";
import { openaiChat } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import { readEvent, type StreamWatcher, type WireFormat } from "./wire-format.ts";

/** What no format may take for a key of its own. */
const SAID = 'said "usage":{"prompt_tokens":9} "message_stop" "response.completed" "error":{} "index":1';

interface Stream {
  readonly name: string;
  readonly format: WireFormat;
  readonly begin: object;
  /** The most usual event. */
  readonly piece: object;
  readonly others: readonly object[];
}

const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };
const choice = (fields: object, index = 0): object => ({ choices: [{ index, delta: {}, finish_reason: null, ...fields }], usage: null });
const numbered = (type: string, fields: object = {}): object => ({ type, sequence_number: 5, ...fields });
const STREAMS: readonly Stream[] = [
  {
    name: "chat completions",
    format: openaiChat,
    begin: choice({ delta: { role: "assistant" } }),
    piece: choice({ delta: { content: SAID } }),
    others: [
      choice({}, 1),
      choice({ finish_reason: "stop" }),
      choice({ finish_reason: "length" }, 1),
      { ...choice({}), usage },
      { choices: [], usage },
      { ...choice({}), x_groq: { usage } },
      { error: { message: "overloaded" } },
      { ...choice({}), error: null },
    ],
  },
  {
    name: "Messages",
    format: anthropicMessages,
    begin: { type: "message_start", message: { usage: { input_tokens: 4 } } },
    piece: { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: SAID } },
    others: [
      { type: "ping" },
      { type: "message_delta", delta: {}, usage: { output_tokens: 5 } },
      { type: "message_delta", usage: { input_tokens: 6 } },
      { type: "message_stop" },
      { type: "error", error: { message: "overloaded" } },
    ],
  },
  {
    name: "Responses",
    format: openaiResponses,
    begin: { type: "response.created", sequence_number: 0, response: { status: "in_progress", error: null } },
    piece: numbered("response.output_text.delta", { delta: SAID, obfuscation: "abc" }),
    others: [
      { type: "response.new_thing" },
      numbered("response.completed", { response: { usage: { input_tokens: 1 } } }),
      numbered("response.incomplete"),
      numbered("response.failed", { response: { error: { message: "no quota" } } }),
      numbered("error", { message: "overloaded" }),
    ],
  },
];

/** Gives events as they come: some at a time. What nobody need see is not seen, unless `isRead`. */
function watch(watcher: StreamWatcher, blocks: readonly (readonly string[])[], isRead: boolean): unknown {
  for (const block of blocks) {
    if (!isRead && watcher.skim(Buffer.from(block.join("")))) continue;
    for (const event of block) watcher.see(readEvent(Buffer.from(event)));
  }
  return { report: watcher.report(), lastWords: String(watcher.errorEvent("x")) };
}

describe.each(STREAMS)("$name", ({ format, begin, piece, others }) => {
  const sse = (value: object, space = 0): string => `data: ${JSON.stringify(value, null, space).replaceAll("\n", "")}\n\n`;

  test("what is skimmed over would have changed nothing", () => {
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.constant(sse(piece)) },
      fc.constantFrom(...others.flatMap((one) => [sse(one), sse(one, 1)])),
      fc.constantFrom(
        sse(begin),
        ": comment\n\n",
        "data:\n\n",
        "data: no JSON\n\n",
        "data: [DONE]\n\n",
        'event: x\r\ndata:{"type":"x"}\r\n\r\n',
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.array(event, { maxLength: 4 })), (blocks) => {
        // A stream with another first event is none of this format.
        const all = [[sse(begin)], ...blocks];
        const watcher = (): StreamWatcher => format.watchStream({ wantsUsageEvent: true });
        expect(watch(watcher(), all, false)).toEqual(watch(watcher(), all, true));
      }),
    );
  });

  test("the most usual event need not be seen, and the first one must", () => {
    const watcher = format.watchStream({ wantsUsageEvent: true });
    expect(watcher.skim(Buffer.from(sse(piece)))).toBe(false);
    watcher.see(readEvent(Buffer.from(sse(begin))));
    expect(watcher.skim(Buffer.from(sse(piece) + sse(piece, 1) + sse(piece)))).toBe(true);
    for (const word of ["data: no JSON\n\n", "data: [DONE]\n\n"]) expect(watcher.skim(Buffer.from(sse(piece) + word))).toBe(false);
  });
});
