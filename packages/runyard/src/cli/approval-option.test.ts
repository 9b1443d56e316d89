import { createRunSchema } from "@runyard/sdk/contract";
import { Command } from "commander";
import { expect, test } from "vitest";
import { approvalOption } from "./approval-option.ts";

function parse(...words: string[]): { approvalAbove?: number } {
  const command = new Command()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addOption(approvalOption("let it wait for"));
  return command.parse(words, { from: "user" }).opts();
}

test("the limit is a number of dollars, 0 included, as the contract takes it", () => {
  expect(parse()).toEqual({});
  expect(parse("--approval-above", "2.50")).toEqual({ approvalAbove: 2.5 });
  const { approvalAbove: approvalAboveUsd } = parse("--approval-above", "0");
  expect(approvalAboveUsd).toBe(0);
  expect(createRunSchema.safeParse({ task: "x", repositoryUrl: "/x", settings: { approvalAboveUsd } }).success).toBe(true);
});

test.each(["-1", "NaN", "Infinity", "1e3", "2,50", "$2", "1000001", ""])("--approval-above %j is refused", (word) => {
  expect(() => parse(`--approval-above=${word}`)).toThrow("It must be a number of US dollars from 0 to 1000000, for example 5.");
});
