import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addReviewOptions, type ReviewOptions, reviewedRepository, reviewRequest } from "./review-options.ts";

const URL_ = "https://github.com/acme/app/pull/7";
function parsed(...words: string[]): ReviewOptions {
  const command = addReviewOptions(new Command("x").exitOverride().configureOutput({ writeErr: () => {} }));
  command.parse(words, { from: "user" });
  return command.opts();
}

describe("what the options ask for", () => {
  test.each([
    [[], {}],
    [["--review", "7"], { review: { pullRequest: 7 } }],
    [["--review", URL_, "--review-event", "approve"], { review: { pullRequest: URL_, event: "approve" } }],
  ])("%j", (words, expected) => expect(reviewRequest(parsed(...words))).toEqual(expected));

  test.each([["0"], ["x"], ["-1"], ["https://github.com/acme/app"], ["acme/app/pull/7"]])("--review %s is refused", (word) =>
    expect(() => parsed("--review", word)).toThrow("It must be the number of a pull request, or the address of its page."),
  );

  test("an event takes a review, and is one that there is", () => {
    expect(() => reviewRequest(parsed("--review-event", "comment"))).toThrow("--review-event belongs to --review.");
    expect(() => parsed("--review-event", "merge")).toThrow("Allowed choices are comment, approve, request_changes.");
  });
});

test("the address of a pull request names its repository", () => {
  expect(reviewedRepository({ review: `${URL_}/files#x` })).toBe("https://github.com/acme/app");
  expect(reviewedRepository({ review: 7 })).toBeUndefined();
});
