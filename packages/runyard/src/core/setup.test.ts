import type { EventData } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { setupError } from "./setup.ts";

const FAILED: EventData<"setup.finished"> = {
  command: "npm ci",
  index: 1,
  passed: false,
  exitCode: 1,
  cause: null,
  durationMs: 12,
  output: "npm error\n",
  truncated: false,
};

test("the error of set-up says which command failed, how, and its last lines", () => {
  expect(setupError(FAILED, 3)).toEqual({
    type: "setup-failed",
    message:
      "The set-up failed: `npm ci` (command 2 of 3) ended with exit code 1. The agent was not started. The end of the output:\nnpm error",
  });
  expect(setupError({ ...FAILED, index: 0, output: " \n", cause: "timeout", exitCode: null }, 1)).toEqual({
    type: "setup-failed",
    message: "The set-up failed: `npm ci` ran longer than it may and was ended. The agent was not started.",
  });
  expect(setupError({ ...FAILED, cause: "out-of-memory" }, 3).type).toBe("out-of-memory");
});
