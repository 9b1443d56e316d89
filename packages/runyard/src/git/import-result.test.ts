import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { updateCache } from "./cache.ts";
import { noticeText } from "./commit-result.ts";
import { GitError } from "./host-git.ts";
import { importResult } from "./import-result.ts";
import { inspectRepository } from "./local-repository.ts";
import { type GitLab, openGitLab, plainGit, plainShell } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
let cachePath: string;
let base: string;
let repository: string;
let runs = 0;

beforeAll(async () => {
  lab = await openGitLab();
  repository = lab.newRepository({ "a.txt": "a\n" });
  plainGit(repository, "commit", "--quiet", "--allow-empty", "--message", "Second");
  const found = await inspectRepository(lab.host, repository);
  base = found.commit;
  ({ cachePath } = await updateCache(lab.host, { cacheDir: lab.cacheDir, repository: found, commit: base, runId: "run_base" }));
});
afterAll(() => lab.close());

/** A results directory as a hostile commit step could leave it: a script makes commits, and what it prints is the head. */
function results(script: string, options: { refs?: string; result?: Record<string, unknown> } = {}): { dir: string; head: string } {
  const clone = lab.newPath("clone");
  const dir = lab.newPath("results");
  mkdirSync(dir);
  plainGit(lab.root, "clone", "--quiet", repository, clone);
  const head = plainShell(clone, `set -e; base=$1; ${script}`, base).trim();
  if (head !== "") {
    plainGit(clone, "update-ref", "refs/heads/result", head);
    plainGit(
      clone,
      "bundle",
      "create",
      "--quiet",
      path.join(dir, "result.bundle"),
      ...(options.refs ?? "refs/heads/result ^origin/main").split(" "),
    );
  }
  writeFileSync(path.join(dir, "result.json"), JSON.stringify({ changed: true, head, notices: [], ...options.result }));
  return { dir, head };
}

async function take(dir: string, maxBytes?: number): Promise<{ head: string | null; runId: string }> {
  const runId = `run_${(runs += 1)}`;
  const imported = await importResult(lab.host, {
    cachePath,
    resultsDir: dir,
    base,
    runId,
    ...(maxBytes === undefined ? {} : { maxBytes }),
  });
  return { head: imported.head, runId };
}

async function refusal(dir: string, maxBytes?: number): Promise<Error> {
  const before = plainGit(lab.root, "--git-dir", cachePath, "for-each-ref");
  const objects = (): string => plainGit(lab.root, "--git-dir", cachePath, "cat-file", "--batch-all-objects", "--batch-check");
  const objectsBefore = objects();
  const error = await take(dir, maxBytes).then(
    () => new Error("it was taken"),
    (reason: unknown) => reason as Error,
  );
  expect(plainGit(lab.root, "--git-dir", cachePath, "for-each-ref")).toBe(before);
  expect(objects()).toBe(objectsBefore);
  expect(readdirSync(lab.cacheDir).filter((name) => name.startsWith("."))).toEqual([]);
  return error;
}

/** Each one another commit: of two alike, the cache would have the second one already, and need no bundle for it. */
const GOOD = 'echo x >x; git add x; git commit -qm "X $(date +%N)"; git rev-parse HEAD';

describe("taking a result", () => {
  it("takes good commits, also twice, and keeps them under the run's name", async () => {
    const { dir, head } = results(GOOD);
    const { runId, head: taken } = await take(dir);
    expect(taken).toBe(head);
    expect(plainGit(lab.root, "--git-dir", cachePath, "rev-parse", `refs/runyard/result/${runId}`).trim()).toBe(head);
    await importResult(lab.host, { cachePath, resultsDir: dir, base, runId });
    expect(plainGit(lab.root, "--git-dir", cachePath, "fsck", "--full", "--strict", "--no-dangling")).toBe("");
  });

  it("takes none where nothing has changed, whatever else lies there", async () => {
    const { dir } = results(GOOD, { result: { changed: false } });
    expect((await take(dir)).head).toBeNull();
  });

  it("takes nothing but the commits of the result", async () => {
    const secret = "git checkout -q -b other; echo s >s; git add s; git commit -qm Secret; git checkout -q main;";
    const { dir, head } = results(`${secret} ${GOOD}`, { refs: "--all ^origin/main~1" });
    expect((await take(dir)).head).toBe(head);
    expect(plainGit(lab.root, "--git-dir", cachePath, "log", "--all", "--format=%s")).not.toContain("Secret");
    const count = plainGit(lab.root, "--git-dir", cachePath, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)");
    expect(count.match(/commit/g)?.length).toBe(plainGit(lab.root, "--git-dir", cachePath, "rev-list", "--all").trim().split("\n").length);
  });

  it("refuses bundles that are none, cut, too large, or not plain files", async () => {
    const bundleOf = (dir: string): string => path.join(dir, "result.bundle");
    const none = results("true", { result: { head: base } });
    expect((await refusal(none.dir)).message).toMatch(/has no bundle/);
    const garbage = results(GOOD);
    writeFileSync(bundleOf(garbage.dir), "nonsense");
    const cut = results(GOOD);
    truncateSync(bundleOf(cut.dir), readFileSync(bundleOf(cut.dir)).length - 30);
    const longer = results(GOOD);
    const bytes = readFileSync(bundleOf(longer.dir));
    bytes.fill(0x41, bytes.length - 60, bytes.length - 25);
    writeFileSync(bundleOf(longer.dir), bytes);
    for (const { dir } of [garbage, cut, longer]) expect(await refusal(dir)).toBeInstanceOf(GitError);
    expect((await refusal(results(GOOD).dir, 100)).message).toMatch(/more than the 100 that are allowed/);
    const linked = results(GOOD);
    copyFileSync(bundleOf(linked.dir), path.join(lab.root, "elsewhere.bundle"));
    rmSync(bundleOf(linked.dir));
    symlinkSync(path.join(lab.root, "elsewhere.bundle"), bundleOf(linked.dir));
    const folder = results(GOOD);
    rmSync(bundleOf(folder.dir));
    plainGit(lab.root, "clone", "--quiet", "--bare", repository, bundleOf(folder.dir));
    const pipe = results(GOOD);
    rmSync(bundleOf(pipe.dir));
    plainShell(pipe.dir, "mkfifo result.bundle");
    for (const { dir } of [linked, folder, pipe]) expect((await refusal(dir)).message).toMatch(/has no bundle/);
  });

  it("refuses a head that is not in the bundle, is no commit, or does not go on from the base", async () => {
    expect((await refusal(results(GOOD, { result: { head: base } }).dir)).message).toMatch(/does not hold the commit that it names/);
    expect((await refusal(results(GOOD, { result: { head: "1".repeat(40) } }).dir)).message).toMatch(
      /does not hold the commit that it names/,
    );
    const unrelated = results("git checkout -q --orphan fresh; git commit -qm Fresh; git rev-parse HEAD", { refs: "refs/heads/result" });
    const older = results("git checkout -q main~1; echo x >x; git add x; git commit -qm Older; git rev-parse HEAD");
    for (const { dir } of [unrelated, older])
      expect((await refusal(dir)).message).toMatch(/does not go on from the commit that the run started from/);
  });

  it("refuses objects that git's checks refuse, and takes them without the checks", async () => {
    const onTop = "git commit-tree -p main -m Bad $tree";
    const bad = {
      dotgit: `blob=$(echo x | git hash-object -w --stdin); tree=$(printf '040000 tree %s\\t.git\\n' $(printf '100644 blob %s\\tconfig\\n' $blob | git mktree) | git mktree); ${onTop}`,
      dotdot: `tree=$(printf '040000 tree %s\\t..\\n' $(git rev-parse 'main^{tree}') | git mktree); ${onTop}`,
      modules: `blob=$(printf '[submodule "x"]\\n\\tpath = x\\n\\turl = --upload-pack=touch\\n' | git hash-object -w --stdin); tree=$(printf '100644 blob %s\\t.gitmodules\\n' $blob | git mktree); ${onTop}`,
      moduleFolder: `tree=$(printf '040000 tree %s\\t.gitmodules\\n' $(git rev-parse 'main^{tree}') | git mktree); ${onTop}`,
      moduleLink: `blob=$(printf /etc/passwd | git hash-object -w --stdin); tree=$(printf '120000 blob %s\\t.gitmodules\\n' $blob | git mktree); ${onTop}`,
      commit:
        "printf 'tree %s\\nparent %s\\nauthor A <a@b> x\\ncommitter A <a@b> x\\n\\nBad\\n' $(git rev-parse 'main^{tree}') $base | git hash-object -t commit -w --stdin --literally",
    };
    for (const [name, script] of Object.entries(bad)) {
      const { dir, head } = results(script);
      const error = await refusal(dir);
      // Once more, as after a crash: git does not check what it finds where the first try left it.
      expect([name, (await refusal(dir)).message]).toEqual([name, error.message]);
      expect([
        name,
        error instanceof GitError,
        /fsck|does not|contains|disallowed|symbolic link|invalid|index-pack|unpack/.test(error.message),
      ]).toEqual([name, true, true]);
      // The control: git takes it when nobody asks for checks.
      const lax = lab.newPath("lax");
      plainGit(lab.root, "clone", "--quiet", repository, lax);
      plainGit(lax, "fetch", "--quiet", path.join(dir, "result.bundle"), "refs/heads/result:refs/heads/taken");
      expect(plainGit(lax, "rev-parse", "taken").trim()).toBe(head);
    }
  });

  it("refuses a result.json that is not what it must be", async () => {
    const spoil: Record<string, (file: string) => void> = {
      missing: (file) => rmSync(file),
      text: (file) => writeFileSync(file, "nonsense"),
      shape: (file) => writeFileSync(file, '{"changed":"yes"}'),
      head: (file) => writeFileSync(file, '{"changed":true,"head":"--upload-pack=x","notices":[]}'),
      code: (file) => writeFileSync(file, `{"changed":true,"head":"${base}","notices":[{"code":"<b>","count":0,"details":[]}]}`),
      huge: (file) => appendFileSync(file, " ".repeat(300_000)),
      link: (file) => (rmSync(file), symlinkSync("/etc/passwd", file)),
      pipe: (file) => (rmSync(file), plainShell(path.dirname(file), "mkfifo result.json")),
      folder: (file) => (rmSync(file), mkdirSync(file)),
    };
    for (const [name, act] of Object.entries(spoil)) {
      const { dir } = results(GOOD);
      act(path.join(dir, "result.json"));
      const error = await refusal(dir);
      expect([name, error.message]).toEqual([name, expect.stringMatching(/^The result of the run cannot be read: /)]);
      expect(error.message).not.toContain("root:");
    }
  });
});

describe("a notice", () => {
  it("is a sentence in which names cannot act", () => {
    expect(noticeText({ code: "nested-repository", count: 0, details: [] })).toMatch(/history is not$/);
    expect(noticeText({ code: "files-not-added", count: 12, details: ["a", "\u001b[31mred\u202e", "c\nd"] })).toBe(
      "Some files cannot be kept in git: they are not in the result: a, ?[31mred?, c?d and 9 more",
    );
  });
});
