import type { Budget } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";

/** What the options of `run` and `continue` say of the budget. */
export interface BudgetOptions {
  readonly budget?: number;
  readonly budgetTokens?: number;
  readonly budgetAdvisory?: boolean;
}

export function addBudgetOptions(command: Command): Command {
  return command
    .option("--budget <dollars>", "what its model calls may cost at most, in US dollars, for example 2.50", parseDollars)
    .option("--budget-tokens <number>", "how many tokens they may use at most, input and output together", parseTokens)
    .addOption(advisoryOption());
}

/** For agents that call with logins of their own. */
export function advisoryOption(): Option {
  return new Option("--budget-advisory", "it is enough if the budget is looked at between calls, as it is with --own-login");
}

/** The part of a request that these options make. */
export function budgetRequest({ budget: usd, budgetTokens: tokens, budgetAdvisory: advisory }: BudgetOptions): { budget?: Budget } {
  const budget = {
    ...(usd !== undefined && { usd }),
    ...(tokens !== undefined && { tokens }),
    ...(advisory !== undefined && { advisory }),
  };
  return Object.keys(budget).length === 0 ? {} : { budget };
}

/** A number of dollars above 0. */
export function parseDollars(value: string): number {
  const dollars = /^\d*\.?\d+$/.test(value) ? Number(value) : 0;
  if (dollars <= 0 || dollars > 1_000_000)
    throw new InvalidArgumentError("It must be a number of US dollars above 0 and up to 1000000, for example 2.50.");
  return dollars;
}

/** A whole number of tokens, at least 1. */
export function parseTokens(value: string): number {
  const tokens = /^\d+$/.test(value) ? Number(value) : 0;
  if (tokens < 1 || !Number.isSafeInteger(tokens)) throw new InvalidArgumentError("It must be a whole number of tokens, at least 1.");
  return tokens;
}
