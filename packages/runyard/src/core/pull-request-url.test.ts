import { expect, test } from "vitest";
import { parsePullRequestUrl } from "./pull-request-url.ts";

test.each(["", "/", "/files", "/files?w=1#diff-1", "?x", "#issuecomment-1"])(
  "what stands behind the number (%j) does not count",
  (rest) => {
    expect(parsePullRequestUrl(` https://GitHub.com/Acme/app.js/pull/12${rest}`)).toEqual({
      href: "https://GitHub.com/Acme/app.js/pull/12",
      key: "https://github.com/acme/app.js/pull/12",
      repository: "https://github.com/acme/app.js",
      number: 12,
    });
  },
);

test.each([
  "12",
  "https://github.com/acme/app",
  "https://github.com/acme/app/pull/0",
  "https://github.com/acme/app/pull/1x",
  "https://github.com/acme/app/issues/1",
  "https://github.com/app/pull/1",
  "https://user@github.com/acme/app/pull/1",
  "ftp://github.com/acme/app/pull/1",
])("%s is none", (text) => expect(parsePullRequestUrl(text)).toBeNull());
