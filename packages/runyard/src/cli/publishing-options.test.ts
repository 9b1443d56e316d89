import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addPublishingOptions, publishingRequest, renderPublishing } from "./publishing-options.ts";

/** What a command line asks for, or what is wrong with it. */
function requestOf(...words: string[]): unknown {
  const command = addPublishingOptions(new Command("x").exitOverride().configureOutput({ writeErr: () => {} }), "runs");
  try {
    command.parse(words, { from: "user" });
  } catch (error) {
    return (error as Error).message.replace(/^.*is invalid\. /, "");
  }
  return publishingRequest(command.opts());
}

describe("what the options ask for", () => {
  test.each([
    [[], {}],
    [["--commit-author", "Jane Doe <jane@x>"], { commitAuthor: { name: "Jane Doe", email: "jane@x" } }],
    [["--no-commit-author", "--no-co-author", "--no-protect"], { commitAuthor: null, coAuthor: false, protectedPaths: [] }],
    [["--co-author"], { coAuthor: true }],
    [
      ["--protect", "a/**", "--protect", "refuse:b", "--protect", "allow:c:d"],
      {
        protectedPaths: [
          { pattern: "a/**", policy: "approve" },
          { pattern: "b", policy: "refuse" },
          { pattern: "c:d", policy: "allow" },
        ],
      },
    ],
    [["--protect", "approve:x:{a,b}"], { protectedPaths: [{ pattern: "x:{a,b}", policy: "approve" }] }],
  ])("%j", (words, expected) => expect(requestOf(...words)).toEqual(expected));

  test.each([
    [["--commit-author", "jane@x"], 'It must be a name and an address, for example "Jane Doe <jane@example.com>".'],
    [["--commit-author", "<jane@x>"], 'It must be a name and an address, for example "Jane Doe <jane@example.com>".'],
    [["--protect", "/a"], "It must begin at the top of the repository, without a slash: deploy/** or **/package-lock.json."],
    [["--protect", "refuse:"], "It must not be empty."],
    [["--protect", "a\u009b31m"], "It must be one line."],
    [["--commit-author", "A\u009b31m <a@x>"], 'It must be a name and an address, for example "Jane Doe <jane@example.com>".'],
  ])("%j is refused", (words, message) => expect(requestOf(...words)).toBe(message));
});

test("what holds is shown, and what is not there is not", () => {
  const row = (name: string, text: string): string => `${name} ${text}`;
  const none = { commitAuthor: null, coAuthor: null, protectedPaths: [] };
  expect(renderPublishing(none, row)).toEqual([]);
  const commitAuthor = { name: "A", email: "a@x" };
  const protectedPaths = [
    { pattern: "a", policy: "approve" as const },
    { pattern: "b", policy: "refuse" as const },
  ];
  expect(renderPublishing({ commitAuthor, coAuthor: true, protectedPaths }, row)).toEqual([
    "author A <a@x>, with who asked as a co-author",
    "protect a, refuse:b",
  ]);
});
