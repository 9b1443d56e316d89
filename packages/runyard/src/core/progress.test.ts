import { expect, test } from "vitest";
import { progressAfter, progressReported } from "./progress.ts";

const entries = (...statuses: ("pending" | "in_progress" | "completed")[]) =>
  statuses.map((status) => ({ content: "x", status, priority: "medium" as const }));

test("is unknown without a plan", () => {
  expect(progressAfter(null, [])).toBeNull();
  expect(progressAfter(40, [])).toBe(40);
});

test("is done of total", () => {
  expect(progressAfter(null, entries("pending", "in_progress"))).toBe(0);
  expect(progressAfter(null, entries("completed", "in_progress", "pending"))).toBe(33);
  expect(progressAfter(33, entries("completed", "completed"))).toBe(100);
});

test("is what the agent reports, where that is more", () => {
  expect(progressReported(null, 0)).toBe(0);
  expect(progressReported(null, 40)).toBe(40);
  expect(progressReported(50, 40)).toBe(50);
  expect(progressReported(50, 60)).toBe(60);
});

test("never goes back when a plan grows", () => {
  expect(progressAfter(50, entries("completed", "pending", "pending", "pending"))).toBe(50);
});
