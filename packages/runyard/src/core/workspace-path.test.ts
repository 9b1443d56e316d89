import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesPath, placeInWorkspace } from "./workspace-path.ts";

describe("a path's place", () => {
  it.each([
    ["/workspace/src/a.ts", "src/a.ts"],
    ["src/a.ts", "src/a.ts"],
    ["./src//a.ts", "src/a.ts"],
    ["/workspace", "."],
    ["/workspace/", "."],
    ["", "."],
    ["/workspace/src/../../etc/passwd", "/etc/passwd"],
    ["../x", "/x"],
    ["../workspace/x", "x"],
    ["../../../../etc", "/etc"],
    ["/workspace2/x", "/workspace2/x"],
    ["/", "/"],
  ])("of %j is %j", (path, place) => {
    expect(placeInWorkspace(path, "/workspace")).toBe(place);
  });

  it.each([
    ["/repositories/lib/src/a.ts", "../repositories/lib/src/a.ts"],
    ["../repositories/lib", "../repositories/lib"],
    ["/repositories/lib/../../workspace/x", "x"],
    ["/repositories/library/x", "/repositories/library/x"],
    ["/repositories", "/repositories"],
    ["/workspace/x", "x"],
  ])("of %j beside further folders is %j", (path, place) => {
    expect(placeInWorkspace(path, "/workspace", ["/repositories/lib", "/repositories/api"])).toBe(place);
  });

  it("in a further folder is told from where both lie", () => {
    expect(placeInWorkspace("/home/runs/1/repositories/lib/a", "/home/runs/1/workspace", ["/home/runs/1/repositories/lib"])).toBe(
      "../repositories/lib/a",
    );
  });

  it("is the whole machine for a workspace at its root", () => {
    expect(placeInWorkspace("/etc/passwd", "/")).toBe("etc/passwd");
  });

  it("is never outside by another name for the inside, and holds no way up", () => {
    const name = fc.constantFrom("a", "b", "..", ".", "", "w");
    fc.assert(
      fc.property(fc.array(name), fc.boolean(), (names, isAbsolute) => {
        const place = placeInWorkspace(`${isAbsolute ? "/w/" : ""}${names.join("/")}`, "/w");
        expect(place.split("/")).not.toContain("..");
        expect(place).not.toMatch(/^\/w(\/|$)/);
        expect(placeInWorkspace(place, "/w")).toBe(place);
      }),
    );
  });
});

describe("a pattern", () => {
  it.each([
    ["src/**", "src/a.ts", true],
    ["**", "/etc/passwd", false],
    ["/**", "/etc/passwd", true],
    ["/**", "src/a.ts", false],
    ["/etc/*", "/etc/passwd", true],
    ["**", "../repositories/lib/a.ts", true],
    ["../repositories/lib/**", "../repositories/lib/src/a.ts", true],
    ["src/**", "../repositories/lib/src/a.ts", false],
    ["/**", "../repositories/lib/a.ts", false],
  ])("%s for %s: %s", (pattern, path, expected) => {
    expect(matchesPath(pattern, path)).toBe(expected);
  });
});
