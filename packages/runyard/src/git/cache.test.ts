import { randomBytes } from "node:crypto";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dropRunRefs, findAndCache, repositoryCachePath, updateCache } from "./cache.ts";
import { GitError } from "./host-git.ts";
import { inspectRepository } from "./local-repository.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
let runs = 0;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

function newRunId(): string {
  return `run_${String((runs += 1)).padStart(26, "0")}`;
}

async function update(
  dir: string,
  options: { commit?: string; runId?: string; cacheDir?: string; signal?: AbortSignal } = {},
): Promise<string> {
  const repository = await inspectRepository(lab.host, dir);
  const { cachePath } = await updateCache(lab.host, {
    cacheDir: lab.cacheDir,
    repository,
    commit: repository.commit,
    runId: newRunId(),
    ...options,
  });
  return cachePath;
}

function commitFile(dir: string, name: string, content: string | Uint8Array = name): string {
  writeFiles(dir, { [name]: content });
  plainGit(dir, "add", "--all");
  plainGit(dir, "commit", "--quiet", "--message", name);
  return plainGit(dir, "rev-parse", "HEAD").trim();
}

function refs(cachePath: string): Record<string, string> {
  const lines = plainGit(lab.root, "--git-dir", cachePath, "for-each-ref", "--format=%(refname) %(objectname)").trim().split("\n");
  return Object.fromEntries(lines.filter((line) => line !== "").map((line) => line.split(" ")));
}

/** Every object that can be reached is there and sound. */
function expectSound(cachePath: string): void {
  expect(plainGit(lab.root, "--git-dir", cachePath, "fsck", "--full", "--strict", "--no-dangling")).toBe("");
}

function objectCount(cachePath: string): number {
  return plainGit(lab.root, "--git-dir", cachePath, "cat-file", "--batch-all-objects", "--batch-check").trim().split("\n").length;
}

describe("the cache of a repository", () => {
  it("gets one commit with its history, and nothing else", async () => {
    const dir = lab.newRepository();
    const wanted = commitFile(dir, "wanted");
    commitFile(dir, "later");
    plainGit(dir, "tag", "v1", wanted);
    plainGit(dir, "checkout", "--quiet", "-b", "secret", wanted);
    const secret = commitFile(dir, "secret");
    const runId = newRunId();
    const cachePath = await update(dir, { commit: wanted, runId });
    expect(cachePath).toBe(repositoryCachePath(lab.cacheDir, await inspectRepository(lab.host, dir)));
    expect(refs(cachePath)).toEqual({ [`refs/runyard/base/${runId}`]: wanted, "refs/runyard/latest": wanted });
    expectSound(cachePath);
    expect(() => plainGit(lab.root, "--git-dir", cachePath, "cat-file", "-e", secret)).toThrow();
    expect(readFileSync(path.join(cachePath, "config"), "utf8")).toMatch(/\[gc\]\n\tauto = 0/);
    expect(existsSync(path.join(cachePath, "FETCH_HEAD"))).toBe(false);
  });

  it("is one for all worktrees and names of a repository, and another for another repository", async () => {
    const dir = lab.newRepository();
    const tree = lab.newPath("worktree");
    plainGit(dir, "worktree", "add", "--quiet", "-b", "side", tree);
    const link = lab.newPath("link");
    symlinkSync(dir, link);
    const cachePath = await update(dir);
    expect(await update(tree)).toBe(cachePath);
    expect(await update(link)).toBe(cachePath);
    expect(await update(lab.newRepository())).not.toBe(cachePath);
  });

  it("borrows nothing: it is whole when the repository is gone", async () => {
    const origin = lab.newRepository();
    const dir = lab.newPath("borrower");
    plainGit(origin, "clone", "--quiet", "--shared", origin, dir); // whose objects are not even its own
    commitFile(dir, "own");
    const cachePath = await update(dir);
    for (const gone of [origin, dir]) rmSync(gone, { recursive: true });
    expectSound(cachePath);
    expect(existsSync(path.join(cachePath, "objects/info/alternates"))).toBe(false);
  });

  it("reuses what is there, also when no run holds it any more", async () => {
    const dir = lab.newRepository(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, `content ${i}\n`])));
    const [first, second] = [newRunId(), newRunId()];
    const cachePath = await update(dir, { runId: first });
    const before = objectCount(cachePath);
    await dropRunRefs(lab.host, { cachePath, runId: first });
    expect(Object.keys(refs(cachePath))).toEqual(["refs/runyard/latest"]);
    const next = commitFile(dir, "one-more");
    await update(dir, { runId: second });
    expect(refs(cachePath)[`refs/runyard/base/${second}`]).toBe(next);
    expect(objectCount(cachePath) - before).toBe(3); // commit, tree, file
    expect(readdirSync(path.join(cachePath, "objects/pack")).filter((name) => name.endsWith(".pack"))).toHaveLength(1);
  });

  it("does nothing the second time, and cleans up twice", async () => {
    const dir = lab.newRepository();
    const runId = newRunId();
    const cachePath = await update(dir, { runId });
    const file = path.join(cachePath, "refs/runyard/base", runId);
    utimesSync(file, 1, 1);
    await update(dir, { runId });
    expect(statSync(file).mtimeMs).toBe(1000);
    await dropRunRefs(lab.host, { cachePath, runId });
    await dropRunRefs(lab.host, { cachePath, runId });
    await dropRunRefs(lab.host, { cachePath: lab.newPath("none"), runId });
    expect(refs(cachePath)).not.toHaveProperty(`refs/runyard/base/${runId}`);
  });

  it("refuses names that are not those of commits and runs", async () => {
    const dir = lab.newRepository();
    for (const commit of ["main", "HEAD", "--all", "abc", ""])
      await expect(update(dir, { commit })).rejects.toThrow(/is not the full name of a commit/);
    for (const runId of ["../x", "a b", "", "a/b"]) await expect(update(dir, { runId })).rejects.toThrow(/is not a run's id/);
  });

  it("says when the commit has gone", async () => {
    const dir = lab.newRepository();
    const error = await update(dir, { commit: "1".repeat(40) }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "repository_not_usable",
      message: `The commit that the run starts from is not in ${dir} any more`,
    });
  });
});

describe("a repository that was seen before", () => {
  const find = (dir: string, commit: string) =>
    findAndCache(lab.host, { cacheDir: lab.cacheDir, repositoryUrl: dir, commit, runId: newRunId() });

  it("is made sure of and fetched from with one command of the host", async () => {
    const dir = lab.newRepository();
    const cachePath = await update(dir);
    const next = commitFile(dir, "next");
    const start = vi.spyOn(lab.host.spawner, "start");
    expect(await find(dir, next)).toEqual({ cachePath, repository: { root: dir, gitDir: path.join(dir, ".git") } });
    expect(start).toHaveBeenCalledTimes(1);
    start.mockRestore();
    expect(Object.values(refs(cachePath))).toContain(next);
  });

  it("is looked for again where another one is at its place now", async () => {
    const [dir, other] = [lab.newRepository(), lab.newRepository()];
    const cachePath = await update(dir);
    const before = refs(cachePath);
    // It keeps its git directory where it was seen, but the folder belongs to another one.
    renameSync(path.join(dir, ".git"), path.join(dir, "was.git"));
    writeFiles(dir, { ".git": `gitdir: ${path.join(other, ".git")}\n` });
    const foreign = commitFile(other, "foreign");
    const found = await find(dir, foreign);
    expect(found).toEqual({
      cachePath: repositoryCachePath(lab.cacheDir, await inspectRepository(lab.host, other)),
      repository: { root: dir, gitDir: path.join(other, ".git") },
    });
    expect(refs(cachePath)).toEqual(before);
  });

  it("is refused as ever where it is gone, or lacks the commit", async () => {
    const dir = lab.newRepository();
    await update(dir);
    await expect(find(dir, "1".repeat(40))).rejects.toMatchObject({
      code: "repository_not_usable",
      message: `The commit that the run starts from is not in ${dir} any more`,
    });
    const commit = commitFile(dir, "kept");
    renameSync(dir, lab.newPath("moved"));
    await expect(find(dir, commit)).rejects.toMatchObject({
      code: "repository_not_usable",
      message: `There is no folder ${dir} on the server's machine`,
    });
  });
});

describe("unusual repositories", () => {
  it("takes a shallow clone as it is", async () => {
    const origin = lab.newRepository();
    commitFile(origin, "second");
    const dir = lab.newPath("shallow");
    plainGit(lab.root, "clone", "--quiet", "--depth=1", `file://${origin}`, dir);
    const cachePath = await update(dir);
    expectSound(cachePath);
    expect(plainGit(lab.root, "--git-dir", cachePath, "rev-list", "--count", "refs/runyard/latest").trim()).toBe("1");
  });

  it("takes SHA-256", async () => {
    const dir = lab.newPath("sha256");
    plainGit(lab.root, "init", "--quiet", "--object-format=sha256", dir);
    const commit = commitFile(dir, "a");
    expect(commit).toHaveLength(64);
    expectSound(await update(dir));
  });

  it("says what to do about a partial clone that lacks files", async () => {
    const origin = lab.newRepository();
    plainGit(origin, "config", "uploadpack.allowFilter", "true");
    const dir = lab.newPath("partial");
    plainGit(lab.root, "clone", "--quiet", "--filter=blob:none", "--no-checkout", `file://${origin}`, dir);
    const error = await update(dir).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RunyardError);
    expect((error as Error).message).toBe(
      `${dir} is a partial clone that lacks some of its files: run "git fetch --refetch --no-filter" there, or clone it whole`,
    );
    plainGit(dir, "fetch", "--quiet", "--refetch", "--no-filter");
    expectSound(await update(dir));
  });

  it("takes odd paths, and one of another user", async () => {
    const plain = lab.newRepository();
    const dir = lab.newPath("größe 'x' \"y\" $(touch x) --opt\n\nlines\n");
    renameSync(plain, dir);
    if (process.getuid?.() === 0) for (const file of [dir, path.join(dir, ".git")]) chownSync(file, 65_534, 65_534);
    expectSound(await update(dir));
  });
});

describe("many at once, and killed in the middle", () => {
  it("serves ten runs at once, the first of their repository", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    const commits = Array.from({ length: 10 }, (_, i) => commitFile(dir, `file-${i}`));
    const runIds = commits.map(newRunId);
    const paths = await Promise.all(commits.map((commit, i) => update(dir, { commit, runId: runIds[i] ?? "" })));
    const [cachePath = ""] = paths;
    expect(new Set(paths).size).toBe(1);
    expect(refs(cachePath)).toMatchObject(Object.fromEntries(commits.map((commit, i) => [`refs/runyard/base/${runIds[i]}`, commit])));
    expectSound(cachePath);
  });

  it("serves several that do not know of each other", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    const commits = Array.from({ length: 5 }, (_, i) => commitFile(dir, `file-${i}`));
    const others = commits.map((_, i) => {
      const other = path.join(lab.root, `cache-alias-${i}`);
      symlinkSync(lab.cacheDir, other);
      return other;
    });
    mkdirSync(lab.cacheDir, { recursive: true });
    const [cachePath = ""] = await Promise.all(commits.map((commit, i) => update(dir, { commit, cacheDir: others[i] ?? "" })));
    expect(Object.values(refs(cachePath))).toEqual(expect.arrayContaining(commits));
    expectSound(cachePath);
    expect(readdirSync(lab.cacheDir).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("waits for a lock of a living git, and removes one of a dead git", async () => {
    const dir = lab.newRepository();
    const cachePath = await update(dir);
    const runId = newRunId();
    const lock = path.join(cachePath, "refs/runyard/latest.lock");
    commitFile(dir, "second");
    writeFileSync(lock, "");
    let released = false;
    const waiting = update(dir, { runId }).then(() => expect(released).toBe(true));
    await sleep(600);
    released = true;
    rmSync(lock);
    await waiting;

    const third = commitFile(dir, "third");
    for (const name of [lock, path.join(cachePath, `refs/runyard/base/${runId}.lock`), path.join(cachePath, "packed-refs.lock")]) {
      writeFileSync(name, "");
      utimesSync(name, Date.now() / 1000 - 60, Date.now() / 1000 - 60);
    }
    await update(dir, { runId, commit: third });
    expect(refs(cachePath)[`refs/runyard/base/${runId}`]).toBe(third);
    await dropRunRefs(lab.host, { cachePath, runId });
    expect(refs(cachePath)).toEqual({ "refs/runyard/latest": third, ...without(refs(cachePath), "refs/runyard/latest") });
    expect(refs(cachePath)).not.toHaveProperty(`refs/runyard/base/${runId}`);
  });

  /** The process group of the git that is filling a pack of the cache right now. */
  async function fetchingGroup(cachePath: string): Promise<number> {
    const packs = path.join(cachePath, "objects/pack");
    const drafts = (): string[] => (existsSync(packs) ? readdirSync(packs).filter((name) => name.startsWith("tmp_pack")) : []);
    const before = drafts();
    for (;;) {
      await sleep(2);
      if (drafts().every((name) => before.includes(name))) continue;
      for (const step of readdirSync(lab.host.stepsDir).filter((name) => name.startsWith("step-"))) {
        const file = path.join(lab.host.stepsDir, step, "pid");
        if (existsSync(file)) return Number.parseInt(readFileSync(file, "utf8"), 10);
      }
    }
  }

  it("survives kill -9 of git in the middle of a fetch, and a cancel", async () => {
    const dir = lab.newRepository(Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`f${i}`, `content ${i}\n`])));
    commitFile(dir, "big", randomBytes(48 << 20));
    const runId = newRunId();
    const cachePath = repositoryCachePath(lab.cacheDir, await inspectRepository(lab.host, dir));

    const killed = update(dir, { runId }).catch((reason: unknown) => reason);
    process.kill(-(await fetchingGroup(cachePath)), "SIGKILL");
    expect(await killed).toBeInstanceOf(GitError);
    expect(refs(cachePath)).toEqual({});

    const cancel = new AbortController();
    const cancelled = update(dir, { runId, signal: cancel.signal }).catch((reason: unknown) => reason);
    await fetchingGroup(cachePath);
    cancel.abort(new Error("enough"));
    expect(await cancelled).toMatchObject({ message: "enough" });

    // What the dead left behind is removed once it is surely not in use.
    const left = readdirSync(path.join(cachePath, "objects/pack")).filter((name) => name.startsWith("tmp_"));
    expect(left.length).toBeGreaterThan(0);
    const [old = ""] = left;
    utimesSync(path.join(cachePath, "objects/pack", old), 1, 1);
    expect(await update(dir, { runId })).toBe(cachePath);
    expect(readdirSync(path.join(cachePath, "objects/pack"))).not.toContain(old);
    expect(Object.keys(refs(cachePath))).toEqual([`refs/runyard/base/${runId}`, "refs/runyard/latest"]);
    expectSound(cachePath);
  });

  it("leaves no half-made cache when it is killed before the first fetch", async () => {
    const dir = lab.newRepository();
    const draft = path.join(lab.cacheDir, ".draft-dead");
    mkdirSync(draft, { recursive: true });
    utimesSync(draft, 1, 1);
    const fresh = path.join(lab.cacheDir, ".draft-alive");
    mkdirSync(fresh);
    expectSound(await update(dir));
    expect(existsSync(draft)).toBe(false);
    expect(existsSync(fresh)).toBe(true);
    rmSync(fresh, { recursive: true });
  });
});

function without(record: Record<string, string>, key: string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}
