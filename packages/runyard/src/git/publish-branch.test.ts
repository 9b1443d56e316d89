import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { repositoryCachePath, updateCache } from "./cache.ts";
import { type CommitPair, diffStat, patch } from "./diff.ts";
import { inspectLocal, type LocalRepository } from "./local-repository.ts";
import { publishBranch } from "./publish-branch.ts";
import { type GitLab, openGitLab, plainGit, plainShell, writeFiles } from "./testing/lab.ts";
import { readMade } from "./testing/read-made.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
let runs = 0;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

interface Result {
  readonly repository: LocalRepository;
  readonly cachePath: string;
  readonly head: string;
  readonly branch: string;
}

/** A commit on top of a repository's head that only the cache has. */
async function newResult(dir: string, files: Record<string, string | Uint8Array | null> = { "new.txt": "x\n" }): Promise<Result> {
  const runId = `run_${(runs += 1)}`;
  const repository = await inspectLocal(lab.host, dir);
  const { cachePath } = await updateCache(lab.host, { cacheDir: lab.cacheDir, repository, commit: repository.commit, runId });
  const work = lab.newPath("work");
  plainGit(lab.root, "clone", "--quiet", "--no-local", "--no-checkout", `file://${cachePath}`, work);
  plainGit(work, "fetch", "--quiet", `file://${cachePath}`, `refs/runyard/base/${runId}`);
  plainGit(work, "checkout", "--quiet", "-b", "result", repository.commit);
  writeFiles(work, files);
  plainGit(work, "add", "--all", "--force");
  plainGit(work, "commit", "--quiet", "--message", "Result");
  plainGit(work, "push", "--quiet", cachePath, `result:refs/runyard/result/${runId}`);
  return { repository, cachePath, head: plainGit(work, "rev-parse", "HEAD").trim(), branch: `runyard/${runId}` };
}

function branchOf(dir: string, result: Result): string {
  return plainGit(dir, "rev-parse", `refs/heads/${result.branch}`).trim();
}

describe("publishing a branch", () => {
  it("adds one ref and nothing else, and does nothing the second time", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    plainGit(dir, "tag", "v1");
    writeFiles(dir, { "a.txt": "changed\n", "b.txt": "b\n" });
    plainGit(dir, "add", "b.txt");
    plainGit(dir, "pack-refs", "--all");
    const result = await newResult(dir);
    const state = (): unknown => [
      readFileSync(path.join(dir, ".git/index"), "base64"),
      statSync(path.join(dir, ".git/index")).mtimeMs,
      readFileSync(path.join(dir, ".git/HEAD"), "utf8"),
      readFileSync(path.join(dir, ".git/packed-refs"), "utf8"),
      readFileSync(path.join(dir, ".git/logs/HEAD"), "utf8"),
      readdirSync(path.join(dir, ".git")).toSorted(),
      readdirSync(dir),
      plainGit(dir, "--no-optional-locks", "status", "--porcelain"),
      readFileSync(path.join(dir, ".git/config"), "utf8"),
    ];
    const before = state();
    expect(await publishBranch(lab.host, result)).toEqual({ created: true });
    expect(branchOf(dir, result)).toBe(result.head);
    expect(await publishBranch(lab.host, result)).toEqual({ created: false });
    expect(state()).toEqual(before);
    expect(plainGit(dir, "for-each-ref", "--format=%(refname)").trim().split("\n")).toEqual([
      "refs/heads/main",
      `refs/heads/${result.branch}`,
      "refs/tags/v1",
    ]);
    expect(readFileSync(path.join(dir, ".git/logs/refs/heads", result.branch), "utf8")).toMatch(
      / Runyard <bot@runyard\.invalid> .*\trunyard: result of a run\n$/,
    );
    plainGit(dir, "fsck", "--full", "--strict");
  });

  it("never moves a branch, and says what is in the way", async () => {
    const dir = lab.newRepository();
    const taken = await newResult(dir);
    plainGit(dir, "branch", taken.branch, "main");
    await expect(publishBranch(lab.host, taken)).rejects.toMatchObject({
      code: "repository_not_usable",
      message: `The branch ${taken.branch} could not be made in ${dir}: there is such a branch already, and it points to ${taken.repository.commit.slice(0, 10)}; rename or remove it`,
    });
    expect(branchOf(dir, taken)).toBe(taken.repository.commit);

    const other = lab.newRepository();
    const blocked = await newResult(other);
    plainGit(other, "branch", "runyard");
    await expect(publishBranch(lab.host, blocked)).rejects.toThrow(/could not be made in .*'refs\/heads\/runyard' exists; cannot create/);
    for (const branch of ["--force", "a b", "../x", "x..y"])
      await expect(publishBranch(lab.host, { ...blocked, branch })).rejects.toThrow(/is not a branch name/);
    await expect(publishBranch(lab.host, { ...blocked, head: "main" })).rejects.toThrow(/is not the full name of a commit/);
  });

  it("is done once when it is done by several at once", async () => {
    const result = await newResult(lab.newRepository());
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => publishBranch(lab.host, result)));
    expect(outcomes.filter((outcome) => outcome.created)).toHaveLength(1);
  });

  it("works for bare repositories, worktrees, borrowed objects, SHA-256 and odd paths", async () => {
    const origin = lab.newRepository();
    const bare = lab.newPath("bare.git");
    plainGit(origin, "clone", "--quiet", "--bare", origin, bare);
    const tree = lab.newPath("worktree");
    plainGit(origin, "worktree", "add", "--quiet", "-b", "side", tree);
    const borrower = lab.newPath("borrower");
    plainGit(origin, "clone", "--quiet", "--shared", origin, borrower);
    const sha256 = lab.newPath("sha256");
    plainShell(
      lab.root,
      'git init --quiet --object-format=sha256 "$1" && cd "$1" && echo a >a && git add a && git commit --quiet -m a',
      sha256,
    );
    const odd = lab.newPath("größe 'x' $(touch y)\n--opt");
    renameSync(lab.newRepository(), odd);
    for (const dir of [bare, tree, borrower, odd]) {
      const result = await newResult(dir);
      expect(await publishBranch(lab.host, result)).toEqual({ created: true });
      expect(branchOf(dir, result)).toBe(result.head);
      expect(plainGit(dir, "show", `${result.branch}:new.txt`)).toBe("x\n");
    }
    const run = await lab.prepare(sha256, { driver: "process" });
    writeFiles(run.workspace, { "new.txt": "x\n" });
    expect((await lab.finish(run)).head).toHaveLength(64);
  });

  it("works for a shallow clone, which stays one, and for one that has become whole since", async () => {
    const origin = lab.newRepository();
    for (const name of ["two", "three"]) plainGit(origin, "commit", "--quiet", "--allow-empty", "--message", name);
    const clone = (): string => {
      const dir = lab.newPath("shallow");
      plainGit(lab.root, "clone", "--quiet", "--depth=1", `file://${origin}`, dir);
      return dir;
    };
    const shallow = clone();
    const whole = clone();
    const results = [await lab.prepare(shallow, { driver: "process" }), await lab.prepare(whole, { driver: "process" })];
    for (const run of results) writeFiles(run.workspace, { "new.txt": "x\n" });
    plainGit(whole, "fetch", "--quiet", "--unshallow");
    const before = readFileSync(path.join(shallow, ".git/shallow"), "utf8");
    const [first, second] = [await lab.finish(results[0]!), await lab.finish(results[1]!)];
    expect([first.created, second.created]).toEqual([true, true]);
    expect(readFileSync(path.join(shallow, ".git/shallow"), "utf8")).toBe(before);
    expect(existsSync(path.join(whole, ".git/shallow"))).toBe(false);
    expect(plainGit(shallow, "rev-list", "--count", results[0]!.branch).trim()).toBe("2");
    expect(plainGit(whole, "rev-list", "--count", results[1]!.branch).trim()).toBe("4");
    for (const dir of [shallow, whole]) plainGit(dir, "fsck", "--full");
  });

  it("brings the history along that the repository has thrown away meanwhile", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    writeFiles(dir, { "b.txt": "b\n" });
    plainShell(dir, "git add . && git commit --quiet -m Second");
    const result = await newResult(dir);
    plainShell(dir, "git reset --quiet --hard HEAD~1 && git reflog expire --expire=now --all && git gc --quiet --prune=now");
    expect(() => plainGit(dir, "cat-file", "-e", result.repository.commit)).toThrow();
    expect(await publishBranch(lab.host, result)).toEqual({ created: true });
    expect(plainGit(dir, "log", "--format=%s", result.branch)).toBe("Result\nSecond\nFirst\n");
    plainGit(dir, "fsck", "--full", "--strict");
  });

  it("runs no hook and no other program of the repository, as plain git does", async () => {
    const dir = lab.newRepository();
    const result = await newResult(dir);
    const ran = lab.newPath("ran");
    mkdirSync(ran);
    const hooks = [
      "reference-transaction",
      "post-update",
      "post-receive",
      "update",
      "pre-receive",
      "post-merge",
      "pre-auto-gc",
      "post-rewrite",
      "push-to-checkout",
      "proc-receive",
    ];
    for (const place of [".git/hooks", ".git/own-hooks"]) {
      for (const hook of hooks) {
        writeFiles(dir, { [`${place}/${hook}`]: `#!/bin/sh\ntouch '${ran}/${hook}'\n` });
        chmodSync(path.join(dir, place, hook), 0o755);
      }
    }
    const elsewhere = lab.newRepository();
    writeFiles(dir, {
      ".git/objects/info/alternates": `${elsewhere}/.git/objects\n`,
      ".git/extra": `[core]\n\thooksPath = ${dir}/.git/own-hooks\n`,
    });
    plainShell(
      dir,
      `
      git config include.path extra
      git config core.fsmonitor "touch '$1/fsmonitor'"
      git config core.alternateRefsCommand "touch '$1/alternates'; true"
      git config core.sshCommand "touch '$1/ssh'; false"
      git config gc.auto 1; git config gc.autoPackLimit 1; git config maintenance.auto true; git config gc.recentObjectsHook "touch '$1/recent'"
      git config fetch.recurseSubmodules true; git config fetch.writeCommitGraph true; git config fetch.prune true; git config submodule.recurse true`,
      ran,
    );
    const packs = (): string[] => readdirSync(path.join(dir, ".git/objects")).filter((name) => name.length === 2);
    const loose = packs();
    expect(await publishBranch(lab.host, result)).toEqual({ created: true });
    expect(readdirSync(ran)).toEqual([]);
    expect(packs()).toEqual(loose); // nothing was tidied up
    expect(existsSync(path.join(dir, ".git/objects/info/commit-graphs"))).toBe(false);
    expect(existsSync(path.join(dir, ".git/FETCH_HEAD"))).toBe(false);
    plainGit(dir, "fetch", "--quiet", result.cachePath, `${result.head}:refs/heads/control`);
    plainGit(dir, "status");
    expect(readdirSync(ran)).toEqual(expect.arrayContaining(["alternates", "fsmonitor", "reference-transaction"]));
  });

  it("does not care where a repository wants its fetches to go", async () => {
    const dir = lab.newRepository();
    const result = await newResult(dir);
    plainShell(
      dir,
      'git config url.ext::sh.insteadOf "$1"; git config "remote.$1.fetch" "+refs/*:refs/stolen/*"; git config "remote.$1.uploadpack" "touch $2; git-upload-pack"',
      result.cachePath,
      path.join(lab.root, "ran-uploadpack"),
    );
    await publishBranch(lab.host, result).catch(() => {});
    expect(existsSync(path.join(lab.root, "ran-uploadpack"))).toBe(false);
    expect(plainGit(dir, "for-each-ref", "refs/stolen")).toBe("");
  });

  it.runIf(process.getuid?.() === 0)("leaves another user's repository in that user's hands", async () => {
    const dir = lab.newRepository();
    const result = await newResult(dir);
    plainShell(lab.root, 'chmod 711 . && chown -R 65534:65534 "$1"', dir);
    expect(await publishBranch(lab.host, result)).toEqual({ created: true });
    for (const name of ["refs/heads/runyard", `refs/heads/${result.branch}`, "logs/refs/heads/runyard"])
      expect(statSync(path.join(dir, ".git", name)).uid).toBe(65_534);
    expect(readdirSync(path.join(dir, ".git/objects")).filter((name) => statSync(path.join(dir, ".git/objects", name)).uid === 0)).toEqual(
      [],
    );
    chownSync(dir, 0, 0);
  });
});

describe("what has changed", () => {
  const binary = Uint8Array.from({ length: 3_000 }, (_, i) => (i * i) % 251);

  async function change(): Promise<{ dir: string; result: Result; pair: { cachePath: string; base: string; head: string } }> {
    const dir = lab.newRepository({
      "edit.txt": "1\n2\n3\n",
      "gone.txt": "x\n",
      "move.txt": "moved\n".repeat(20),
      "data.bin": binary,
      ".gitattributes": "*.txt diff=own\n",
    });
    const result = await newResult(dir, {
      "edit.txt": "1\ntwo\n3\n",
      "gone.txt": null,
      "move.txt": null,
      "moved.txt": "moved\n".repeat(20),
      "data.bin": binary.map((byte) => 255 - byte),
      "größe\nnew": "n\n",
      "latin-1.txt": Buffer.from("Gr\xf6\xdfe\n", "latin1"),
    });
    return { dir, result, pair: { cachePath: result.cachePath, base: result.repository.commit, head: result.head } };
  }

  const patchText = (pair: CommitPair): Promise<Buffer> => readMade(patch(lab.host, { ...pair, maxBytes: 1 << 20 }));

  it("is counted", async () => {
    const { pair } = await change();
    expect(await diffStat(lab.host, pair)).toEqual({ filesChanged: 6, insertions: 3, deletions: 2 });
    expect(await diffStat(lab.host, { ...pair, head: pair.base })).toEqual({ filesChanged: 0, insertions: 0, deletions: 0 });
  });

  it("is a patch that gives the same tree, binary files included", async () => {
    const { dir, result, pair } = await change();
    const text = await patchText(pair);
    const file = lab.newPath("patch");
    writeFileSync(file, text);
    plainGit(dir, "apply", "--index", file);
    expect(plainGit(dir, "write-tree").trim()).toBe(
      plainGit(lab.root, "--git-dir", result.cachePath, "rev-parse", `${result.head}^{tree}`).trim(),
    );
    expect(await patchText({ ...pair, head: pair.base })).toHaveLength(0);
    // It is whole or not there.
    expect(await patch(lab.host, { ...pair, maxBytes: text.length - 1 })).toEqual({ tooLarge: text.length });
  });

  it("is looked at without any program that attributes name", async () => {
    const { dir, pair } = await change();
    const marker = lab.newPath("ran");
    // Even in the cache itself, where nobody but us writes.
    for (const [key, value] of Object.entries({
      "diff.external": `touch '${marker}'`,
      "diff.own.textconv": `touch '${marker}'; cat`,
      "diff.own.command": `touch '${marker}'`,
    })) {
      plainGit(lab.root, "--git-dir", pair.cachePath, "config", key, value);
      plainGit(dir, "config", key, value);
    }
    await diffStat(lab.host, pair);
    await patchText(pair);
    expect(existsSync(marker)).toBe(false);
    writeFiles(dir, { "edit.txt": "other\n" });
    plainGit(dir, "diff");
    expect(existsSync(marker)).toBe(true);
    rmSync(marker);
  });
});

it("finds the cache of a repository by its git directory alone", async () => {
  const dir = lab.newRepository();
  const { repository, cachePath } = await newResult(dir);
  expect(repositoryCachePath(lab.cacheDir, repository)).toBe(cachePath);
});
