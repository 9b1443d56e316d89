import type { ServerStatus } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import type { Paint } from "./output.ts";
import { describeModel } from "./status.ts";

const OPENAI = { name: "openai", api: "openai", host: "api.openai.com" } as const;
const LOCAL = { name: "local", api: "openai", host: "127.0.0.1:11434" } as const;

const PLAIN: Paint = Object.assign((_: unknown, text: string) => text, { colour: false });

function describe(model: Partial<ServerStatus["model"]>, simulated = false): string {
  const status = { simulated, model: { connected: true, name: null, host: null, providers: [], ...model } };
  return describeModel(status as unknown as ServerStatus, PLAIN);
}

test.each<[string, Partial<ServerStatus["model"]>]>([
  ["gpt-x at api.openai.com", { name: "gpt-x", host: OPENAI.host, providers: [OPENAI] }],
  ["each run must name one with --model (RUNYARD_MODEL is not set) at api.openai.com", { host: OPENAI.host, providers: [OPENAI] }],
  [
    "local/qwen; connected: local at 127.0.0.1:11434, openai at api.openai.com",
    { name: "local/qwen", host: LOCAL.host, providers: [LOCAL, OPENAI] },
  ],
  ["gpt-x", { name: "gpt-x" }],
])("%s", (text, model) => expect(describe(model)).toBe(text));

test("what answers in place of a model, and what to do where nothing does", () => {
  expect(describe({}, true)).toBe("scripted-1, simulated: no AI answers");
  expect(describe({ connected: false })).toContain("set OPENAI_BASE_URL, or a key such as OPENAI_API_KEY");
});
