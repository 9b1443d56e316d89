import { money } from "@runyard/sdk/contract";
import { nanoUsdOf, usd } from "./usage.ts";

/** An amount of money and of tokens, as budgets count both: nano US dollars, and tokens of input and output together. */
export interface Amount {
  readonly nanoUsd: number;
  readonly tokens: number;
}

export const NOTHING: Amount = { nanoUsd: 0, tokens: 0 };

/** What may be spent at most; null: as much as it takes. */
export interface Budget {
  readonly nanoUsd: number | null;
  readonly tokens: number | null;
}

/** A budget as people give it, in US dollars; null: it limits nothing. */
export function budgetOf(given: { readonly usd?: number | undefined; readonly tokens?: number | undefined } | undefined): Budget | null {
  const { usd: limit, tokens } = given ?? {};
  if (limit === undefined && tokens === undefined) return null;
  return { nanoUsd: limit === undefined ? null : nanoUsdOf(limit), tokens: tokens ?? null };
}

/** What a run has spent, and what calls that are under way have set aside. */
export interface Account {
  readonly spent: Amount;
  readonly reserved: Amount;
}

/** A call before it is made: no more input than this, and as much output as was asked for. */
export interface WantedCall {
  readonly input: number;
  readonly output: number;
  /** What so many tokens cost at most, in nano US dollars; it grows with either. Null: nobody knows, and nobody needs to. */
  readonly cost: ((tokens: { readonly input: number; readonly output: number }) => number) | null;
}

/**
 * What becomes of a call. `go`: it may use `output` tokens, for which `reserve` is set aside; `isClamped` where it wanted
 * more. `wait`: others hold what it needs, and may give it back. `exceeded`: not enough is left for any answer.
 */
export type Admission =
  | { readonly verdict: "go"; readonly output: number; readonly reserve: Amount; readonly isClamped: boolean }
  | { readonly verdict: "wait" | "exceeded" };

/** An answer of less is worth nothing to anybody. */
const LEAST_OUTPUT_TOKENS = 16;

export function plus(a: Amount, b: Amount): Amount {
  return { nanoUsd: a.nanoUsd + b.nanoUsd, tokens: a.tokens + b.tokens };
}

export function minus(a: Amount, b: Amount): Amount {
  return { nanoUsd: a.nanoUsd - b.nanoUsd, tokens: a.tokens - b.tokens };
}

/** Whether an amount can be set aside without more being spent than the budget has, however all calls under way end. */
export function fits(budget: Budget, account: Account, more: Amount): boolean {
  const sum = plus(plus(account.spent, account.reserved), more);
  return (budget.nanoUsd === null || sum.nanoUsd <= budget.nanoUsd) && (budget.tokens === null || sum.tokens <= budget.tokens);
}

/**
 * Decides about a call under a budget. Nobody's answer is cut short while others hold what it needs: it waits for them,
 * and gets what is left when there is nobody else.
 */
export function admit(budget: Budget, account: Account, call: WantedCall): Admission {
  const reserveFor = (output: number): Amount => ({
    nanoUsd: call.cost?.({ input: call.input, output }) ?? 0,
    tokens: call.input + output,
  });
  const go = (output: number): Admission => ({ verdict: "go", output, reserve: reserveFor(output), isClamped: output < call.output });
  const isPossible = (output: number): boolean => fits(budget, account, reserveFor(output));
  if (isPossible(call.output)) return go(call.output);
  if (account.reserved.tokens > 0) return { verdict: "wait" };
  const least = Math.min(LEAST_OUTPUT_TOKENS, call.output);
  return isPossible(least) ? go(largest(least, call.output, isPossible)) : { verdict: "exceeded" };
}

/** The largest number from `low`, which is possible, to below `high`, which is not. */
function largest(low: number, high: number, isPossible: (value: number) => boolean): number {
  let [possible, impossible] = [low, high];
  while (impossible - possible > 1) {
    const middle = Math.floor((possible + impossible) / 2);
    if (isPossible(middle)) possible = middle;
    else impossible = middle;
  }
  return possible;
}

/** How a call came out, for the account. */
export interface Settlement {
  /** Null: not known. */
  readonly costNanoUsd: number | null;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  /** It came to its own end, so that what the provider counted is all of it. */
  readonly complete: boolean;
  /** The provider charges nothing for it: it refused, or never saw it. */
  readonly isUnbilled: boolean;
  /** What was set aside for it; null: nothing. */
  readonly reserve: Amount | null;
}

/** What a call counts against a budget once it has ended: all that was set aside, where nobody knows what it took. */
export function counted({ costNanoUsd, inputTokens, outputTokens, complete, isUnbilled, reserve }: Settlement): Amount {
  if (isUnbilled) return NOTHING;
  const isKnown = complete && inputTokens !== null && outputTokens !== null;
  const seen = (inputTokens ?? 0) + (outputTokens ?? 0);
  return {
    nanoUsd: costNanoUsd ?? reserve?.nanoUsd ?? 0,
    tokens: isKnown || reserve === null ? seen : Math.max(seen, reserve.tokens),
  };
}

/** From this part of a budget on it is said that it comes to its end. */
const WARN_AT = 0.8;

/** Whether spending has just come to four fifths of a budget. */
export function warns(budget: Budget, before: Amount, after: Amount): boolean {
  const has = ({ nanoUsd, tokens }: Amount): boolean =>
    (budget.nanoUsd !== null && nanoUsd >= WARN_AT * budget.nanoUsd) || (budget.tokens !== null && tokens >= WARN_AT * budget.tokens);
  return !has(before) && has(after);
}

/** Whether the first budget allows no more than the second in anything. */
export function isWithin(budget: Budget, other: Budget): boolean {
  const noMore = (a: number | null, b: number | null): boolean => b === null || (a !== null && a <= b);
  return noMore(budget.nanoUsd, other.nanoUsd) && noMore(budget.tokens, other.tokens);
}

/** A budget in words: "$2.50 and 100,000 tokens". */
export function budgetWords({ nanoUsd, tokens }: Budget): string {
  const parts = [
    ...(nanoUsd === null ? [] : [money(usd(nanoUsd))]),
    ...(tokens === null ? [] : [`${tokens.toLocaleString("en-US")} tokens`]),
  ];
  return parts.join(" and ");
}
