import { expect, test } from "vitest";
import type { ModelState } from "./engine.ts";
import { missingModel, modelFor } from "./model.ts";

const CONNECTED: ModelState = {
  connected: true,
  simulated: false,
  model: "gpt",
  providers: [
    { api: "openai", model: "gpt" },
    { api: "anthropic", model: null },
  ],
};
const CHAT = { apis: ["openai", "anthropic", "gemini"], picksModel: false };
const CLAUDE = { apis: ["anthropic"], picksModel: true };
const GEMINI = { apis: ["gemini"], picksModel: true };
const CUSTOM = { apis: [], picksModel: false };

test("an agent gets the default model of the first provider that it can ask", () => {
  expect([CHAT, CLAUDE, GEMINI, CUSTOM].map((agent) => modelFor(CONNECTED, agent))).toMatchObject([
    { connected: true, model: "gpt" },
    { connected: true, model: null },
    { connected: false, model: null },
    { connected: true, model: "gpt" },
  ]);
  const simulated = { connected: true, simulated: true, model: "scripted-1" };
  expect(modelFor(simulated, GEMINI)).toBe(simulated);
  // A runner of an earlier version does not tell its providers.
  expect(modelFor({ connected: true, simulated: false, model: "gpt" }, CLAUDE).model).toBe("gpt");
});

test("why a run cannot have a model", () => {
  const why = (state: ModelState, agent: typeof CHAT): string | undefined =>
    missingModel(state, { agent: { profile: "some", ...agent }, model: modelFor(state, agent).model })?.message;
  const none: ModelState = { connected: false, simulated: false, model: null, providers: [] };
  const nameless: ModelState = { ...CONNECTED, model: null, providers: [{ api: "openai", model: null }] };
  expect([CHAT, CLAUDE, CUSTOM].map((agent) => why(CONNECTED, agent))).toEqual([undefined, undefined, undefined]);
  expect(why(CONNECTED, GEMINI)).toBe(
    "No model is connected that the agent some could ask: it speaks Gemini's API only. Start Runyard with GEMINI_API_KEY set, or take another agent.",
  );
  expect([why(none, CHAT), why(none, CUSTOM), why(nameless, CHAT), why(nameless, CUSTOM)]).toEqual([
    expect.stringMatching(/^No model is connected\. /),
    undefined,
    expect.stringMatching(/^No model is named\. /),
    undefined,
  ]);
});
