import { expect, test } from "vitest";
import { approvalTitle, lowestLimit, needsApproval } from "./approval.ts";
import { estimateByTask } from "./estimate.ts";

const usd = (cost: number) => estimateByTask(cost * 1_000_000_000);
const unknown = estimateByTask(null);

test("of the limits that are set the lowest counts; nothing is a limit", () => {
  expect(lowestLimit([5, null, 2, undefined, 3])).toBe(2);
  expect(lowestLimit([null, 0])).toBe(0);
  expect(lowestLimit([null, undefined])).toBeNull();
  expect(lowestLimit([])).toBeNull();
});

test("what is estimated above the limit waits, and what nobody can estimate; what costs nothing never does", () => {
  expect(needsApproval(usd(5.01), 5)).toBe(true);
  expect(needsApproval(usd(5), 5)).toBe(false);
  expect(needsApproval(unknown, 5)).toBe(true);
  expect(needsApproval(usd(0), 0)).toBe(false);
  expect(needsApproval(usd(0.01), 0)).toBe(true);
});

test("a person reads why", () => {
  expect(approvalTitle({ estimate: usd(8.1), aboveUsd: 5 })).toBe("It may cost about $8.10, and above $5.00 a person decides");
  expect(approvalTitle({ estimate: unknown, aboveUsd: 0 })).toBe("Nobody knows what it costs, and above $0.00 a person decides");
});
