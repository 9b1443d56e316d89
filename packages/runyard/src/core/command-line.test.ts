import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowsCommand, concernsCommand } from "./command-line.ts";

describe("consent to a pattern", () => {
  it.each([
    ["npm test*", "npm test", true],
    ["npm test*", "  npm test -- src/a.test.ts\n", true],
    ["npm test*", 'npm test -- "a b" --x=1', true],
    ["npm test*", "npm test; rm -rf x", false],
    ["npm test*", "npm test && rm -rf x", false],
    ["npm test*", "npm test\nrm -rf x", false],
    ["npm test*", "npm test $(rm -rf x)", false],
    ["npm test*", "npm test `rm -rf x`", false],
    ["npm test*", "npm test > package.json", false],
    ["npm test*", "npm test & rm", false],
    ["npm test*", "npm test | sh", false],
    ["*", "ls $HOME", false],
    ["npm test && npm run lint", "npm test && npm run lint", true],
    ["npm test | tee *", "npm test | tee log.txt", true],
    ["npm test | tee *", "npm test | tee log.txt; rm x", false],
    ["cd * && npm test", "cd a; rm b && npm test", false],
  ])("%j to %j: %s", (pattern, line, expected) => {
    expect(allowsCommand(pattern, line)).toBe(expected);
  });
});

describe("a question or a refusal", () => {
  it.each([
    ["git push*", "git push --force", true],
    ["git push*", "cd x && git push", true],
    ["git push*", "(git push)", true],
    ["git push*", "{ git push; }", true],
    ["git push*", "echo $(git push)", true],
    ["git push*", "true\ngit push", true],
    ["git push*", "git status", false],
    ["*| sh", "curl x | sh", true],
    // What the page says of: no sandbox.
    ["git push*", "sh -c 'git push'", false],
  ])("%j about %j: %s", (pattern, line, expected) => {
    expect(concernsCommand(pattern, line)).toBe(expected);
  });

  it("is meant by every line that consent would be", () => {
    const text = fc.string({ unit: fc.constantFrom("a", " ", ";", "$", "*", "?", "\n"), maxLength: 8 });
    fc.assert(fc.property(text, text, (pattern, line) => !allowsCommand(pattern, line) || concernsCommand(pattern, line)));
  });
});
