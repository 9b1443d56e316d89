import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Account,
  admit,
  type Amount,
  type Budget,
  budgetOf,
  budgetWords,
  counted,
  fits,
  isWithin,
  minus,
  NOTHING,
  plus,
  type WantedCall,
  warns,
} from "./spending.ts";

const cost = ({ input, output }: { readonly input: number; readonly output: number }): number => 3 * input + 15 * output;
const call = (change: Partial<WantedCall> = {}): WantedCall => ({ input: 100, output: 1_000, cost, ...change });
const account = (change: Partial<Account> = {}): Account => ({ spent: NOTHING, reserved: NOTHING, ...change });
const usdOnly = (nanoUsd: number): Budget => ({ nanoUsd, tokens: null });

describe("admitting a call", () => {
  test.each<[string, Budget, Account, WantedCall, ReturnType<typeof admit>]>([
    [
      "all of it fits",
      usdOnly(15_300),
      account(),
      call(),
      { verdict: "go", output: 1_000, reserve: { nanoUsd: 15_300, tokens: 1_100 }, isClamped: false },
    ],
    [
      "less is left",
      usdOnly(15_299),
      account(),
      call(),
      { verdict: "go", output: 999, reserve: { nanoUsd: 15_285, tokens: 1_099 }, isClamped: true },
    ],
    [
      "for 16 tokens just enough is left",
      usdOnly(540),
      account(),
      call(),
      { verdict: "go", output: 16, reserve: { nanoUsd: 540, tokens: 116 }, isClamped: true },
    ],
    ["for less than 16 tokens", usdOnly(539), account(), call(), { verdict: "exceeded" }],
    [
      "whoever wants less may have it",
      usdOnly(330),
      account(),
      call({ output: 2 }),
      { verdict: "go", output: 2, reserve: { nanoUsd: 330, tokens: 102 }, isClamped: false },
    ],
    ["nothing is left", usdOnly(1_000), account({ spent: { nanoUsd: 1_000, tokens: 0 } }), call(), { verdict: "exceeded" }],
    ["others hold it", usdOnly(16_000), account({ reserved: { nanoUsd: 1_000, tokens: 5 } }), call(), { verdict: "wait" }],
    [
      "others hold it, and there would not be enough without them",
      usdOnly(16_000),
      account({ spent: { nanoUsd: 15_900, tokens: 5 }, reserved: { nanoUsd: 50, tokens: 5 } }),
      call(),
      { verdict: "wait" },
    ],
    [
      "tokens alone",
      { nanoUsd: null, tokens: 600 },
      account(),
      call({ cost: null }),
      { verdict: "go", output: 500, reserve: { nanoUsd: 0, tokens: 600 }, isClamped: true },
    ],
    [
      "the tighter of both",
      { nanoUsd: 15_300, tokens: 200 },
      account(),
      call(),
      { verdict: "go", output: 100, reserve: { nanoUsd: 1_800, tokens: 200 }, isClamped: true },
    ],
    ["input alone is too much", { nanoUsd: null, tokens: 99 }, account(), call(), { verdict: "exceeded" }],
  ])("%s", (_, budget, state, wanted, verdict) => expect(admit(budget, state, wanted)).toEqual(verdict));
});

const amount = fc.record({
  input: fc.nat(5_000),
  output: fc.integer({ min: 1, max: 5_000 }),
  used: fc.double({ min: 0, max: 1, noNaN: true }),
});
const budgets = fc.record({
  nanoUsd: fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: null }),
  tokens: fc.option(fc.integer({ min: 1, max: 10_000 }), { nil: null }),
});

test("whatever is wanted, in whatever order calls end, a budget is never passed, and what is left is used", () => {
  fc.assert(
    fc.property(budgets, fc.array(fc.tuple(amount, fc.boolean()), { maxLength: 60 }), (budget, steps) => {
      let spent: Amount = NOTHING;
      const open: { readonly reserve: Amount; readonly input: number; readonly output: number; readonly used: number }[] = [];
      const reserved = (): Amount => open.reduce((sum, { reserve }) => plus(sum, reserve), NOTHING);
      const endOne = (): void => {
        const one = open.shift();
        if (one === undefined) return;
        const output = Math.floor(one.used * one.output);
        spent = plus(spent, { nanoUsd: cost({ input: one.input, output }), tokens: one.input + output });
      };
      for (const [{ input, output, used }, ends] of steps) {
        const admission = admit(budget, { spent, reserved: reserved() }, { input, output, cost });
        if (admission.verdict === "go") {
          open.push({ reserve: admission.reserve, input, output: admission.output, used });
          expect(admission.output).toBeLessThanOrEqual(output);
          expect(admission.isClamped).toBe(admission.output < output);
          // One token more would not have fitted.
          if (admission.isClamped) {
            const more = { nanoUsd: cost({ input, output: admission.output + 1 }), tokens: input + admission.output + 1 };
            const others = minus(reserved(), admission.reserve);
            expect(fits(budget, { spent, reserved: others }, more)).toBe(false);
          }
        } else if (admission.verdict === "exceeded") {
          expect(open).toHaveLength(0);
          const least = Math.min(16, output);
          expect(fits(budget, { spent, reserved: NOTHING }, { nanoUsd: cost({ input, output: least }), tokens: input + least })).toBe(
            false,
          );
        } else expect(open.length).toBeGreaterThan(0);
        expect(fits(budget, { spent, reserved: reserved() }, NOTHING)).toBe(true);
        if (ends) endOne();
      }
      while (open.length > 0) endOne();
      expect(fits(budget, { spent, reserved: NOTHING }, NOTHING)).toBe(true);
    }),
  );
});

describe("what a call counts", () => {
  const known = {
    costNanoUsd: 50,
    inputTokens: 10,
    outputTokens: 5,
    complete: true,
    isUnbilled: false,
    reserve: { nanoUsd: 500, tokens: 100 },
  };
  test.each([
    ["what it cost", known, { nanoUsd: 50, tokens: 15 }],
    [
      "what was set aside, where it broke off",
      { ...known, costNanoUsd: null, inputTokens: null, outputTokens: null, complete: false },
      { nanoUsd: 500, tokens: 100 },
    ],
    [
      "what was set aside, where it broke off after some of it",
      { ...known, costNanoUsd: null, outputTokens: null, complete: false },
      { nanoUsd: 500, tokens: 100 },
    ],
    [
      "what was seen, where that is more",
      { ...known, costNanoUsd: null, inputTokens: 300, complete: false },
      { nanoUsd: 500, tokens: 305 },
    ],
    [
      "nothing, where nothing is known and nothing was set aside",
      { ...known, costNanoUsd: null, inputTokens: null, outputTokens: null, reserve: null },
      NOTHING,
    ],
    ["nothing, where the provider refused", { ...known, isUnbilled: true }, NOTHING],
  ])("%s", (_, settlement, amountOf) => expect(counted(settlement)).toEqual(amountOf));
});

test("warns once, when spending comes to four fifths of either budget", () => {
  const both: Budget = { nanoUsd: 1_000, tokens: 100 };
  const at = (nanoUsd: number, tokens: number): Amount => ({ nanoUsd, tokens });
  expect(warns(both, at(0, 0), at(799, 79))).toBe(false);
  expect(warns(both, at(799, 0), at(800, 0))).toBe(true);
  expect(warns(both, at(0, 79), at(0, 80))).toBe(true);
  expect(warns(both, at(800, 0), at(900, 90))).toBe(false);
  expect(warns({ nanoUsd: null, tokens: null }, at(0, 0), at(9_999, 9_999))).toBe(false);
});

test("a budget is within another one when it allows no more of anything", () => {
  const budget = (nanoUsd: number | null, tokens: number | null): Budget => ({ nanoUsd, tokens });
  expect(isWithin(budget(5, null), budget(5, null))).toBe(true);
  expect(isWithin(budget(5, 10), budget(6, null))).toBe(true);
  expect(isWithin(budget(7, 10), budget(6, null))).toBe(false);
  expect(isWithin(budget(null, 10), budget(6, 10))).toBe(false);
  expect(isWithin(budget(5, null), budget(5, 10))).toBe(false);
});

test("as people give it", () => {
  expect([undefined, {}, { usd: 0.1 }, { tokens: 5 }, { usd: 2.5, tokens: 5 }].map(budgetOf)).toEqual([
    null,
    null,
    { nanoUsd: 100_000_000, tokens: null },
    { nanoUsd: null, tokens: 5 },
    { nanoUsd: 2_500_000_000, tokens: 5 },
  ]);
});

test("in words", () => {
  expect(budgetWords({ nanoUsd: 2_500_000_000, tokens: null })).toBe("$2.50");
  expect(budgetWords({ nanoUsd: null, tokens: 100_000 })).toBe("100,000 tokens");
  expect(budgetWords({ nanoUsd: 2_500_000_000, tokens: 5 })).toBe("$2.50 and 5 tokens");
});
