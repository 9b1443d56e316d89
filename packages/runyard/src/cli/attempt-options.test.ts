import { createRunSchema } from "@runyard/sdk/contract";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addAttemptOptions, type AttemptOptions, attemptRequest } from "./attempt-options.ts";

function requestOf(...words: string[]): ReturnType<typeof attemptRequest> {
  const command = addAttemptOptions(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return attemptRequest(command.parse(words, { from: "user" }).opts<AttemptOptions>());
}

describe("the options of attempts", () => {
  test("make the request, in the words of the contract", () => {
    const words = `--sandbox-type high-cpu --retries 3 --retry-on timeout,lost --recover timeout,out-of-memory --verify-retries 0`;
    const commands = ["--verify", "npm test", "--verify-lint", "npm run lint", "--verify-build", "make", "--verify", "make check"];
    const request = requestOf(...words.split(" "), ...commands);
    expect(request).toEqual({
      settings: {
        sandboxType: "high-cpu",
        maxRetries: 3,
        retryableErrors: ["timeout", "lost"],
        recovery: { timeout: "double", outOfMemory: "high-memory" },
      },
      verify: [
        { run: "make", kind: "build" },
        { run: "npm run lint", kind: "lint" },
        { run: "npm test", kind: "test" },
        { run: "make check", kind: "test" },
      ],
      verifyRetries: 0,
    });
    expect(createRunSchema.safeParse({ task: "x", repositoryUrl: "/x", ...request }).success).toBe(true);
  });

  test("that are not given ask for nothing", () => {
    expect(requestOf()).toEqual({ settings: {} });
    expect(requestOf("--recover", "timeout").settings).toEqual({ recovery: { timeout: "double" } });
  });

  test.each([
    [["--retries", "11"], /from 0 to 10/],
    [["--retries", "1.5"], /from 0 to 10/],
    [["--retries", "-1"], /from 0 to 10/],
    [["--retries", "1", "--retry-on", "hope"], /"hope" is no type of error\. Known: network-error/],
    [["--recover", "lost"], /is no recovery/],
    [["--verify", "  "], /names no command/],
    [["--verify-retries", "6"], /from 0 to 5/],
    [["--sandbox-type", "huge"], /standard, high-memory, high-cpu, gpu/],
    [["--machine-type", "small", "--sandbox-type", "standard"], /cannot be used with/],
    [["--retry-on", "lost"], /tries nothing again/],
  ])("%o is refused", (words, message) => {
    expect(() => requestOf(...words)).toThrow(message);
  });
});
