import { describe, expect, test } from "vitest";
import { anthropicMessages as MESSAGES } from "./anthropic-messages.ts";
import { geminiStream as GEMINI } from "./gemini.ts";
import { openaiChat as CHAT } from "./openai-chat.ts";
import { openaiResponses as RESPONSES } from "./openai-responses.ts";
import { outputLimitOf, refuseUnlimited, withOutputLimit } from "./output-limit.ts";
import type { Provider } from "./protocol.ts";
import type { WireFormat } from "./wire-format.ts";

const at = (baseUrl: string): Provider => ({ name: "p", api: "openai", baseUrl, apiKey: null, model: null });
const LOCAL = at("http://127.0.0.1:1/v1");
const OPENAI = at("https://api.openai.com/v1");
const AZURE = at("https://house.openai.azure.com/openai/v1");
const limited = (format: WireFormat, body: object, provider: Provider = LOCAL, limit = 100): unknown =>
  JSON.parse(withOutputLimit(format, { body: Buffer.from(JSON.stringify(body)), provider }, limit).toString());

test.each([
  [{ max_tokens: 5 }, 5, CHAT],
  [{ max_completion_tokens: 6, max_tokens: 5 }, 6, CHAT],
  [{ max_output_tokens: 7 }, 7, RESPONSES],
  [{ max_tokens: 8 }, 8, MESSAGES],
  [{ generationConfig: { maxOutputTokens: 9 } }, 9, GEMINI],
  [{ generation_config: { max_output_tokens: 10 } }, 10, GEMINI],
  [{}, null, CHAT],
  [{ max_tokens: "5" }, null, CHAT],
  [{ max_tokens: 0 }, null, CHAT],
  [{ generationConfig: null }, null, GEMINI],
])("%j asks for %j", (body, limit, format) => {
  expect(outputLimitOf(format, Buffer.from(JSON.stringify(body)))).toBe(limit);
});

describe("a limit is said", () => {
  test.each<[string, WireFormat, object, Provider, object]>([
    ["by the name that the client used", CHAT, { max_completion_tokens: 900, a: 1 }, LOCAL, { max_completion_tokens: 100, a: 1 }],
    [
      "by both where it used both",
      CHAT,
      { max_tokens: 900, max_completion_tokens: 900 },
      LOCAL,
      { max_tokens: 100, max_completion_tokens: 100 },
    ],
    ["by the new name at OpenAI", CHAT, {}, OPENAI, { max_completion_tokens: 100 }],
    ["by the new name at Azure", CHAT, {}, AZURE, { max_completion_tokens: 100 }],
    ["by the new name at a proxy in front of it", CHAT, {}, { ...LOCAL, pricedAs: "openai" }, { max_completion_tokens: 100 }],
    ["by the old name elsewhere", CHAT, {}, at("https://api.openai.com.test/v1"), { max_tokens: 100 }],
    ["to Responses", RESPONSES, { input: "x" }, OPENAI, { input: "x", max_output_tokens: 100 }],
    ["to Messages", MESSAGES, { max_tokens: 900 }, LOCAL, { max_tokens: 100 }],
    ["to Gemini", GEMINI, { generationConfig: { temperature: 1 } }, LOCAL, { generationConfig: { temperature: 1, maxOutputTokens: 100 } }],
  ])("%s", (_, format, body, provider, sent) => expect(limited(format, body, provider)).toEqual(sent));

  test("with thinking that stays below it, or none", () => {
    const body = { max_tokens: 9_000, thinking: { type: "enabled", budget_tokens: 5_000 } };
    expect(limited(MESSAGES, body, LOCAL, 2_000)).toEqual({ max_tokens: 2_000, thinking: { type: "enabled", budget_tokens: 1_999 } });
    expect(limited(MESSAGES, body, LOCAL, 8_000)).toEqual({ max_tokens: 8_000, thinking: { type: "enabled", budget_tokens: 5_000 } });
    expect(limited(MESSAGES, body, LOCAL, 1_024)).toEqual({ max_tokens: 1_024 });
    expect(limited(MESSAGES, { max_tokens: 9, thinking: { type: "adaptive" } })).toEqual({
      max_tokens: 100,
      thinking: { type: "adaptive" },
    });
  });
});

test.each([
  [{ n: 2 }, "more than one answer"],
  [{ generationConfig: { candidateCount: 3 } }, "more than one answer"],
  [{ prediction: { content: "x" } }, '"prediction"'],
  [{ service_tier: "priority" }, 'the service tier "priority"'],
])("%j is refused", (body, what) => {
  expect(() => refuseUnlimited(Buffer.from(JSON.stringify(body)))).toThrow(`This run has a budget, which ${what} could pass`);
});

test("what costs what it says is not", () => {
  for (const body of [{}, { n: 1 }, { service_tier: "flex" }, { generationConfig: {} }, []])
    expect(() => refuseUnlimited(Buffer.from(JSON.stringify(body)))).not.toThrow();
});
