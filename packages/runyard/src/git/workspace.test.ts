import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sandboxDriver } from "../sandbox/drivers.ts";
import {
  DRIVERS,
  filesBelow,
  type GitLab,
  openGitLab,
  plainGit,
  plainShell,
  type TestRun,
  whyNoSandbox,
  writeFiles,
} from "./testing/lab.ts";
import { readLeftOut } from "./left-out.ts";
import { prepareWorkspaceArgv } from "./workspace.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** The words of the prepare step of a run, as they are run where its agent runs. */
function prepareWords(run: TestRun): string[] {
  const workspace = sandboxDriver(run.driver).pathsInside({ workspace: run.workspace, home: "" }).workspace;
  return prepareWorkspaceArgv({ cachePath: run.cachePath, workspace, commit: run.base, branch: run.branch });
}

const GITLINK = "1".repeat(40);

describe.each(DRIVERS)("a checkout (%s)", (driver) => {
  it("says which submodules and files of Git LFS it has not got", async () => {
    const dir = lab.newRepository({
      ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
      "a.bin": "version https://git-lfs.github.com/spec/v1\n",
      "deep/.gitattributes": "*.dat filter=lfs\n",
      "deep/b.dat": "x\n",
      "plain.txt": "filter=lfs\n",
    });
    for (const name of ["lib/one", "two\nlines", "evil\u202Ename"]) {
      plainGit(dir, "update-index", "--add", "--cacheinfo", `160000,${GITLINK},${name}`);
    }
    plainGit(dir, "commit", "--quiet", "--message", "Submodules");
    const run = await lab.prepare(dir, { driver });
    const { stdout } = await lab.runInside(run, prepareWords(run));
    expect(readLeftOut(stdout)).toEqual([
      { code: "submodules-left-out", message: expect.stringMatching(/empty in the workspace.*: evil\?name, lib\/one, two\?lines\.$/) },
      { code: "lfs-left-out", message: expect.stringMatching(/pointers.*: a\.bin, deep\/b\.dat\.$/) },
    ]);
  });

  it("says nothing where all is there, and is short where much is not", async () => {
    const dir = lab.newRepository({ "plain.txt": "filter=lfs\n", "not-lfs/.gitattributes": "*.txt text\n" });
    const run = await lab.prepare(dir, { driver });
    expect(readLeftOut((await lab.runInside(run, prepareWords(run))).stdout)).toEqual([]);
    const many = Array.from({ length: 1_001 }, (_, n) => `submodule ${"x".repeat(300)}${n}`).join("\n");
    const [notice] = readLeftOut(many);
    expect(notice?.message).toMatch(/and more than 995 more\.$/);
    expect(notice?.message.length).toBeLessThan(1_300);
  });
});

describe.each(DRIVERS)("a workspace (%s)", (driver) => {
  it("has the files of the commit, as they are", async () => {
    const binary = Uint8Array.from({ length: 5_000 }, (_, i) => (i * 7) % 256);
    const files = {
      "größe 🦀.txt": "u\n",
      "line\nbreak": "n\n",
      "quo'te\" \\ $(x) --opt": "q\n",
      "bin/run": "#!/bin/sh\n",
      "data.bin": binary,
      "crlf.txt": "a\r\nb\r\n",
      "deep/er/est/file": "",
    };
    const dir = lab.newRepository(files);
    chmodSync(path.join(dir, "bin/run"), 0o755);
    symlinkSync("nowhere/at/all", path.join(dir, "dangling"));
    symlinkSync("deep", path.join(dir, "link"));
    plainGit(dir, "add", "--all");
    plainGit(dir, "commit", "--quiet", "--message", "More");

    const run = await lab.prepare(dir, { driver });
    expect(filesBelow(run.workspace)).toEqual(filesBelow(dir));
    for (const [name, content] of Object.entries(files)) expect(readFileSync(path.join(run.workspace, name))).toEqual(Buffer.from(content));
    expect(readlinkSync(path.join(run.workspace, "dangling"))).toBe("nowhere/at/all");
    expect(readlinkSync(path.join(run.workspace, "link"))).toBe("deep");
    expect(statSync(path.join(run.workspace, "bin/run")).mode & 0o777).toBe(0o755);
    expect(statSync(path.join(run.workspace, "data.bin")).mode & 0o777).toBe(0o644);
    expect(plainGit(run.workspace, "status", "--porcelain")).toBe("");
  });

  it("is a repository on a branch of its own, with the history and the identity of Runyard", async () => {
    const dir = lab.newRepository();
    plainGit(dir, "commit", "--quiet", "--allow-empty", "--message", "Second");
    plainGit(dir, "branch", "older", "HEAD~1");
    const run = await lab.prepare(dir, { driver });
    expect(plainGit(run.workspace, "log", "--format=%s")).toBe("Second\nFirst\n");
    expect(plainGit(run.workspace, "symbolic-ref", "HEAD").trim()).toBe(`refs/heads/${run.branch}`);
    expect(plainGit(run.workspace, "config", "--get-regexp", "^user|gpgsign|auto$").split("\n").toSorted().join("\n").trim()).toBe(
      [
        "commit.gpgsign false",
        "gc.auto 0",
        "maintenance.auto false",
        "tag.gpgsign false",
        "user.email bot@runyard.invalid",
        "user.name Runyard",
      ].join("\n"),
    );
    expect((await lab.prepare(dir, { driver, branch: "older" })).base).toBe(plainGit(dir, "rev-parse", "older").trim());
  });

  it("starts clean where a half-made one lies, and runs nothing of it", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n" });
    const run = await lab.prepare(dir, { driver });
    const marker = path.join(run.workspace, "..", "marker");
    const plants = { fsmonitor: `touch '${marker}'`, hooksPath: path.join(run.workspace, "hooks") };
    for (const [key, value] of Object.entries(plants)) plainGit(run.workspace, "config", `core.${key}`, value);
    for (const hook of ["post-checkout", "reference-transaction", "post-index-change"]) {
      writeFiles(run.workspace, {
        [`hooks/${hook}`]: `#!/bin/sh\ntouch '${marker}'\n`,
        [`.git/hooks/${hook}`]: `#!/bin/sh\ntouch '${marker}'\n`,
      });
      chmodSync(path.join(run.workspace, "hooks", hook), 0o755);
    }
    writeFiles(run.workspace, { "rest/file": "x", ".git/index.lock": "", ".hidden": "x", "-rf": "x" });
    mkdirSync(path.join(run.workspace, "locked/inner"), { recursive: true });
    writeFileSync(path.join(run.workspace, "locked/inner/file"), "");
    for (const name of ["locked/inner", "locked"]) chmodSync(path.join(run.workspace, name), 0);

    const again = await lab.runInside(run, prepareWords(run));
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(filesBelow(run.workspace)).toEqual(["a.txt"]);
    expect(existsSync(marker)).toBe(false);
    expect(plainGit(run.workspace, "rev-parse", "HEAD").trim()).toBe(run.base);
    plainGit(run.workspace, "config", "core.fsmonitor", plants.fsmonitor);
    plainGit(run.workspace, "status");
    expect(existsSync(marker)).toBe(true); // the plant was a real one
  });

  it("leaves line endings and unknown filters to the attributes", async () => {
    const dir = lab.newRepository({ "win.txt": "a\nb\n", "big.bin": "version https://example.invalid/pointer\n", "id.txt": "$Id$\n" });
    writeFiles(dir, { ".gitattributes": "win.txt text eol=crlf\n*.bin filter=lfs diff=lfs merge=lfs -text\nid.txt ident\n" });
    plainGit(dir, "add", ".gitattributes");
    plainGit(dir, "commit", "--quiet", "--message", "Attributes");
    const run = await lab.prepare(dir, { driver });
    expect(readFileSync(path.join(run.workspace, "win.txt"), "utf8")).toBe("a\r\nb\r\n");
    expect(readFileSync(path.join(run.workspace, "big.bin"), "utf8")).toBe("version https://example.invalid/pointer\n");
    expect(readFileSync(path.join(run.workspace, "id.txt"), "utf8")).toMatch(/^\$Id: [0-9a-f]{40} \$\n$/);
    expect(plainGit(run.workspace, "status", "--porcelain")).toBe("");
  });

  it("comes from submodules, shallow clones and SHA-256 too", async () => {
    const inner = lab.newRepository();
    const outer = lab.newRepository();
    plainGit(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner, "sub");
    plainGit(outer, "commit", "--quiet", "--message", "Submodule");
    const withSubmodule = await lab.prepare(outer, { driver });
    expect(lstatSync(path.join(withSubmodule.workspace, "sub")).isDirectory()).toBe(true);
    expect(filesBelow(withSubmodule.workspace)).toEqual([".gitmodules", "README.md"]);

    const shallow = lab.newPath("shallow");
    plainGit(lab.root, "clone", "--quiet", "--depth=1", `file://${outer}`, shallow);
    const fromShallow = await lab.prepare(shallow, { driver });
    expect(plainGit(fromShallow.workspace, "log", "--format=%s")).toBe("Submodule\n");
    expect(plainGit(fromShallow.workspace, "status", "--porcelain")).toBe("");

    const sha256 = lab.newPath("sha256");
    plainShell(
      lab.root,
      'git init --quiet --object-format=sha256 "$1" && cd "$1" && echo a >a && git add a && git commit --quiet -m a',
      sha256,
    );
    expect(filesBelow((await lab.prepare(sha256, { driver })).workspace)).toEqual(["a"]);
  });

  it("ends with a reason where it cannot be made", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    const words = prepareWords({ ...run, base: "1".repeat(40) });
    const result = await lab.runInside(run, words);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/reference is not a tree|unable to read|not a commit/);
    expect(() => prepareWords({ ...run, base: "--orphan" })).toThrow(/is not the full name of a commit/);
    expect(() => prepareWords({ ...run, branch: "--detach" })).toThrow(/is not a branch name/);
  });
});

describe.skipIf(whyNoSandbox !== null)(`in a sandbox${whyNoSandbox === null ? "" : ` (skipped: ${whyNoSandbox})`}`, () => {
  it("works on a cache that it cannot write", async () => {
    const run = await lab.prepare(lab.newRepository());
    const spoil = await lab.runInside(run, ["sh", "-c", 'echo x >"$1/refs/x" || echo x >"$1/objects/x"', "sh", run.cachePath]);
    expect(spoil.code).not.toBe(0);
    expect(spoil.stderr).toMatch(/Read-only file system/);
    const work = await lab.runInside(run, [
      "sh",
      "-c",
      "echo b >b && git add b && git commit --quiet -m b && git gc --quiet && git fsck && git log --format='%s %an'",
    ]);
    expect(work).toMatchObject({ code: 0, stdout: "b Runyard\nFirst Somebody\n" });
  });
});
