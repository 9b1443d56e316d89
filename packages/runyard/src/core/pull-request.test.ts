import { expect, test } from "vitest";
import {
  bodyThatFollows,
  type FoundPullRequest,
  nextPullRequestStep,
  pullRequestBody,
  type PullRequestStory,
  pullRequestTitle,
  runMark,
  attemptMark,
} from "./pull-request.ts";

const Z = "\u200b";
const story: PullRequestStory = {
  runId: "run_1",
  turn: 1,
  attempt: 1,
  title: null,
  asked: "Fix the slug, see #12\nand tell @octocat",
  plan: null,
  summary: "Done. Fixes #12",
  agent: "builtin",
  model: null,
  changed: { filesChanged: 1, insertions: 2, deletions: 1, files: [{ path: "src/slug.js", insertions: 2, deletions: 1 }] },
  verified: [],
  costUsd: null,
  simulated: false,
  link: null,
  allowReferences: false,
};

test("the body tells what was asked, done, verified and spent, and nothing of it notifies or closes anything", () => {
  expect(pullRequestBody(story)).toBe(`<!-- runyard:begin -->
<!-- runyard:run_1 -->
<!-- runyard:run_1:attempt-1 -->

### What was asked

> Fix the slug, see #${Z}12
> and tell @${Z}octocat

### What the agent says

> Done. Fixes #${Z}12

### What changed

1 file, +2 −1

- \` src/slug.js \` +2 −1

### What was verified

Nothing: the run had no commands to verify with.

Made by run \` run_1 \`, turn 1: \` builtin \`, cost unknown. \`runyard show run_1\` tells more.
<!-- runyard:end -->`);
});

test("a later turn with a plan, commands, a price and an address says so", () => {
  const body = pullRequestBody({
    ...story,
    turn: 2,
    summary: " ",
    plan: { text: "1. Do it", version: 3, by: "Ann @acme" },
    model: "gpt-x",
    verified: [
      { run: "npm test", kind: "test", passed: true },
      { run: "true `x`", kind: null, passed: false },
    ],
    costUsd: 0.5,
    link: "https://runyard.example.com/run_1",
    changed: { filesChanged: 2, insertions: 0, deletions: 0, files: [{ path: "a\nb`.png", insertions: null, deletions: null }] },
  });
  expect(body).toContain("### What was asked in turn 2");
  expect(body).toContain(`### The plan, version 3, approved by Ann @${Z}acme\n\n> 1. Do it`);
  expect(body).not.toContain("What the agent says");
  expect(body).toContain("- ` npm test ` (test): passed\n- `` true `x` ``: failed");
  expect(body).toContain("2 files, +0 −0\n\n- `` a b`.png `` binary");
  expect(body).toContain("[run_1](https://runyard.example.com/run_1), turn 2: ` builtin ` with ` gpt-x `, $0.50.");
  expect(pullRequestBody({ ...story, plan: { text: "x", version: 1, by: null } })).toContain("approved by the run's policy");
  expect(pullRequestBody({ ...story, simulated: true })).toContain("simulated, no AI");
});

test("a body is no longer than GitHub takes, and names no more files than people read", () => {
  const file = { path: "x".repeat(100), insertions: 1, deletions: 0 };
  const changed = { ...story.changed, files: Array.from({ length: 40 }, () => file) };
  const body = pullRequestBody({ ...story, asked: "@".repeat(9_000), summary: "😀".repeat(9_000), changed });
  expect(body.length).toBeLessThan(65_536);
  expect(body).toContain("- and 10 more");
  expect(body).toContain("… (cut)");
  expect(body.endsWith("<!-- runyard:end -->")).toBe(true);
  // No half of a letter is left.
  expect(pullRequestBody({ ...story, summary: `x${"😀".repeat(4_000)}` })).not.toMatch(/\p{Surrogate}/u);
});

test("a title is what was wished for, else the first line of what was asked", () => {
  expect(pullRequestTitle({ ...story, title: "Fixes #1\u0007" })).toBe("Fixes #1");
  expect(pullRequestTitle({ ...story, asked: "\n Fixes #1 \nmore" })).toBe(`Fixes #${Z}1`);
  expect(pullRequestTitle({ ...story, asked: "Fixes #1", allowReferences: true })).toBe("Fixes #1");
  for (const asked of ["\u0007", ""]) expect(pullRequestTitle({ ...story, asked })).toBe("Result of run_1");
});

const one: FoundPullRequest = {
  id: 1,
  number: 1,
  url: "https://github.com/acme/app/pull/1",
  title: "t",
  state: "open",
  merged: false,
  draft: false,
  headBranchName: "runyard/run_1",
  baseBranchName: "main",
  createdAt: "2026-01-01T00:00:00.000Z",
  body: pullRequestBody(story),
};
const body = pullRequestBody({ ...story, turn: 2, attempt: 2 });
const wish = { runId: "run_1", attempt: 2, base: "main", body };

test("where there is none, one is made; behind one that was closed it says so", () => {
  expect(nextPullRequestStep([], wish)).toEqual({ type: "create", follows: null });
  const closed = { ...one, state: "closed" as const };
  expect(nextPullRequestStep([closed], wish)).toEqual({ type: "create", follows: closed });
  expect(nextPullRequestStep([{ ...closed, body: "by hand" }], wish)).toEqual({ type: "create", follows: null });
  expect(bodyThatFollows("b", closed)).toBe("Follows #1, which was closed.\n\nb");
  expect(bodyThatFollows("b", { ...closed, merged: true })).toBe("Follows #1, which was merged.\n\nb");
});

test("that of this attempt is kept, whatever became of it", () => {
  const ofAttempt = { ...one, number: 2, state: "closed" as const, body: `x ${attemptMark("run_1", 2)}` };
  expect(nextPullRequestStep([one, ofAttempt], wish)).toEqual({ type: "keep", pullRequest: ofAttempt });
  // Attempt 2 is not attempt 20.
  expect(nextPullRequestStep([{ ...one, body: attemptMark("run_1", 20) }], wish).type).toBe("update");
});

test("an open one goes on, and what people wrote around Runyard's part stays", () => {
  const edited = { ...one, body: `Reviewed by hand.\n${one.body}\nSee also the wiki.` };
  expect(nextPullRequestStep([edited, { ...one, number: 3, state: "closed" }], wish)).toEqual({
    type: "update",
    pullRequest: edited,
    body: `Reviewed by hand.\n${body}\nSee also the wiki.`,
  });
  const emptied = { ...one, body: `only ${runMark("run_1")}` };
  expect(nextPullRequestStep([emptied], wish)).toEqual({ type: "update", pullRequest: emptied, body: null });
  const halved = { ...one, body: one.body.replace("<!-- runyard:end -->", "") };
  expect(nextPullRequestStep([halved], wish)).toMatchObject({ type: "update", body: null });
});

test("one that somebody opened by hand is gone on with where it goes to the same branch", () => {
  const byHand = { ...one, body: "by hand" };
  expect(nextPullRequestStep([byHand], wish)).toEqual({ type: "update", pullRequest: byHand, body: null });
  expect(nextPullRequestStep([{ ...byHand, baseBranchName: "next" }], wish)).toEqual({ type: "create", follows: null });
  const ours = { ...one, baseBranchName: "next" };
  expect(nextPullRequestStep([ours], wish)).toMatchObject({ type: "update", pullRequest: ours });
});
