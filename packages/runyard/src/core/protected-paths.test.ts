import type { ProtectedPath } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { protectedFiles, protectedTitle } from "./protected-paths.ts";

const touched = (files: readonly string[], settings: readonly ProtectedPath[] = []): string[] =>
  protectedFiles(files, settings).map(({ path, policy }) => `${policy} ${path}`);

describe("what is always protected", () => {
  test.each([
    ".github/workflows/ci.yml",
    ".github/workflows/deep/er.yml",
    ".github/workflows",
    ".GitHub/Workflows/CI.yml",
    "CODEOWNERS",
    ".github/CODEOWNERS",
    "docs/CODEOWNERS",
    "docs/codeowners",
    // In the place of a folder it leads all below it elsewhere.
    ".github",
    "docs",
  ])("%s waits for a person", (file) => expect(touched([file])).toEqual([`approve ${file}`]));

  test.each([
    "src/a.ts",
    "package-lock.json",
    "src/CODEOWNERS",
    "docs/README.md",
    ".github/dependabot.yml",
    "x.github/workflows/ci.yml",
    "x/.github/workflows/ci.yml",
    ".githu",
  ])("%s does not", (file) => expect(touched([file])).toEqual([]));
});

describe("settings", () => {
  const lock: ProtectedPath = { pattern: "**/package-lock.json", policy: "approve" };

  test("say more, of files anywhere or in one place, and the order of the files stays", () => {
    expect(touched(["z", "a/package-lock.json", "package-lock.json", "CODEOWNERS"], [lock])).toEqual([
      "approve a/package-lock.json",
      "approve package-lock.json",
      "approve CODEOWNERS",
    ]);
    expect(protectedFiles(["package-lock.json"], [lock])).toEqual([{ path: "package-lock.json", ...lock }]);
  });

  test.each<[ProtectedPath["policy"][], string[]]>([
    [["approve", "refuse"], ["refuse a"]],
    [["refuse", "approve"], ["refuse a"]],
    [["allow", "approve"], ["approve a"]],
    [["refuse", "allow"], ["refuse a"]],
    [["allow"], []],
  ])("of %j the strictest counts", (policies, expected) => {
    expect(
      touched(
        ["a"],
        policies.map((policy) => ({ pattern: "a", policy })),
      ),
    ).toEqual(expected);
  });

  test("come before what is always protected, for the files of which they speak", () => {
    const allowed: ProtectedPath = { pattern: ".github/workflows/docs.yml", policy: "allow" };
    expect(touched([".github/workflows/docs.yml", ".github/workflows/ci.yml"], [allowed])).toEqual(["approve .github/workflows/ci.yml"]);
    expect(touched(["CODEOWNERS"], [{ pattern: "**", policy: "refuse" }])).toEqual(["refuse CODEOWNERS"]);
  });

  test("a file in the place of a folder is meant only where the pattern names the folder as it is", () => {
    const settings: ProtectedPath[] = [{ pattern: "deploy/live/*.yml", policy: "refuse" }];
    expect(touched(["deploy", "deploy/live", "deploy/live/a.yml", "deploy/b.yml"], settings)).toEqual([
      "refuse deploy",
      "refuse deploy/live",
      "refuse deploy/live/a.yml",
    ]);
    expect(touched(["deploy", "a"], [{ pattern: "*/live/x", policy: "refuse" }])).toEqual([]);
  });
});

test("the title names some of the files", () => {
  const files = ["a", "b", "c", "d", "e"].map((path) => ({ path }));
  expect(protectedTitle(files.slice(0, 1))).toBe("It touches a protected file: a");
  expect(protectedTitle(files.slice(0, 3))).toBe("It touches 3 protected files: a, b, c");
  expect(protectedTitle(files)).toBe("It touches 5 protected files: a, b, c and 2 more");
});
