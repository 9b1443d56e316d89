import { createRunSchema } from "@runyard/sdk/contract";
import { Command } from "commander";
import { expect, test } from "vitest";
import { addBudgetOptions, type BudgetOptions, budgetRequest } from "./budget-options.ts";

function requestOf(...words: string[]): ReturnType<typeof budgetRequest> {
  const command = addBudgetOptions(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return budgetRequest(command.parse(words, { from: "user" }).opts<BudgetOptions>());
}

test("the options of budgets make the request, in the words of the contract", () => {
  expect(requestOf()).toEqual({});
  expect(requestOf("--budget", "2.50")).toEqual({ budget: { usd: 2.5 } });
  expect(requestOf("--budget", ".5", "--budget-tokens", "100000")).toEqual({ budget: { usd: 0.5, tokens: 100_000 } });
  expect(requestOf("--budget-tokens", "5", "--budget-advisory")).toEqual({ budget: { tokens: 5, advisory: true } });
  expect(createRunSchema.safeParse({ task: "x", repositoryUrl: "/x", ...requestOf("--budget-tokens", "1") }).success).toBe(true);
});

test.each(["0", "0.00", "-1", "NaN", "Infinity", "1e999", "2,50", "$2", "1000001", ""])("--budget %j is refused", (word) => {
  expect(() => requestOf(`--budget=${word}`)).toThrow("It must be a number of US dollars above 0 and up to 1000000, for example 2.50.");
});

test.each(["0", "-1", "1.5", "many", "9007199254740993", ""])("--budget-tokens %j is refused", (word) => {
  expect(() => requestOf(`--budget-tokens=${word}`)).toThrow("It must be a whole number of tokens, at least 1.");
});
