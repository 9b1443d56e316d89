import { expect, test } from "vitest";
import { anthropicMessages } from "./anthropic-messages.ts";
import { geminiGenerate } from "./gemini.ts";
import { openaiChat } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import answers from "./testing/usage-answers.json" with { type: "json" };
import { NO_TOKENS, type WireFormat } from "./wire-format.ts";

const FORMATS: Readonly<Record<string, WireFormat>> = {
  chat: openaiChat,
  responses: openaiResponses,
  messages: anthropicMessages,
  gemini: geminiGenerate,
};

/** As a stream tells it, in its last events. */
const STREAMED: Readonly<Record<string, (answer: object) => object[]>> = {
  chat: (answer) => [answer],
  responses: (response) => [{ type: "response.completed", response }],
  messages: (message) => [
    { type: "message_start", message: { usage: { ...(message as { usage?: object }).usage, output_tokens: 1 } } },
    { type: "message_delta", delta: {}, usage: { output_tokens: 2 } },
    { type: "message_delta", delta: {}, usage: (message as { usage?: object }).usage },
    { type: "message_stop" },
  ],
  gemini: (answer) => [answer],
};

test.each(answers)("the usage of $who", ({ format: name, answer, tokens, streamed }) => {
  const format = FORMATS[name] as WireFormat;
  const expected = { ...NO_TOKENS, ...tokens };
  if (streamed !== true)
    expect(format.readWholeAnswer(Buffer.from(JSON.stringify(answer)))).toMatchObject({ error: null, tokens: expected });
  const watcher = format.watchStream({ wantsUsageEvent: true });
  for (const event of STREAMED[name]?.(answer) ?? []) watcher.see({ data: JSON.stringify(event), value: event });
  expect(watcher.report()).toMatchObject({ error: null, tokens: expected });
});

test("sums of Messages that leave something out leave it as it was", () => {
  const watcher = anthropicMessages.watchStream({ wantsUsageEvent: true });
  const see = (event: object): void => void watcher.see({ data: JSON.stringify(event), value: event });
  see({ type: "message_start", message: { usage: { input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 3 } } });
  expect(watcher.report().tokens).toEqual({ ...NO_TOKENS, inputTokens: 105, cachedInputTokens: 100 });
  see({ type: "message_delta", usage: { output_tokens: 7 } });
  see({ type: "message_delta", usage: { input_tokens: 50, output_tokens: 9, cache_read_input_tokens: null } });
  expect(watcher.report().tokens).toEqual({ ...NO_TOKENS, inputTokens: 150, outputTokens: 9, cachedInputTokens: 100 });
});
