import { describe, expect, it } from "vitest";
import { nameRepositories } from "./further-repositories.ts";

const FIRST = { root: "/src/app", identity: "/src/app/.git" };
const at = (root: string, name: string | null = null) => ({ name, root, identity: `${root}/.git` });

describe("the names of further repositories", () => {
  it.each([
    ["/src/lib", "lib"],
    ["/src/lib/", "lib"],
    ["/srv/git/lib.git", "lib"],
    ["/src/lib/.git", "lib"],
    ["https://git.example.com/acme/lib.git", "lib"],
    ["git@git.example.com:lib.git", "lib"],
  ])("are by default the last part of their path: of %s %s", (root, name) => {
    expect(nameRepositories(FIRST, [at(root)])).toEqual({ names: [name], problem: null });
  });

  it("are those that were asked for", () => {
    expect(nameRepositories(FIRST, [at("/src/lib", "library"), at("/other/lib")]).names).toEqual(["library", "lib"]);
  });

  it.each([
    [
      "the first repository again",
      [at("/src/app")],
      { index: 0, field: "repositoryUrl", message: "is the same repository as /src/app: a run has each repository once" },
    ],
    [
      "one twice",
      [at("/src/lib"), at("/src/lib", "other")],
      { index: 1, field: "repositoryUrl", message: "is the same repository as /src/lib: a run has each repository once" },
    ],
    [
      "one name twice",
      [at("/src/lib"), at("/other/LIB")],
      { index: 1, field: "name", message: "LIB is the name of two repositories: give one of them another name" },
    ],
    [
      "a path that gives no name",
      [at("/src/my lib")],
      { index: 0, field: "name", message: '"my lib" cannot be the name of a folder here: give the repository another name' },
    ],
    [
      "the root of everything",
      [at("/")],
      { index: 0, field: "name", message: '"" cannot be the name of a folder here: give the repository another name' },
    ],
  ] as const)("are refused for %s", (_, further, problem) => {
    expect(nameRepositories(FIRST, further).problem).toEqual(problem);
  });
});
