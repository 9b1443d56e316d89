import type { Run } from "@runyard/sdk/contract";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addAttemptOptions, attemptRequest } from "./attempt-options.ts";
import { addRunDefaultsOptions, renderGivenFrom, renderRunDefaults, runDefaultsRequest } from "./run-defaults-options.ts";

/** What a command line asks for, or what is wrong with it. */
function parsed(command: Command, words: readonly string[], request: (options: object) => unknown): unknown {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  try {
    return request(command.parse(words, { from: "user" }).opts());
  } catch (error) {
    return (error as Error).message.replace(/^.*is invalid\. /, "");
  }
}
const ofRepository = (...words: string[]): unknown => parsed(addRunDefaultsOptions(new Command("x")), words, runDefaultsRequest);
const ofRun = (...words: string[]): unknown => parsed(addAttemptOptions(new Command("x")), words, attemptRequest);

describe("what the options ask for", () => {
  test.each([
    [[], {}],
    [["--branch", "next", "--agent", "careful"], { branch: "next", agent: "careful" }],
    [["--agent", "agent_01k6m1y7e8q3v5w9x2z4a6b8c0"], { agent: "agent_01k6m1y7e8q3v5w9x2z4a6b8c0" }],
    [["--no-branch", "--no-agent", "--no-verify"], { branch: null, agent: null, verify: [] }],
    [["--no-branch", "--branch", "next"], { branch: "next" }],
    [["--no-verify", "--verify", "npm test"], { verify: [{ run: "npm test", kind: "test" }] }],
    [
      ["--verify", "npm test", "--verify-build", "make", "--verify", "make check"],
      {
        verify: [
          { run: "make", kind: "build" },
          { run: "npm test", kind: "test" },
          { run: "make check", kind: "test" },
        ],
      },
    ],
  ])("%j", (words, expected) => expect(ofRepository(...words)).toEqual(expected));

  test.each([
    [["--agent", "No Name"], "It must be the name of a profile or of a saved agent, or the id of a saved one."],
    [["--verify", " "], "It names no command."],
    [["--no-verify", "--verify-build", "make"], "--no-verify stands beside a command that verifies."],
  ])("%j is refused", (words, message) => expect(ofRepository(...words)).toBe(message));

  test("a run can say that nothing is verified", () => {
    expect(ofRun("--no-verify")).toEqual({ settings: {}, verify: [] });
    expect(ofRun("--no-verify", "--verify-lint", "make")).toBe("--no-verify stands beside a command that verifies.");
  });
});

const row = (name: string, text: string): string => `${name} ${text}`;
const VERIFY = [{ run: "npm test", kind: "test" as const, timeout: 1_000 }];

test("what holds is shown, and what is not there is not", () => {
  expect(renderRunDefaults({}, row)).toEqual([]);
  expect(renderRunDefaults({ branch: null, agent: null, verify: null }, row)).toEqual([]);
  expect(renderRunDefaults({ branch: "next", agent: "careful", verify: VERIFY }, row)).toEqual([
    "branch next, unless runs name one",
    "agent careful, unless runs name one",
    "verify npm test (test), unless runs say otherwise",
  ]);
});

test("a run tells what its repository gave", () => {
  const run = { branch: "next", agent: { name: null, profile: "codex", command: null }, verify: VERIFY } satisfies Partial<Run>;
  const all = { branch: "repository", verify: "repository", agent: "repository" } as const;
  expect(renderGivenFrom(run, row)).toEqual([]);
  expect(renderGivenFrom({ ...run, givenFrom: { branch: "run", agent: "run" } }, row)).toEqual([]);
  expect(renderGivenFrom({ ...run, givenFrom: all }, row)).toEqual([
    "given branch next (repository), agent codex (repository), verify npm test (test) (repository)",
  ]);
  const saved = { name: "careful", profile: "builtin", command: null };
  expect(renderGivenFrom({ ...run, agent: saved, givenFrom: { agent: "repository" } }, row)).toEqual(["given agent careful (repository)"]);
});
