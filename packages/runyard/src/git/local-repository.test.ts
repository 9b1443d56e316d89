import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { inspectRepository, openRepository } from "./local-repository.ts";
import { type GitLab, openGitLab, plainGit, plainGitMayFail, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

const isRoot = process.getuid?.() === 0;

function headOf(dir: string): string {
  return plainGit(dir, "rev-parse", "HEAD").trim();
}

async function refusal(repositoryUrl: string, branch?: string): Promise<string> {
  const error = await inspectRepository(lab.host, repositoryUrl, branch).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RunyardError);
  expect((error as RunyardError).code).toBe("repository_not_usable");
  return (error as RunyardError).message;
}

describe("finding a repository", () => {
  it("takes its folder, a folder inside, a link to it, and a file URL", async () => {
    const dir = lab.newRepository({ "src/deep/a.txt": "a\n" });
    const expected = { root: dir, gitDir: path.join(dir, ".git"), branch: "main", commit: headOf(dir), notices: [] };
    const link = lab.newPath("link");
    symlinkSync(dir, link);
    for (const given of [dir, `${dir}/`, path.join(dir, "src/deep"), link, pathToFileURL(dir).href, `file://localhost${dir}`]) {
      expect(await inspectRepository(lab.host, given)).toEqual(expected);
    }
  });

  it("takes paths with spaces, quotes, unicode and newlines", async () => {
    const plain = lab.newRepository();
    const dir = lab.newPath("größe 'x' \"y\" $HOME\n\nlines\n");
    renameSync(plain, dir);
    const found = await inspectRepository(lab.host, dir);
    expect(found).toMatchObject({ root: dir, gitDir: path.join(dir, ".git"), commit: headOf(dir) });
    expect(await inspectRepository(lab.host, pathToFileURL(dir).href)).toEqual(found);
  });

  it("takes a bare repository, a linked worktree and a submodule's folder", async () => {
    const dir = lab.newRepository();
    const bare = lab.newPath("bare.git");
    plainGit(dir, "clone", "--quiet", "--bare", dir, bare);
    expect(await inspectRepository(lab.host, bare)).toEqual({ root: bare, gitDir: bare, branch: "main", commit: headOf(dir), notices: [] });

    const tree = lab.newPath("worktree");
    plainGit(dir, "worktree", "add", "--quiet", "-b", "side", tree);
    plainGit(tree, "commit", "--quiet", "--allow-empty", "--message", "Side");
    expect(await inspectRepository(lab.host, tree)).toEqual({
      root: tree,
      gitDir: path.join(dir, ".git"),
      branch: "side",
      commit: headOf(tree),
      notices: [],
    });

    const outer = lab.newRepository();
    plainGit(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", dir, "sub");
    const sub = await inspectRepository(lab.host, path.join(outer, "sub"));
    expect(sub).toMatchObject({ root: path.join(outer, "sub"), gitDir: path.join(outer, ".git/modules/sub"), commit: headOf(dir) });
  });

  it.runIf(isRoot)("takes a repository of another user, where plain git refuses", async () => {
    const dir = lab.newRepository();
    const commit = headOf(dir);
    for (const file of [dir, path.join(dir, ".git")]) chownSync(file, 65_534, 65_534);
    expect(plainGitMayFail(dir, "-c", "safe.directory=", "rev-parse", "HEAD").stderr).toMatch(/dubious ownership/);
    expect(await inspectRepository(lab.host, dir)).toMatchObject({ root: dir, commit });
  });

  it.skipIf(isRoot)("says who may not read it", async () => {
    const dir = lab.newRepository();
    chmodSync(dir, 0);
    expect(await refusal(dir)).toMatch(/^The server's user may not read .*: give it the right to/);
  });

  it("refuses what is not on this machine, or not a repository", async () => {
    for (const given of ["some/folder", ".", "~/a", "/a\0b", "--upload-pack=x"])
      expect(await refusal(given)).toMatch(/give the URL of a repository, or an absolute path/);
    for (const given of ["https://example.com/a/b.git", "git@example.com:a/b.git", "ssh://git@example.com/a"])
      expect(await refusal(given)).toMatch(/cannot be reached from here/);
    for (const given of ["ext::sh -c true", "ext::true", "git://example.com/a"])
      expect(await refusal(given)).toMatch(/^The URL of a repository must/);
    expect(await refusal("file://elsewhere/a/b")).toMatch(/does not name a folder of this machine/);
    const missing = lab.newPath("missing");
    expect(await refusal(missing)).toBe(`There is no folder ${missing} on the server's machine`);
    const file = lab.newPath("file");
    writeFileSync(file, "");
    expect(await refusal(file)).toBe(`${file} is not a folder: name the folder of a git repository`);
    expect(await refusal(path.join(file, "below"))).toMatch(/^There is no folder /);
    const folder = lab.newPath("folder");
    mkdirSync(folder);
    expect(await refusal(folder)).toBe(`${folder} is not in a git repository: run "git init" there, and commit something`);
    writeFileSync(path.join(folder, ".git"), "gitdir: /gone/away\n");
    expect(await refusal(folder)).toBe(`${folder} is not a usable git repository: not a git repository: /gone/away`);
  });

  it("refuses a repository without a commit", async () => {
    const dir = lab.newPath("empty");
    plainGit(lab.root, "init", "--quiet", "--initial-branch=main", dir);
    expect(await refusal(dir)).toBe(`${dir} has no commit yet: commit something first, a run starts from a commit`);
    expect(await refusal(dir, "main")).toBe(`${dir} has no commit yet: commit something first, a run starts from a commit`);
    const orphan = lab.newRepository();
    plainGit(orphan, "checkout", "--quiet", "--orphan", "fresh");
    expect(await refusal(orphan)).toBe(`The current branch of ${orphan} has no commit: name another branch (there is main)`);
    expect(await inspectRepository(lab.host, orphan, "main")).toMatchObject({ branch: "main", notices: [] });
  });
});

describe("choosing a commit", () => {
  it("takes a branch by its name, and says which there are", async () => {
    const dir = lab.newRepository();
    const first = headOf(dir);
    plainGit(dir, "checkout", "--quiet", "-b", "feature/größe");
    plainGit(dir, "commit", "--quiet", "--allow-empty", "--message", "Second");
    expect(await inspectRepository(lab.host, dir, "main")).toMatchObject({ branch: "main", commit: first });
    expect(await inspectRepository(lab.host, dir, "feature/größe")).toMatchObject({ branch: "feature/größe", commit: headOf(dir) });
    expect(await refusal(dir, "nope")).toMatch(/^There is no branch nope in .*; there is .*main/);
    plainGit(dir, "update-ref", "refs/remotes/origin/nope", first);
    expect(await refusal(dir, "nope")).toMatch(/only origin\/nope: run "git branch nope origin\/nope" there$/);
    plainGit(dir, "tag", "v1");
    for (const name of ["v1", "HEAD"]) expect(await refusal(dir, name)).toMatch(/^There is no branch/);
    for (const name of ["--all", "a b", "a..b", "a^", "main~1", "a:b", "", "@{-1}", "a.lock", "x\ny", "/a", ".a"]) {
      expect(await refusal(dir, name)).toMatch(/is not the name of a branch$/);
    }
  });

  it("takes a branch that is named once the root is known, and says the same of it", async () => {
    const dir = lab.newRepository({ "src/a.txt": "a\n" });
    plainGit(dir, "checkout", "--quiet", "-b", "next");
    plainGit(dir, "commit", "--quiet", "--allow-empty", "--message", "Second");
    writeFileSync(path.join(dir, "new.txt"), "x\n");
    const found = await openRepository(lab.host, path.join(dir, "src"));
    expect(found.root).toBe(dir);
    for (const branch of [undefined, "main", "next"])
      expect(await found.inspect(branch)).toEqual(await inspectRepository(lab.host, dir, branch));
    for (const branch of ["nope", "--all"]) {
      const message = await refusal(dir, branch);
      await expect(found.inspect(branch)).rejects.toMatchObject({ code: "repository_not_usable", message });
    }
    // The branch that it was found with comes first.
    expect(await (await openRepository(lab.host, dir, "main")).inspect("nope")).toMatchObject({ branch: "main" });
    // A HEAD without a commit is found, and is in nobody's way who names another branch.
    const bare = lab.newPath("headless.git");
    plainGit(lab.root, "clone", "--quiet", "--bare", dir, bare);
    plainGit(bare, "symbolic-ref", "HEAD", "refs/heads/gone");
    const headless = await openRepository(lab.host, bare);
    await expect(headless.inspect()).rejects.toThrow(/has no commit: name another branch/);
    await expect(headless.inspect("gone")).rejects.toThrow(/There is no branch gone/);
    expect(await headless.inspect("next")).toMatchObject({ branch: "next", commit: headOf(dir), notices: [] });
  });

  it("tells that a head is detached", async () => {
    const dir = lab.newRepository();
    plainGit(dir, "checkout", "--quiet", "--detach");
    const found = await inspectRepository(lab.host, dir);
    expect(found).toMatchObject({ branch: null, commit: headOf(dir) });
    expect(found.notices).toEqual([
      {
        code: "detached-head",
        message: `No branch is checked out in ${dir} (detached head): the run starts from commit ${headOf(dir).slice(0, 10)}`,
      },
    ]);
  });

  it("tells what is not committed, for the branch that is checked out", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", "b.txt": "b\n", ".gitignore": "ignored\n" });
    plainGit(dir, "branch", "other");
    writeFiles(dir, { "a.txt": "changed\n", "b.txt": null, "new.txt": "x", ignored: "x" });
    plainGit(dir, "add", "a.txt");
    const found = await inspectRepository(lab.host, dir);
    expect(found.notices).toEqual([
      {
        code: "uncommitted-changes",
        message: `The working tree has files that are not committed (2 changed, 1 untracked): the run starts from commit ${headOf(dir).slice(0, 10)} and does not see them`,
      },
    ]);
    expect((await inspectRepository(lab.host, dir, "main")).notices).toEqual(found.notices);
    expect((await inspectRepository(lab.host, dir, "other")).notices).toEqual([]);
  });

  it("goes on where the index cannot be read, and says so", async () => {
    const dir = lab.newRepository();
    writeFileSync(path.join(dir, ".git/index"), "nonsense");
    const [notice] = (await inspectRepository(lab.host, dir)).notices;
    expect(notice?.message).toMatch(
      /^Whether everything is committed could not be found out \(git status failed: .*\): the run starts from commit/,
    );
  });
});

describe("leaving a repository alone", () => {
  /** Everything below .git with its size and time, and the index with its bytes. */
  function stateOf(dir: string): string {
    const index = path.join(dir, ".git/index");
    return JSON.stringify([
      readFileSync(index, "base64"),
      statSync(index).mtimeMs,
      plainGit(dir, "for-each-ref"),
      statSync(path.join(dir, ".git")).mtimeMs,
    ]);
  }

  it("does not even refresh the index, as plain git does", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    utimesSync(path.join(dir, "a.txt"), 1, 1);
    const before = stateOf(dir);
    expect((await inspectRepository(lab.host, dir)).notices).toEqual([]);
    expect(stateOf(dir)).toBe(before);
    plainGit(dir, "status");
    expect(stateOf(dir)).not.toBe(before);
  });

  it("runs no program that its configuration names, as plain git does", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", "b.txt": "b\n", ".gitattributes": "a.txt filter=one\nb.txt filter=two.part\n" });
    const marker = (name: string): string => path.join(dir, ".git", `ran-${name}`);
    const program = (name: string): string => `touch '${marker(name)}'; cat`;
    plainGit(dir, "config", "core.fsmonitor", `${program("fsmonitor")}; false`);
    plainGit(dir, "config", "filter.one.clean", program("clean"));
    plainGit(dir, "config", "filter.one.required", "true");
    plainGit(dir, "config", "filter.two.part.process", `touch '${marker("process")}'; false`);
    plainGit(dir, "config", "core.hooksPath", path.join(dir, ".git/planted"));
    writeFiles(dir, { ".git/planted/post-index-change": `#!/bin/sh\ntouch '${marker("hook")}'\n` });
    chmodSync(path.join(dir, ".git/planted/post-index-change"), 0o755);
    const ran = (): string[] =>
      ["fsmonitor", "clean", "process", "hook"].filter((name) => statSync(marker(name), { throwIfNoEntry: false }) !== undefined);
    // Same size, other time: git must read the files to know whether they have changed.
    for (const name of ["a.txt", "b.txt"]) utimesSync(path.join(dir, name), 1, 1);

    expect((await inspectRepository(lab.host, path.join(dir, "."))).commit).toBe(headOf(dir));
    expect(ran()).toEqual([]);
    expect(plainGitMayFail(dir, "status").stderr).toMatch(/hung up/); // the filter process was started, and broke
    plainGit(dir, "config", "--unset", "filter.two.part.process");
    plainGit(dir, "status");
    expect(ran()).toEqual(["fsmonitor", "clean", "process", "hook"]);
  });
});
