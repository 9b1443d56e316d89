import { expect, test } from "vitest";
import { money, spentWords } from "./budget.ts";

test("money in words", () => {
  expect([0, 12_345.6, 2.5, 1, 0.5, 0.01, 0.0496, 0.003225, 0.000001234, 1e-9].map(money)).toEqual([
    "$0.00",
    "$12345.60",
    "$2.50",
    "$1.00",
    "$0.50",
    "$0.01",
    "$0.0496",
    "$0.0032",
    "$0.0000012",
    "$0.000000001",
  ]);
});

test("how much of a budget is spent", () => {
  const spent = { spentUsd: 1.2, spentTokens: 5_000 };
  expect(spentWords({ usd: 1.5, tokens: 6_000, ...spent })).toBe("$1.20 of $1.50, 5,000 of 6,000 tokens");
  expect(spentWords({ usd: null, tokens: 6_000, ...spent })).toBe("5,000 of 6,000 tokens");
  expect(spentWords({ usd: 1.5, tokens: null, ...spent })).toBe("$1.20 of $1.50");
});
