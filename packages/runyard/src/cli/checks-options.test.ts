import { Command } from "commander";
import { expect, test } from "vitest";
import { addChecksOptions, addWatchOptions, type ChecksOptions, checksRequest, watchRequest } from "./checks-options.ts";

function parsed(words: readonly string[], add = addChecksOptions): ChecksOptions {
  const command = add(new Command("x").exitOverride().configureOutput({ writeErr: () => undefined }));
  return command.parse([...words], { from: "user" }).opts();
}

test("options of a repository's checks make its settings; nothing said leaves them", () => {
  const words = ["--watch-checks", "--check-retries", "2", "--check-retries-of", "e2e=1", "--check-retries-of", "lint=0"];
  const more = ["--ignore-check", "deploy / *", "--check-prompt", "unit=Run make.", "--checks-timeout", "600"];
  expect(checksRequest(parsed([...words, ...more]))).toEqual({
    checks: {
      watch: true,
      retries: 2,
      retriesByCheck: { e2e: 1, lint: 0 },
      ignored: ["deploy / *"],
      prompts: { unit: "Run make." },
      timeout: 600_000,
    },
  });
  expect(checksRequest(parsed([]))).toEqual({});
  expect(checksRequest(parsed(["--no-watch-checks"]))).toEqual({ checks: null });
  expect(checksRequest(parsed(["--no-watch-checks", "--check-retries", "1"]))).toEqual({ checks: { watch: false, retries: 1 } });
});

test.each([
  ["--check-retries", "11", "It must be at most 10."],
  ["--check-retries", "x", "It must be a whole number."],
  ["--check-retries-of", "e2e", "It must be the name of a check"],
  ["--check-retries-of", "e2e=x", "It must be a whole number."],
  ["--check-prompt", "=x", "It must be the name of a check"],
  ["--check-prompt", "unit= ", "It must not be empty."],
  ["--ignore-check", "", "It must not be empty."],
  ["--checks-timeout", "1", "It must be a minute at least."],
])("%s %s is refused before it is sent", (option, value, why) => {
  expect(() => parsed(["--watch-checks", option, value])).toThrow(why);
});

test("what holds for checks needs to say whether they are waited for", () => {
  expect(() => checksRequest(parsed(["--ignore-check", "x"]))).toThrow("Options of checks stand beside --watch-checks");
});

test("a run says whether it waits", () => {
  const said = (...words: string[]) => watchRequest(parsed(words, addWatchOptions));
  expect([said(), said("--watch-checks"), said("--no-watch-checks")]).toEqual([{}, { watchChecks: true }, { watchChecks: false }]);
});
