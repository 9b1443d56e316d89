import { expect, it } from "vitest";
import { credentialOf } from "./credential.ts";

it("is the key of the first provider whose API an agent speaks, by the name of its variable", () => {
  const providers = [
    { name: "local", api: "openai", apiKey: null },
    { name: "maker", api: "anthropic", apiKey: "sk-1" },
    { name: "other", api: "anthropic", apiKey: "sk-2" },
    { name: "filed", api: "gemini", apiKey: "sk-3" },
  ];
  const env = { PASSWORD: "sk-1", MAKER_API_KEY: "sk-1", OTHER_API_KEY: "sk-2" };
  const credential = (...apis: ("openai" | "anthropic" | "gemini")[]) => credentialOf({ apis }, { providers, env });
  expect(credential("openai", "anthropic")).toEqual({ provider: "local", from: null });
  expect(credential("anthropic")).toEqual({ provider: "maker", from: "MAKER_API_KEY" });
  expect(credential("gemini")).toEqual({ provider: "filed", from: "providers.json" });
  expect(credential()).toBeNull();
  expect(credentialOf({ apis: ["anthropic"] }, { providers: providers.slice(0, 1), env })).toBeNull();
});
