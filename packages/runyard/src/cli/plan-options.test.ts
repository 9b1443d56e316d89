import { Command, CommanderError } from "commander";
import { expect, test } from "vitest";
import { CliError } from "./exit-codes.ts";
import { addPlanOptions, type PlanOptions, planRequest } from "./plan-options.ts";

function parse(...words: string[]): PlanOptions {
  const command = addPlanOptions(new Command("run").exitOverride().configureOutput({ writeErr: () => {} }));
  return command.parse(words, { from: "user" }).opts();
}

test.each([
  [[], { settings: {} }],
  [["--plan"], { plan: true, settings: {} }],
  [["--no-plan"], { plan: false, settings: {} }],
  [
    ["--plan", "--strict-plan", "--plan-timeout", "1.5", "--on-plan-timeout", "approve"],
    { plan: true, settings: { strictPlan: true, planTimeout: 1_500, onPlanTimeout: "approve" } },
  ],
  // The repository may say that there is a plan.
  [["--plan-timeout", "0"], { settings: { planTimeout: 0 } }],
])("%j is a request", (words, request) => {
  expect(planRequest(parse(...words))).toEqual(request);
});

test.each([
  [["--no-plan", "--strict-plan"], "makes no plan"],
  [["--plan", "--on-plan-timeout", "approve"], "never happens"],
])("%j contradicts itself", (words, reason) => {
  expect(() => planRequest(parse(...words))).toThrow(CliError);
  expect(() => planRequest(parse(...words))).toThrow(reason);
});

test.each([
  ["--plan-timeout", "-1"],
  ["--plan-timeout", ""],
  ["--plan-timeout", "soon"],
  ["--plan-timeout", "1e12"],
  ["--on-plan-timeout", "wait"],
])("%s %s is no value", (...words) => {
  expect(() => parse(...words)).toThrow(CommanderError);
});
