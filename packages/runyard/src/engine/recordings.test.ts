import { expect, test } from "vitest";
import { notHere, recordedElsewhere } from "./recordings.ts";

test.each([
  ["nobody, before anybody had it in hand", { runner_id: null, usage_cursors: {} }, "a", []],
  ["nobody else", { runner_id: "a", usage_cursors: {} }, "a", []],
  ["its runner", { runner_id: "b", usage_cursors: {} }, "a", ["b"]],
  ["its runner, for a server that executes nothing", { runner_id: "a", usage_cursors: {} }, null, ["a"]],
  ["those before, where it asked something", { runner_id: "a", usage_cursors: { b: 120, c: 0 } }, "a", ["b"]],
  ["each of them once", { runner_id: "b", usage_cursors: { a: 10, b: 120 } }, "a", ["b"]],
])("what a run asked is also with: %s", (_, run, own, runners) => {
  expect(recordedElsewhere(run, own)).toEqual(runners);
});

test("all of them are named", () => {
  expect(notHere("run_x", ["a", "b"])).toMatchObject({ code: "recording_not_here", message: expect.stringContaining("a and b") as string });
});
