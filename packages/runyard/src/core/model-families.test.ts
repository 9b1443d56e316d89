import { expect, test } from "vitest";
import { makersApi } from "./model-families.ts";

test.each([
  ["claude-sonnet-4-5", "anthropic"],
  ["Claude.x", "anthropic"],
  ["gemini-2.5-pro", "gemini"],
  ["gemma-3", "gemini"],
  ["gpt-5", undefined],
  ["my-claude-x", undefined],
  ["claudette", undefined],
])("%s is made by one who speaks %s", (model, api) => {
  expect(makersApi(model)).toBe(api);
});
