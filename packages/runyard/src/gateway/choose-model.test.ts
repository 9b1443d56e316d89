import { expect, test } from "vitest";
import { chooseModel } from "./choose-model.ts";
import { openaiChat } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import type { Provider, RegisteredRun } from "./protocol.ts";
import { newRun } from "./testing/host.ts";
import type { WireFormat } from "./wire-format.ts";

const at = (name: string, api: Provider["api"], model: string | null = null): Provider => ({
  name,
  api,
  baseUrl: "http://127.0.0.1/",
  apiKey: null,
  model,
});
const openai = at("openai", "openai", "gpt-x");
const anthropic = at("anthropic", "anthropic");
const gemini = at("gemini", "gemini");
const local = at("local", "openai", "qwen");
const ALL = [openai, anthropic, gemini, local];

function choose(
  asked: string,
  options: { providers?: readonly Provider[]; format?: WireFormat; run?: Partial<RegisteredRun> } = {},
): string {
  const { providers = ALL, format = openaiChat, run = {} } = options;
  const { provider, model } = chooseModel(asked, { run: { ...newRun(), ...run }, providers, format });
  return `${provider.name} ${model}`;
}

test.each([
  ["named by its provider", "local/llama-4", "local llama-4"],
  ["with a slash of its own", "meta/llama-4", "openai meta/llama-4"],
  ["with a slash of its own behind a provider", "local/meta/llama-4", "local meta/llama-4"],
  ["a provider's default", "qwen", "local qwen"],
  ["by its family", "claude-sonnet-4-5", "anthropic claude-sonnet-4-5"],
  ["by its family", "gemini-2.5-pro", "gemini gemini-2.5-pro"],
  ["that nobody names as his own", "mystery", "openai mystery"],
])("a model %s: %s", (_, asked, expected) => {
  expect(choose(asked)).toBe(expected);
});

test("the alias is the run's model, else the first default", () => {
  expect(choose("runyard", { run: { model: "gemini/gemini-x" } })).toBe("gemini gemini-x");
  expect(choose("runyard", { providers: [anthropic, local, openai] })).toBe("local qwen");
  expect(() => choose("runyard", { providers: [anthropic] })).toThrow(/No model is chosen/);
});

test("only who speaks the format is asked", () => {
  expect(choose("claude-sonnet-4-5", { format: openaiResponses })).toBe("openai claude-sonnet-4-5");
  expect(() => choose("claude-x", { format: openaiResponses, providers: [anthropic] })).toThrow(
    "No provider that is connected to Runyard answers at /v1/responses. Connected: anthropic (anthropic).",
  );
});

test("a provider that is named and does not speak the format is not replaced by another one", () => {
  expect(() => choose("anthropic/claude-x", { format: openaiResponses })).toThrow(
    "The model anthropic/claude-x is anthropic's, who does not answer at /v1/responses. Name a model of one who does: openai, local.",
  );
});

test("with no provider no model is configured", () => {
  expect(() => choose("gpt-x", { providers: [] })).toThrow(/No model is connected/);
});

test("for a simulated run every name is the scripted model", () => {
  expect(choose("claude-x", { run: { simulated: true }, providers: [at("scripted", "openai")] })).toBe("scripted scripted-1");
});
