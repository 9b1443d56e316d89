import { Command } from "commander";
import { expect, test } from "vitest";
import { addAgentOptions, addRemovingOptions, type AgentOptions } from "./agent-options.ts";

/** What `agents update` asks for with these words. */
async function asked(...words: string[]): Promise<unknown> {
  const command = new Command("update").exitOverride().configureOutput({ writeErr: () => undefined });
  const request = addAgentOptions(command);
  return request(addRemovingOptions(command).parse(words, { from: "user" }).opts<AgentOptions>());
}

test.each([
  [["--budget", "5", "--budget-tokens", "10"], { usd: 5, tokens: 10 }],
  [["--budget", "5", "--budget-advisory"], { usd: 5, advisory: true }],
  [["--no-budget"], null],
] as const)("%j changes the budget", async (words, budget) => {
  expect(await asked(...words)).toEqual({ budget });
});

test.each([["--budget-tokens=10"], ["--budget-advisory"]])("--no-budget stands beside no %s", async (word) => {
  await expect(asked("--no-budget", word)).rejects.toThrow("--no-budget stands beside a budget.");
});
