import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addPublishDefaultsOptions, publishDefaultsRequest, renderPublishDefaults } from "./publish-defaults-options.ts";
import { addPublishOptions, publishRequest } from "./publish-options.ts";
import { renderPublish } from "./render-publish.ts";

/** What a command line asks for, or what is wrong with it. */
function parsed(command: Command, words: readonly string[], request: (options: object) => unknown): unknown {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  try {
    command.parse(words, { from: "user" });
  } catch (error) {
    return (error as Error).message.replace(/^.*is invalid\. /, "");
  }
  return request(command.opts());
}
const ofRepository = (...words: string[]): unknown =>
  parsed(addPublishDefaultsOptions(new Command("x"), "its runs", "as the organization has it"), words, publishDefaultsRequest);
const ofRun = (...words: string[]): unknown => parsed(addPublishOptions(new Command("x")), words, publishRequest);

describe("what the options ask for", () => {
  test.each([
    [[], {}],
    [["--publish", "none"], { publish: "none" }],
    [["--publish-default", "--pull-request-default"], { publish: null, pullRequest: null }],
    [["--draft", "--label", "a", "--label", "b"], { pullRequest: { draft: true, labels: ["a", "b"] } }],
    [["--no-draft", "--no-label", "--no-reviewer"], { pullRequest: { draft: false, labels: [], reviewers: [] } }],
    [["--no-label", "--label", "a"], { pullRequest: { labels: ["a"] } }],
  ])("%j", (words, expected) => expect(ofRepository(...words)).toEqual(expected));

  test.each([
    [["--publish", "all"], "Allowed choices are none, branch, pull_request."],
    [["--reviewer", "a b"], "It must be a user's name, or organization/team."],
    [["--publish-default", "--publish", "none"], "error: option '--publish-default' cannot be used with option '--publish <what>'"],
    [["--draft", "--pull-request-default"], "error: option '--pull-request-default' cannot be used with option '--draft'"],
  ])("%j is refused", (words, message) => expect(ofRepository(...words)).toBe(message));

  test("a run can say that it wants none of what holds for others", () => {
    expect(ofRun("--no-draft", "--no-label", "--reviewer", "ann")).toEqual({
      pullRequest: { draft: false, labels: [], reviewers: ["ann"] },
    });
    expect(ofRun()).toEqual({});
  });
});

const row = (name: string, text: string): string => `${name} ${text}`;

test("what holds is shown, and what is not there is not", () => {
  expect(renderPublishDefaults({}, row)).toEqual([]);
  expect(renderPublishDefaults({ publish: null, pullRequest: null }, row)).toEqual([]);
  expect(
    renderPublishDefaults({ publish: "branch", pullRequest: { draft: false, labels: [], reviewers: ["ann", "acme/web"] } }, row),
  ).toEqual(["publish branch, unless runs say otherwise", "pull no draft; no labels; reviewers ann, acme/web"]);
  expect(renderPublishDefaults({ publish: null, pullRequest: { draft: true, labels: ["a"] } }, row)).toEqual(["pull draft; labels a"]);
});

test("a run tells what others said of its result", () => {
  expect(renderPublish({}, row)).toEqual([]);
  expect(renderPublish({ publish: "branch", publishFrom: { publish: "run" }, pullRequest: null }, row)).toEqual([]);
  expect(
    renderPublish(
      {
        publish: "pull_request",
        publishFrom: { publish: "organization", draft: "repository", labels: "run", reviewers: "repository" },
        pullRequest: { draft: true, labels: ["a"], reviewers: [] },
      },
      row,
    ),
  ).toEqual(["publish pull_request (organization), draft (repository), labels a (run), no reviewers (repository)"]);
});
