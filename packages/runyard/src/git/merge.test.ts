import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type PlainDriverName, sandboxDriver } from "../sandbox/drivers.ts";
import { updateCache } from "./cache.ts";
import { readCommitResult } from "./commit-result.ts";
import { inspectRepository } from "./local-repository.ts";
import { mergeArgv, readConflicts } from "./merge-script.ts";
import { isTakenBack, mergeWithFilesOf, relationOf, unresolvedFiles } from "./merge.ts";
import { ontoRef } from "./names.ts";
import { importResult } from "./publish.ts";
import { DRIVERS, type GitLab, openGitLab, plainGit, plainGitMayFail, plainShell, type TestRun, writeFiles } from "./testing/lab.ts";
import { PLANTED_FILES, type Plant, PLANTS, REDIRECTS } from "./testing/plants.ts";

vi.setConfig({ testTimeout: 240_000 });

/** Each of these takes seconds: the usual tests have little time. */
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);

let lab: GitLab;
let markersDir: string;
beforeAll(async () => {
  lab = await openGitLab();
  markersDir = path.join(lab.root, "markers"); // nothing of a sandbox reaches here
  mkdirSync(markersDir);
});
afterAll(() => lab.close());

function program(marker: string): string {
  return `touch ${path.join(markersDir, marker)}`;
}

function takeMarkers(): string[] {
  const found = readdirSync(markersDir).toSorted();
  for (const name of found) rmSync(path.join(markersDir, name));
  return found;
}

type Files = Readonly<Record<string, string | Uint8Array | null>>;

/** A commit on the base branch of a repository, which the cache has then. */
async function moveBase(run: TestRun, files: Files): Promise<string> {
  const { root } = run.repository;
  writeFiles(root, files);
  plainGit(root, "add", "--all");
  plainGit(root, "commit", "--quiet", "--message", "On the base");
  const repository = await inspectRepository(lab.host, root);
  await updateCache(lab.host, { cacheDir: lab.cacheDir, repository, commit: repository.commit, runId: run.runId, ref: ontoRef(run.runId) });
  return repository.commit;
}

interface Merged {
  /** What the workspace was at. */
  readonly ours: string;
  readonly theirs: string;
  readonly merged: string;
  readonly files: string[];
}

/** Commits what is in a workspace, and merges the base into it, as the runner does. */
async function merge(run: TestRun, theirs: string): Promise<Merged> {
  const { cachePath, base, runId, branch, workspace } = run;
  const left = await importResult(lab.host, { cachePath, resultsDir: await lab.commit(run), base, runId });
  const ours = left.head ?? base;
  return mergeAt(run, { ours, theirs });

  async function mergeAt(of: TestRun, sides: Pick<Merged, "ours" | "theirs">): Promise<Merged> {
    const resultsDir = lab.newPath("merge");
    mkdirSync(resultsDir);
    const inside = sandboxDriver(of.driver).pathsInside({ workspace, home: workspace }).workspace;
    const onto = { branch: "main", commit: sides.theirs };
    const message = `Merge branch 'main'\n\nRunyard-Run: ${runId}\n`;
    const argv = mergeArgv({ cachePath, workspace: inside, resultsDir, commit: sides.ours, branch, onto, isForward: false, message });
    const said = await lab.runInside(of, argv, [{ source: resultsDir, target: resultsDir, mode: "rw" }]);
    if (said.code !== 0) throw new Error(said.stderr);
    const { head } = await importResult(lab.host, { cachePath, resultsDir, base: sides.ours, onto: sides.theirs, runId });
    expect((await readCommitResult(resultsDir)).head).toBe(head);
    return { ...sides, merged: head ?? "", files: readConflicts(said.stdout) };
  }
}

describe.each(DRIVERS)("a workspace that its agent prepared for the merge (%s)", (driver) => {
  const alone = full ? REDIRECTS : [];
  const groups = [["many plants", PLANTS], ...alone.map((plant) => [plant.name, [plant]] as const)] as const;
  it.each(groups)("%s: nothing of it runs, where a plain merge runs it", async (_name, plants) => {
    const run = await planted(driver, plants);
    const theirs = await moveBase(run, { "a.merge": "t\n", "a.smudge": "t\n", "a.process": "t\n", "a.txt": "t\n", "base.txt": "t\n" });
    const copy = lab.newPath("copy");
    plainShell(run.workspace, 'cp -a . "$1"', copy);
    takeMarkers(); // what the planting itself has set off

    const merged = await merge(run, theirs);
    expect(takeMarkers()).toEqual([]);
    // The driver that the attributes name is none: the file conflicts as a text.
    expect(merged.files).toEqual(["a.merge", "a.process", "a.smudge", "a.txt"]);
    expect(readFileSync(path.join(run.workspace, "a.merge"), "utf8")).toBe("<<<<<<< HEAD\nc\n=======\nt\n>>>>>>> origin/main\n");
    expect(readFileSync(path.join(run.workspace, "base.txt"), "utf8")).toBe("t\n");

    // The control: in the same tree a plain merge, or another careless command, runs every one of them.
    plainGitMayFail(copy, "fetch", "--quiet", run.repository.root, "main");
    if (plants.length > 1) {
      const settings = ["filter.process.process=", "commit.gpgSign=false"].flatMap((setting) => ["-c", setting]);
      plainGitMayFail(copy, ...settings, "commit", "--quiet", "--all", "--message", "mine");
      plainGitMayFail(copy, ...settings, "fetch", "--quiet", run.repository.root, "main");
      plainGitMayFail(copy, ...settings, "merge", theirs);
      expect(takeMarkers()).toEqual(
        expect.arrayContaining(["clean", "fsmonitor", "hook-post-index-change", "hook-pre-commit", "merge", "smudge"]),
      );
    } else {
      for (const plant of plants) plant.careless(copy);
      expect(takeMarkers()).toEqual(expect.arrayContaining([...(plants[0]?.markers ?? [plants[0]?.name ?? ""])]));
    }
  });

  it.runIf(full)("a repository in the place of a submodule is not asked for anything, where plain git asks it", async () => {
    const repository = lab.newRepository({ "a.txt": "a\n" });
    const other = lab.newRepository({ "s.txt": "s\n" });
    plainGit(repository, "update-index", "--add", "--cacheinfo", `160000,${plainGit(other, "rev-parse", "HEAD").trim()},sub`);
    plainGit(repository, "commit", "--quiet", "--message", "With a submodule");
    const run = await lab.prepare(repository, { driver });
    plainGit(lab.root, "clone", "--quiet", other, path.join(run.workspace, "sub"));
    plainGit(path.join(run.workspace, "sub"), "config", "core.fsmonitor", `${program("sub")}; false`);
    writeFiles(run.workspace, { "b.txt": "b\n" });
    plainGit(repository, "commit", "--quiet", "--allow-empty", "--message", "Nothing");
    const moved = plainGit(
      repository,
      "commit-tree",
      plainShell(repository, treeWith("1".repeat(40))).trim(),
      "-p",
      "HEAD",
      "-m",
      "Moved",
    ).trim();
    plainGit(repository, "update-ref", "refs/heads/main", moved);
    const found = await inspectRepository(lab.host, repository);
    await updateCache(lab.host, { cacheDir: lab.cacheDir, repository: found, commit: moved, runId: run.runId, ref: ontoRef(run.runId) });
    takeMarkers();
    const merged = await merge(run, moved);
    expect([takeMarkers(), merged.files]).toEqual([[], []]);
    // What the base says of the submodule is what the merge says.
    expect(plainGit(run.cachePath, "ls-tree", merged.merged, "sub")).toBe(`160000 commit ${"1".repeat(40)}\tsub\n`);
    plainGitMayFail(run.workspace, "status");
    expect(takeMarkers()).toEqual(["sub"]);
  });

  /** A script that makes the tree of what is staged, with another commit as submodule. */
  function treeWith(commit: string): string {
    return `export GIT_INDEX_FILE=$PWD/.git/other-index; cp .git/index "$GIT_INDEX_FILE"; git update-index --cacheinfo 160000,${commit},sub; git write-tree`;
  }

  async function planted(of: PlainDriverName, plants: readonly Plant[]): Promise<TestRun> {
    const run = await lab.prepare(lab.newRepository(PLANTED_FILES), { driver: of });
    writeFiles(run.workspace, { "a.merge": "c\n", "a.smudge": "c\n", "a.process": "c\n", "a.txt": "c\n", "new.clean": "new\n" });
    for (const plant of plants) plant.plant(run.workspace, program);
    return run;
  }
});

describe.runIf(full)("what came of a merge with conflicts", () => {
  /** The answer to a result with these files in place of what the merge left. */
  async function judged(
    sides: { readonly base: Files; readonly ours: Files; readonly theirs: Files },
    result: Files,
    unmerged: readonly string[] = [],
  ): Promise<{ unresolved: string[]; isTakenBack: boolean; files: string[]; run: TestRun; head: string; merged: Merged }> {
    const { place, commit } = await conflicted(sides);
    writeFiles(place.run.workspace, result);
    const head = await commit();
    const { merged, run } = place;
    const look = { cachePath: run.cachePath, ...merged, head, unmerged };
    return {
      unresolved: await unresolvedFiles(lab.host, look),
      isTakenBack: await isTakenBack(lab.host, look),
      files: merged.files,
      head,
      ...place,
    };
  }

  async function conflicted(sides: {
    readonly base: Files;
    readonly ours: Files;
    readonly theirs: Files;
  }): Promise<{ place: { run: TestRun; merged: Merged }; commit: () => Promise<string> }> {
    const run = await lab.prepare(lab.newRepository(sides.base as Record<string, string>), { driver: "process" });
    writeFiles(run.workspace, sides.ours);
    const merged = await merge(run, await moveBase(run, sides.theirs));
    const commit = async (): Promise<string> => {
      const resultsDir = lab.newPath("results");
      mkdirSync(resultsDir);
      const again = { ...run, base: merged.merged, resultsDir };
      const made = await importResult(lab.host, {
        cachePath: run.cachePath,
        resultsDir: await lab.commit(again),
        base: merged.merged,
        runId: run.runId,
      });
      return made.head ?? merged.merged;
    };
    return { place: { run, merged }, commit };
  }

  const TEXT = {
    base: { "a.txt": "a\n", "b.txt": "b\n" },
    ours: { "a.txt": "ours\n" },
    theirs: { "a.txt": "theirs\n", "b.txt": "theirs\n" },
  };

  it.each([
    ["all of it", {}],
    ["one kind of marker", { "a.txt": "ours\n=======\ntheirs\n" }],
    ["the last line of one with other line ends", { "a.txt": "ours\r\n>>>>>>> origin/main\r\n" }],
  ])("sees markers that are left: %s", async (_what, result) => {
    expect(await judged(TEXT, result)).toMatchObject({ unresolved: ["a.txt"], isTakenBack: false, files: ["a.txt"] });
  });

  it("takes what has none as resolved, and makes one commit upon both sides of it", async () => {
    const { unresolved, isTakenBack: taken, head, run, merged } = await judged(TEXT, { "a.txt": "both\n", "new.txt": "new\n" }, ["a.txt"]);
    expect([unresolved, taken]).toEqual([[], false]);
    const sides = { cachePath: run.cachePath, ours: merged.ours, theirs: merged.theirs, head, runId: run.runId };
    const made = await mergeWithFilesOf(lab.host, sides);
    expect(await mergeWithFilesOf(lab.host, sides)).toBe(made);
    expect(plainGit(run.cachePath, "log", "-1", "--format=%P%n%s", made)).toBe(`${merged.ours} ${merged.theirs}\nDo it\n`);
    expect(plainGit(run.cachePath, "diff", "--name-only", head, made)).toBe("");
    expect(plainGit(run.cachePath, "rev-list", "--count", `${merged.theirs}..${made}`)).toBe("2\n");
  });

  it("leaves markers be that one of the sides had, whatever an attribute says of their length", async () => {
    const sides = {
      base: { "a.md": "Title\n=======\na\n", ".gitattributes": "*.md conflict-marker-size=30\n" },
      ours: { "a.md": "Title\n=======\nours\n" },
      theirs: { "a.md": "Title\n=======\ntheirs\n" },
    };
    expect(await judged(sides, { "a.md": "Title\n=======\nboth\n" })).toMatchObject({ unresolved: [], files: ["a.md"] });
    expect(await judged(sides, {})).toMatchObject({ unresolved: ["a.md"] });
  });

  it("of files that have no markers goes by what git has as unmerged, unless they were changed", async () => {
    const binary = (last: number): Uint8Array => new Uint8Array([0, 1, 2, last]);
    const sides = {
      base: { "a.bin": binary(1), "gone.txt": "a\n" },
      ours: { "a.bin": binary(2), "gone.txt": "ours\n" },
      theirs: { "a.bin": binary(3), "gone.txt": null },
    };
    expect(await judged(sides, {}, ["a.bin", "gone.txt"])).toMatchObject({
      unresolved: ["a.bin", "gone.txt"],
      files: ["a.bin", "gone.txt"],
    });
    expect(await judged(sides, { "a.bin": binary(4) }, ["a.bin"])).toMatchObject({ unresolved: [] });
    expect(await judged(sides, { "gone.txt": null }, ["a.bin", "gone.txt"])).toMatchObject({ unresolved: ["a.bin"] });
  });

  it("sees that all was taken back which the base brings", async () => {
    expect(await judged(TEXT, { "a.txt": "ours\n", "b.txt": "b\n" })).toMatchObject({ unresolved: [], isTakenBack: true });
    expect(await judged(TEXT, { "a.txt": "ours\n" })).toMatchObject({ unresolved: [], isTakenBack: false });
  });

  it.each<[what: string, base: string, ours: string, theirs: string, conflicts: string[]]>([
    ["two modes and two contents", "echo a >a; chmod +x a", "chmod -x a; echo b >a", "echo c >a", ["a"]],
    ["a link and a file of one name", ":", "ln -s x a", "echo b >a", ["a", "a~origin_main"]],
    ["a link in the place of a folder", "mkdir d; echo a >d/a", "echo b >d/a", "rm -r d; ln -s /etc d", ["d/a", "d~origin_main"]],
    ["a file in the place of a folder", "mkdir d; echo a >d/a", "echo b >d/b", "rm -r d; echo d >d", ["d~origin_main"]],
    ["one file renamed twice", "seq 20 >a", "mv a b", "mv a c", ["a", "b", "c"]],
    ["two files renamed to one", "seq 20 >a; seq 30 50 >b", "mv a c", "mv b c", ["c"]],
    ["a folder renamed, a file added to it", "mkdir d; seq 20 >d/a; seq 9 >d/b", "mv d e", "echo n >d/n", ["e/n"]],
    ["another case only", "seq 20 >Readme", "mv Readme README", "echo b >>Readme", []],
    [
      "line ends by an attribute",
      "printf 'a\\r\\n' >a",
      "printf 'b\\r\\n' >a",
      "echo '* text eol=crlf' >.gitattributes; printf 'c\\r\\n' >a",
      ["a"],
    ],
    [
      "an encoding by an attribute",
      "echo '*.u working-tree-encoding=UTF-16LE-BOM' >.gitattributes; echo a | iconv -t UTF-16 >a.u",
      "echo b | iconv -t UTF-16 >a.u",
      "echo c | iconv -t UTF-16 >a.u",
      ["a.u"],
    ],
  ])("is what plain git makes of it: %s", async (_, base, ours, theirs, conflicts) => {
    const repository = lab.newRepository({ "always.txt": "x\n" });
    const commit = (dir: string, script: string): void => {
      plainShell(dir, script);
      plainGit(dir, "add", "--all");
      plainGit(dir, "commit", "--quiet", "--allow-empty", "--message", "Odd");
    };
    commit(repository, base);
    const run = await lab.prepare(repository, { driver: "process" });
    plainShell(run.workspace, ours);
    commit(repository, theirs);
    const found = await inspectRepository(lab.host, repository);
    await updateCache(lab.host, {
      cacheDir: lab.cacheDir,
      repository: found,
      commit: found.commit,
      runId: run.runId,
      ref: ontoRef(run.runId),
    });
    const merged = await merge(run, found.commit);
    expect(merged.files).toEqual(conflicts);
    const copy = lab.newPath("plain");
    plainGit(lab.root, "clone", "--quiet", "--no-checkout", run.cachePath, copy);
    plainGit(copy, "fetch", "--quiet", "origin", "+refs/*:refs/all/*");
    plainGit(copy, "checkout", "--quiet", "--detach", merged.ours);
    plainGit(copy, "update-ref", "refs/remotes/origin/main", merged.theirs);
    plainGitMayFail(copy, "-c", "merge.conflictStyle=merge", "merge", "--no-commit", "--no-ff", "origin/main");
    plainGit(copy, "add", "--all");
    expect(plainGit(copy, "diff", "--cached", "--name-status", merged.merged)).toBe("");
    const look = { cachePath: run.cachePath, ...merged, head: merged.merged, unmerged: merged.files };
    expect(await unresolvedFiles(lab.host, look)).toEqual(conflicts);
  });

  it("sees markers in files of any length", async () => {
    const mine = "<<<<<<< HEAD\n".repeat(700_000);
    expect(await judged(TEXT, { "a.txt": mine })).toMatchObject({ unresolved: ["a.txt"] });
  });

  it("begins anew in the middle of one that was broken off, and comes to the same", async () => {
    const { place } = await conflicted(TEXT);
    const { run, merged } = place;
    writeFileSync(path.join(run.workspace, "ignored.log"), "kept\n");
    const resultsDir = lab.newPath("again");
    mkdirSync(resultsDir);
    const onto = { branch: "main", commit: merged.theirs };
    const of = {
      cachePath: run.cachePath,
      workspace: run.workspace,
      resultsDir,
      commit: merged.ours,
      branch: run.branch,
      isForward: false,
    };
    const said = await lab.runInside(run, mergeArgv({ ...of, onto, message: "Again\n" }));
    expect(said).toMatchObject({ code: 0, stdout: "conflict a.txt\n" });
    const { head } = await importResult(lab.host, {
      cachePath: run.cachePath,
      resultsDir,
      base: merged.ours,
      onto: merged.theirs,
      runId: run.runId,
    });
    expect(plainGit(run.cachePath, "diff", "--name-only", merged.merged, head ?? "")).toBe("");
    expect(readFileSync(path.join(run.workspace, "ignored.log"), "utf8")).toBe("kept\n");
  });
});

describe("how a branch stands to its base", () => {
  it("has it, is behind it, has gone another way, or has nothing to do with it", async () => {
    const run = await lab.prepare(lab.newRepository({ "a.txt": "a\n" }), { driver: "process" });
    writeFiles(run.workspace, { "b.txt": "b\n" });
    const { cachePath, base, runId } = run;
    const { head } = await importResult(lab.host, { cachePath, resultsDir: await lab.commit(run), base, runId });
    const mine = head ?? "";
    const theirs = await moveBase(run, { "a.txt": "theirs\n" });
    const relation = (of: string, onto: string): Promise<string> => relationOf(lab.host, { cachePath, head: of, onto });
    expect(await relation(mine, base)).toBe("has-it");
    expect(await relation(mine, mine)).toBe("has-it");
    expect(await relation(base, theirs)).toBe("behind");
    expect(await relation(mine, theirs)).toBe("diverged");
    plainGit(run.repository.root, "checkout", "--quiet", "--orphan", "other");
    const other = await moveBase(run, { "c.txt": "c\n" });
    expect(await relation(mine, other)).toBe("unrelated");
  });

  it("names that cannot be told apart are refused, as are too many and an answer that says nothing", () => {
    expect(readConflicts("conflict a\nconflict b c\n")).toEqual(["a", "b c"]);
    expect(readConflicts("clean\n")).toEqual([]);
    expect(() => readConflicts("")).toThrow("said nothing");
    for (const name of ["a\u0001b", "a\ufffd"]) expect(() => readConflicts(`conflict ${name}\n`)).toThrow("control characters");
    expect(() => readConflicts("conflict a\n".repeat(501))).toThrow("more than 500");
  });
});
