import path from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addRepositoryOptions, parsePlace, repositoryRequest } from "./repository-options.ts";

describe("the place of a further repository", () => {
  it.each([
    ["/src/lib", { repositoryUrl: "/src/lib" }],
    ["lib", { repositoryUrl: path.resolve("lib") }],
    ["../lib#next", { repositoryUrl: path.resolve("../lib"), branch: "next" }],
    ["core=/src/lib#feature/a", { repositoryUrl: "/src/lib", name: "core", branch: "feature/a" }],
    ["./a=b", { repositoryUrl: path.resolve("a=b") }],
    ["/src/a=b", { repositoryUrl: "/src/a=b" }],
    ["/src/c#-lib#", { repositoryUrl: "/src/c#-lib" }],
    ["file:///src/lib#next", { repositoryUrl: "file:///src/lib", branch: "next" }],
  ])("in %s", (word, place) => {
    expect(parsePlace(word)).toEqual(place);
  });

  it.each(["", "#next", "name=", "=/src/lib", "my lib=/src/lib"])("is refused in %j", (word) => {
    expect(() => parsePlace(word)).toThrow(/must name the folder|cannot be a name/);
  });
});

describe("the options", () => {
  const parse = (...words: string[]) =>
    repositoryRequest(addRepositoryOptions(new Command()).exitOverride().parse(words, { from: "user" }).opts());

  it("make a list of both kinds", () => {
    expect(parse("--read-repo", "/docs", "--add-repo", "/lib#next", "--add-repo", "/api")).toEqual({
      repositories: [{ repositoryUrl: "/lib", branch: "next" }, { repositoryUrl: "/api" }, { repositoryUrl: "/docs", access: "read" }],
    });
  });

  it("make nothing of nothing", () => {
    expect(parse()).toEqual({});
  });
});
