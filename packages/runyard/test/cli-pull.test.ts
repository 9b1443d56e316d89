// `runyard pull` in clones on other machines than the server's: the real program, git, engine, database and sockets.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serve, type Served } from "../src/api/testing/served.ts";
import { bundleOf } from "../src/git/bundle.ts";
import { patch } from "../src/git/diff.ts";
import { type GitLab, openGitLab, plainGit, plainGitMayFail, writeFiles } from "../src/git/testing/lab.ts";
import { makeTestHome, type TestHome } from "../src/testing/server.ts";

/** What takes a process for each case is in the full tests. */
const isShort = !process.env["RUNYARD_TEST_FULL"];

let lab: GitLab;
let served: Served;
let home: TestHome;
/** The repository on the server's machine. Only there are the commits of `head`. */
let repository: string;
let base: string;
let head: string;
/** A run that has made `head`. */
let id: string;
/** What the server sends as a bundle in place of what it was asked for. */
let other: { base: string; head: string } | "gone" | null = null;
let maxPatchBytes = 1 << 20;

beforeAll(async () => {
  lab = await openGitLab();
  repository = lab.newRepository({ "a.txt": "one\ntwo\nthree\n", "kept.txt": "kept\n" });
  base = commitOf(repository, "HEAD");
  writeFiles(repository, { "a.txt": "one\nTWO\nthree\n", "new.bin": new Uint8Array([0, 1, 255]), "hooks/post-checkout": hook("checkout") });
  writeFiles(repository, { "hooks/post-merge": hook("merge"), "hooks/reference-transaction": hook("ref") });
  plainGit(repository, "add", "--all");
  plainGit(repository, "update-index", "--chmod=+x", "hooks/post-checkout", "hooks/post-merge", "hooks/reference-transaction");
  plainGit(repository, "commit", "--quiet", "--message", "Of an agent");
  head = commitOf(repository, "HEAD");
  plainGit(repository, "reset", "--quiet", "--hard", base);
  const cachePath = path.join(repository, ".git");
  served = await serve({
    inspectRepository: async (url) => ({ root: url, branch: "main", commit: base, notices: [] }),
    changes: {
      patch: (change) => patch(lab.host, { ...change, cachePath, maxBytes: maxPatchBytes }),
      files: async () => [],
      diff: async () => ({ files: [], truncated: false }),
      file: async () => null,
      bundle: async (change) => {
        if (other === "gone") throw new RunyardError("repository_not_usable", "What the run made is not in the cache any more");
        return bundleOf(lab.host, { ...change, ...other, cachePath, maxBytes: 1 << 20 });
      },
    },
  });
  home = makeTestHome({
    RUNYARD_URL: served.door.url,
    RUNYARD_TOKEN: "token-a",
    HOME: "/nonexistent",
    GIT_AUTHOR_NAME: "T",
    GIT_AUTHOR_EMAIL: "t@t.invalid",
    GIT_COMMITTER_NAME: "T",
    GIT_COMMITTER_EMAIL: "t@t.invalid",
  });
  id = await ended({ headBranch: "runyard/x", headCommit: head, baseCommit: base });
});
afterAll(async () => {
  await home?.close();
  await served?.close();
  await lab?.close();
});

/** A program that leaves its name where it is run. */
function hook(name: string): string {
  return `#!/bin/sh\necho ${name} >>"$(git rev-parse --absolute-git-dir)/planted"\n`;
}

function commitOf(folder: string, name: string): string {
  return plainGit(folder, "rev-parse", name).trim();
}

async function ended(result: Parameters<Served["complete"]>[1]): Promise<string> {
  const run = await served.client.runs.create({ task: "Fix it", repositoryUrl: repository });
  await served.complete(await served.claim(run.id), result);
  return run.id;
}

/** A clone that has only what the run started from. */
function newClone(): string {
  const clone = lab.newPath("clone");
  plainGit(repository, "clone", "--quiet", "--no-local", repository, clone);
  expect(plainGitMayFail(clone, "cat-file", "-e", head).status).not.toBe(0);
  return clone;
}

/** Everything of a clone that a person sees. */
function seen(clone: string): string[] {
  return [["rev-parse", "HEAD"], ["status", "--porcelain"], ["diff", "HEAD"], ["for-each-ref"]].map((words) => plainGit(clone, ...words));
}

const pull = (clone: string, ...words: string[]) => home.cli(["pull", id, ...words], { cwd: clone });

async function pulled(clone: string, ...words: string[]): Promise<Record<string, unknown> & { undo: string }> {
  const { code, stdout, stderr } = await pull(clone, ...words, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown> & { undo: string };
}

describe("a result on another machine", () => {
  test("becomes its branch, with the very commits that the run made, and nothing else is touched", async () => {
    const clone = newClone();
    const before = seen(clone);
    writeFileSync(path.join(clone, "a.txt"), "mine\n");
    expect(await pulled(clone)).toEqual({
      runId: id,
      repository: clone,
      branch: "runyard/x",
      commit: head,
      isFetched: true,
      how: "made",
      undo: "git branch -D runyard/x",
    });
    expect(commitOf(clone, "runyard/x")).toBe(head);
    expect(readFileSync(path.join(clone, "a.txt"), "utf8")).toBe("mine\n");
    expect(existsSync(path.join(clone, ".git/FETCH_HEAD"))).toBe(false);
    expect(await pulled(clone)).toMatchObject({ how: "there", isFetched: false, undo: null });
    plainGit(clone, "checkout", "--quiet", "--", "a.txt");
    plainGit(clone, "branch", "-D", "runyard/x");
    expect(seen(clone)).toEqual(before);
  });

  test("is checked out, merged or applied where that is asked for, and no hook of it is run", async () => {
    const clone = newClone();
    plainGit(clone, "config", "core.hooksPath", "hooks");
    const planted = path.join(clone, ".git/planted");
    const out = await pulled(clone, "--checkout");
    expect(out).toMatchObject({ how: "checked-out", undo: "git checkout main" });
    expect(commitOf(clone, "HEAD")).toBe(head);
    expect(await pulled(clone, "--checkout")).toMatchObject({ how: "checked-out", undo: null });
    plainGit(clone, "-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "main");

    expect(await pulled(clone, "--merge")).toMatchObject({ how: "fast-forward", files: 5, before: base, after: head });
    plainGit(clone, "-c", "core.hooksPath=/dev/null", "reset", "--quiet", "--hard", base);
    plainGit(clone, "-c", "core.hooksPath=/dev/null", "branch", "-D", "runyard/x");

    expect(await pulled(clone, "--apply")).toMatchObject({ how: "changes", branch: null, undo: "git reset --merge HEAD" });
    expect(commitOf(clone, "HEAD")).toBe(base);
    expect(plainGit(clone, "status", "--porcelain").split("\n")).toContain("M  a.txt");
    expect(plainGit(clone, "for-each-ref", "refs/heads/runyard")).toBe("");
    expect(existsSync(planted)).toBe(false);

    // The control: git itself runs what it finds there.
    plainGitMayFail(clone, "checkout", "--quiet", "-b", "control");
    expect(readFileSync(planted, "utf8")).toContain("checkout");
  });

  test.skipIf(isShort)(
    "goes into another folder than the one that one stands in, and into a bare repository (in the full tests)",
    async () => {
      const clone = newClone();
      expect((await home.cli(["pull", id, "--into", clone], { cwd: "/" })).code).toBe(0);
      expect(commitOf(clone, "runyard/x")).toBe(head);
      const bare = lab.newPath("bare");
      plainGit(repository, "clone", "--quiet", "--no-local", "--bare", repository, bare);
      expect(await pulled(bare)).toMatchObject({ how: "made", repository: bare });
      expect(await pull(bare, "--apply")).toMatchObject({ code: 3, stderr: expect.stringContaining("without a working tree") });
      expect(await home.cli(["pull", id, "--into", path.join(clone, "nothing")])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("is in no git repository"),
      });
    },
  );

  test.skipIf(isShort)("is a patch where no repository is (in the full tests)", async () => {
    const clone = newClone();
    const file = path.join(clone, "fix.patch");
    const { code, stdout } = await home.cli(["pull", id, "--patch"], { cwd: "/" });
    expect(code).toBe(0);
    const told = await home.cli(["pull", id, "--patch", file, "--json"], { cwd: "/" });
    expect(JSON.parse(told.stdout)).toEqual({ runId: id, how: "patch", file, bytes: Buffer.byteLength(stdout) });
    plainGit(clone, "apply", "--index", file);
    expect(plainGit(clone, "write-tree").trim()).toBe(commitOf(repository, `${head}^{tree}`));
    expect(await home.cli(["pull", id, "--patch", "--json"])).toMatchObject({ code: 2, stdout: "" });
    expect(await home.cli(["pull", id, "--patch", "x", "--merge"])).toMatchObject({ code: 2, stdout: "" });
    expect(await home.cli(["pull", id, "--patch", path.join(clone, "no/x")])).toMatchObject({ code: 2, stdout: "" });
    maxPatchBytes = 300;
    expect(await home.cli(["pull", id, "--patch"])).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("more than") });
    maxPatchBytes = 1 << 20;
  });
});

describe("nothing is touched", () => {
  test.each(isShort ? ["--apply"] : ["--merge", "--apply", "--checkout"])(
    "where uncommitted changes overlap (%s), and the files are named",
    async (how) => {
      const clone = newClone();
      writeFileSync(path.join(clone, "a.txt"), "mine\n");
      const before = seen(clone).slice(0, 3);
      const { code, stderr } = await pull(clone, how);
      expect(code).toBe(3);
      expect(stderr).toContain("a.txt");
      expect(seen(clone).slice(0, 3)).toEqual(before);
      // Changes elsewhere are in nobody's way.
      plainGit(clone, "checkout", "--quiet", "--", "a.txt");
      writeFileSync(path.join(clone, "kept.txt"), "mine\n");
      expect((await pull(clone, how)).code).toBe(0);
      expect(readFileSync(path.join(clone, "kept.txt"), "utf8")).toBe("mine\n");
    },
  );

  test.skipIf(isShort)("in another repository, or in one that lacks what the run started from (in the full tests)", async () => {
    const strange = lab.newRepository({ "z.txt": "z\n" });
    const before = seen(strange);
    expect(await pull(strange)).toMatchObject({ code: 3, stderr: expect.stringContaining(`git fetch ${repository}`) });
    expect(seen(strange)).toEqual(before);
    const old = lab.newPath("old");
    plainGit(repository, "init", "--quiet", old);
    plainGit(old, "remote", "add", "upstream", repository);
    const { code, stderr } = await pull(old);
    expect(code).toBe(3);
    expect(stderr).toContain(base.slice(0, 12));
    expect(stderr).toMatch(/get it with: git fetch upstream$/m);
  });

  test.skipIf(isShort)(
    "where the branch is in the way, and a branch that the result goes on from is moved (in the full tests)",
    async () => {
      const clone = newClone();
      plainGit(clone, "branch", "runyard/x", base);
      expect(await pulled(clone)).toMatchObject({ how: "moved", undo: `git branch -f runyard/x ${base.slice(0, 12)}` });
      plainGit(clone, "checkout", "--quiet", "-B", "runyard/x", base);
      expect(await pull(clone)).toMatchObject({ code: 3, stderr: expect.stringContaining("it is checked out") });
      plainGit(clone, "commit", "--quiet", "--allow-empty", "--message", "Mine");
      const mine = commitOf(clone, "HEAD");
      plainGit(clone, "checkout", "--quiet", "main");
      expect(await pull(clone, "--checkout")).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("git branch -m runyard/x runyard/x-mine"),
      });
      expect(commitOf(clone, "runyard/x")).toBe(mine);
      expect(plainGit(clone, "branch", "--show-current")).toBe("main\n");
    },
  );

  test("where a result and one's own work conflict, but for the conflict itself, which names its files", async () => {
    const clone = newClone();
    writeFiles(clone, { "a.txt": "one\nZWEI\nthree\n" });
    plainGit(clone, "commit", "--quiet", "--all", "--message", "Mine");
    const before = seen(clone).slice(0, 3);
    for (const [how, undo] of [
      ["--merge", ["merge", "--abort"]],
      ["--apply", ["reset", "--merge", "HEAD"]],
    ] as const) {
      const { code, stderr } = await pull(clone, how);
      expect(code).toBe(1);
      expect(stderr).toContain("the same lines in 1 file:\n    a.txt");
      expect(stderr).toContain(`git ${undo.join(" ")}`);
      plainGit(clone, ...undo);
      expect(seen(clone).slice(0, 3)).toEqual(before);
    }
  });

  test("where the server sends other commits than the run's record names, or has lost them", async () => {
    const clone = newClone();
    const before = seen(clone);
    const tree = commitOf(repository, `${head}^{tree}`);
    other = { base, head: plainGit(repository, "commit-tree", tree, "-p", base, "-m", "Another one").trim() };
    expect(await pull(clone)).toMatchObject({ code: 1, stderr: expect.stringContaining("sent other commits") });
    other = "gone";
    expect(await pull(clone)).toMatchObject({ code: 3, stderr: expect.stringContaining("not in the cache any more") });
    other = null;
    expect(seen(clone)).toEqual(before);
  });

  test.skipIf(isShort)("by a run that goes on, has no result, or has no branch (in the full tests)", async () => {
    const clone = newClone();
    const pending = await served.client.runs.create({ task: "Fix it", repositoryUrl: repository });
    const pullOf = (run: string, ...words: string[]) => home.cli(["pull", run, ...words], { cwd: clone });
    expect(await pullOf(pending.id)).toMatchObject({ code: 3, stderr: expect.stringContaining("when it has ended") });
    expect(await pullOf(pending.id, "--patch")).toMatchObject({ code: 3, stdout: "" });
    const nothing = await ended({ baseCommit: base });
    expect(await pullOf(nothing)).toMatchObject({ code: 3, stderr: expect.stringContaining("left no result") });
    const noBranch = await ended({ headCommit: head, baseCommit: base });
    expect(await pullOf(noBranch)).toMatchObject({ code: 3, stderr: expect.stringContaining(`runyard pull ${noBranch} --apply`) });
    expect((await pullOf(noBranch, "--apply")).code).toBe(0);
    const later = await ended({ headBranch: "runyard/y", headCommit: head, baseCommit: base });
    await served.client.runs.continue(later, "And now?");
    await served.client.runs.cancel(later);
    expect(await pullOf(later)).toMatchObject({ code: 3, stderr: expect.stringMatching(/in turn 2.*\n.*runyard diff .*\n.*--apply/) });
    // No attempt has told of a commit here.
    expect(await pullOf(later, "--apply")).toMatchObject({ code: 3, stderr: expect.stringContaining("there is nothing to bring") });
    mkdirSync(path.join(clone, "sub"));
    expect(await home.cli(["pull", "zzzzzz"], { cwd: clone })).toMatchObject({ code: 1, stdout: "" });
  });
});
