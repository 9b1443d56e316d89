import { expect, test } from "vitest";
import { giveDefaults } from "./run-defaults.ts";

const TEST = { run: "npm test", kind: "test", timeout: 1_000 } as const;
const BUILD = { run: "make", kind: "build", timeout: 2_000 } as const;
const NOTHING = { branch: null, verify: null, agent: null };
const ALL = { branch: "next", verify: [TEST], agent: "careful" };

test("nobody says anything, and nothing is given", () => {
  expect(giveDefaults({}, NOTHING)).toEqual({ branch: null, agent: null, verify: [], from: {} });
  // Whose login is used names no agent.
  expect(giveDefaults({ agent: {} }, NOTHING).from).toEqual({});
});

test("the repository's word is for what the run does not say", () => {
  expect(giveDefaults({ agent: {} }, ALL)).toEqual({
    branch: "next",
    agent: "careful",
    verify: [TEST],
    from: { branch: "repository", verify: "repository", agent: "repository" },
  });
});

test("the run's word comes first, and no commands are a word too", () => {
  const own = { branch: "main", verify: [BUILD], agent: { name: "other" } };
  const said = { branch: "run", verify: "run", agent: "run" };
  for (const repository of [ALL, NOTHING])
    expect(giveDefaults(own, repository)).toEqual({ branch: null, agent: null, verify: [BUILD], from: said });
  expect(giveDefaults({ verify: [] }, ALL)).toMatchObject({ verify: [], from: { verify: "run" } });
  expect(giveDefaults({ agent: { profile: "codex" } }, ALL)).toMatchObject({ agent: null, from: { agent: "run" } });
  expect(giveDefaults({ agent: { command: ["node"] } }, ALL)).toMatchObject({ agent: null, from: { agent: "run" } });
});

test("a review is given nothing by default", () => {
  expect(giveDefaults({ review: {} }, ALL)).toEqual({ branch: null, agent: null, verify: [], from: {} });
});
