import type { EventData } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { feedbackOf, verifyError } from "./verify.ts";

const FAILED: EventData<"verify.finished"> = {
  command: "npm test",
  kind: "test",
  round: 1,
  passed: false,
  exitCode: 1,
  cause: null,
  output: "not ok 3\n",
  truncated: false,
};
const SITUATION = { why: "The agent was told once and could not put it right.", workspace: "/runs/x/1/workspace" };

describe("what the agent is told", () => {
  test("the command, how it ended, and what it wrote", () => {
    expect(feedbackOf(FAILED)).toMatch(/\n {2}npm test\n\nIt ended with exit code 1\. It wrote:\n\nnot ok 3\n\nFind out why/);
    expect(feedbackOf({ ...FAILED, truncated: true })).toContain("The end of what it wrote:\n\nnot ok 3\n");
    expect(feedbackOf({ ...FAILED, output: " \n" })).toContain("It wrote nothing.");
  });

  test.each([
    [{ cause: "timeout", exitCode: null }, "ran longer than it may and was ended"],
    [{ cause: "output-limit", exitCode: null }, "wrote more than it may and was ended"],
    [{ cause: "out-of-memory", exitCode: 137 }, "ran out of memory and was ended"],
    [{ cause: null, exitCode: 127 }, "ended with exit code 127: a program was not found"],
    [{ cause: null, exitCode: null }, "ended with exit code unknown"],
  ] as const)("%o", (how, words) => {
    expect(feedbackOf({ ...FAILED, ...how })).toContain(`It ${words}.`);
    expect(verifyError({ ...FAILED, ...how }, SITUATION).message).toContain(`\`npm test\` ${words}.`);
  });
});

describe("the error of work that failed for good", () => {
  test("says what failed, why it stays so, where the work is, and the end of the output", () => {
    expect(verifyError(FAILED, SITUATION)).toEqual({
      type: "test-failure",
      message:
        "`npm test` ended with exit code 1. The agent was told once and could not put it right. No branch was made; what the agent left is in /runs/x/1/workspace. The end of the output:\nnot ok 3",
    });
  });

  test.each([
    ["build", null, "compilation-error"],
    ["lint", null, "compilation-error"],
    ["test", "timeout", "test-failure"],
    ["build", "out-of-memory", "out-of-memory"],
  ] as const)("a %s (%s) is a %s", (kind, cause, type) => {
    expect(verifyError({ ...FAILED, kind, cause }, SITUATION).type).toBe(type);
  });

  test("quotes at most 2,000 characters, and nothing where nothing was written", () => {
    const long = verifyError({ ...FAILED, output: `${"x".repeat(5_000)}end\n` }, SITUATION).message;
    expect(long).toMatch(/output:\n…x+end$/);
    expect(long.length).toBeLessThan(2_300);
    expect(verifyError({ ...FAILED, output: "\n" }, SITUATION).message).toMatch(/workspace\.$/);
  });
});
