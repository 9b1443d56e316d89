import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
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
import { isFull } from "../testing/full.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** What a tree holds, by path: kind or permission to execute, and content. */
function contents(dir: string, names = filesBelow(dir)): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const file = path.join(dir, name);
      const found = lstatSync(file);
      const kind = found.isSymbolicLink() ? "link" : (found.mode & 0o100) === 0 ? "file" : "program";
      return [name, `${kind} ${found.isSymbolicLink() ? readlinkSync(file) : readFileSync(file, "base64")}`];
    }),
  );
}

/** The published branch of a run, checked out beside. */
function published(run: TestRun): string {
  const dir = lab.newPath("published");
  plainGit(run.repository.root, "worktree", "add", "--quiet", dir, run.branch);
  return dir;
}

function changedNames(run: TestRun, head: string | null): string[] {
  return plainGit(run.repository.root, "diff", "--no-renames", "--name-status", "-z", run.base, head ?? "")
    .split("\0")
    .filter((part) => part !== "");
}

function codes(outcome: { notices: readonly { code: string }[] }): string[] {
  return outcome.notices.map((notice) => notice.code);
}

describe.each(isFull ? DRIVERS : DRIVERS.slice(0, 1))("what an agent left, as files (%s)", (driver) => {
  it("is published exactly, and the user's repository is left alone", async () => {
    const old = {
      "keep.txt": "keep\n",
      "edit.txt": "old\n",
      "gone.txt": "gone\n",
      "mode.sh": "#!/bin/sh\n",
      "to-link": "file\n",
      "to-dir": "file\n",
      "dir/to-file": "x\n",
      "tracked.log": "tracked\n",
      "same-size": "aaaa\n",
    };
    const dir = lab.newRepository(old);
    writeFiles(dir, { ".gitignore": "*.log\nnode_modules/\n" });
    plainGit(dir, "add", "--all");
    plainGit(dir, "commit", "--quiet", "--message", "Ignore");
    plainGit(dir, "checkout", "--quiet", "-b", "work");
    writeFiles(dir, { "edit.txt": "not committed\n", "staged.txt": "staged\n", untracked: "x" });
    plainGit(dir, "add", "staged.txt");
    const state = (): unknown => [
      readFileSync(path.join(dir, ".git/index"), "base64"),
      contents(dir),
      readFileSync(path.join(dir, ".git/HEAD"), "utf8"),
      readFileSync(path.join(dir, ".git/config"), "utf8"),
      plainGit(dir, "for-each-ref")
        .split("\n")
        .filter((line) => !line.includes("refs/heads/runyard/")),
      readdirSync(path.join(dir, ".git")).toSorted(),
      plainGit(dir, "stash", "list"),
    ];
    const before = state();

    const run = await lab.prepare(dir, { driver });
    const { workspace } = run;
    const binary = Uint8Array.from({ length: 70_000 }, (_, i) => (i * i) % 251);
    writeFiles(workspace, {
      "edit.txt": "new\n",
      "gone.txt": null,
      "tracked.log": "changed though ignored\n",
      "same-size": "bbbb\n",
      "data.bin": binary,
      "size/größe 🦀": "u\n",
      "line\nbreak\n": "n\n",
      "quo'te\" \\ $(x) --opt": "q\n",
      "-rf": "x",
      ":(top)magic": "m\n",
      "tab\there": "t\n",
      empty: "",
      "noise.log": "ignored\n",
      "node_modules/x/index.js": "ignored\n",
      "sub/.gitignore": "local\n",
      "sub/local": "ignored\n",
      "to-link": null,
      "to-dir": null,
      dir: null,
      ".hidden": "h\n",
      ".github/workflows/x.yml": "x\n",
      "runyard-nested": "x\n",
    });
    writeFiles(workspace, { dir: "was a directory\n", "to-dir/inner": "i\n" });
    plainShell(workspace, 'printf x >"$(printf "latin-\\351")"; mkfifo pipe; mkdir empty-dir');
    chmodSync(path.join(workspace, "mode.sh"), 0o755);
    symlinkSync("/etc/passwd", path.join(workspace, "to-link"));
    symlinkSync("../..", path.join(workspace, "up"));
    symlinkSync("node_modules", path.join(workspace, "link-to-ignored"));
    linkSync(path.join(workspace, "keep.txt"), path.join(workspace, "second-name"));
    const expected = contents(
      workspace,
      filesBelow(workspace).filter((name) => !/^(noise\.log|node_modules|sub\/local|pipe)/.test(name) && !name.startsWith("latin")),
    );

    const outcome = await lab.finish(run);
    expect(outcome).toMatchObject({ notices: [], created: true });
    const tree = published(run);
    expect(
      contents(
        tree,
        filesBelow(tree).filter((name) => !name.startsWith("latin")),
      ),
    ).toEqual(expected);
    expect(plainGit(tree, "-c", "core.quotePath=true", "ls-files", "latin*")).toBe('"latin-\\351"\n');
    expect(plainGit(tree, "log", "--format=%an %ae %cn %ce%n%B", "-1")).toBe(
      `Runyard bot@runyard.invalid Runyard bot@runyard.invalid\nDo it\n\nRunyard-Run: ${run.runId}\n\n`,
    );
    expect(plainGit(tree, "log", "-1", "--format=%(trailers:key=Runyard-Run,valueonly)").trim()).toBe(run.runId);
    expect(plainGit(tree, "rev-parse", "HEAD~1").trim()).toBe(run.base);
    plainGit(dir, "worktree", "remove", "--force", tree);
    plainGit(dir, "worktree", "prune");
    rmSync(path.join(dir, ".git/worktrees"), { recursive: true, force: true });
    expect(state()).toEqual(before);
    // The workspace stays as it was, for a next turn.
    expect(plainGit(workspace, "rev-parse", "HEAD").trim()).toBe(run.base);
    expect(filesBelow(run.resultsDir).filter((file) => !/(^|\/)result\.(bundle|json)$/.test(file))).toEqual([]);
  });

  it("makes no branch when nothing has changed, not even after a touch", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", "b/c.txt": "c\n" });
    const run = await lab.prepare(dir, { driver });
    utimesSync(path.join(run.workspace, "a.txt"), 1, 1);
    chmodSync(path.join(run.workspace, "b/c.txt"), 0o600);
    mkdirSync(path.join(run.workspace, "empty"));
    expect(await lab.finish(run)).toEqual({ head: null, notices: [], stat: null, created: false });
    expect(filesBelow(run.resultsDir).filter((file) => file.endsWith("result.bundle"))).toEqual([]);
    expect(plainGit(dir, "branch", "--list", "runyard/*")).toBe("");
  });

  it("can be deletions only, of everything", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", "b/c.txt": "c\nd\n" });
    const run = await lab.prepare(dir, { driver });
    writeFiles(run.workspace, { "a.txt": null, b: null });
    const outcome = await lab.finish(run);
    expect(outcome.stat).toEqual({ filesChanged: 2, insertions: 0, deletions: 3 });
    expect(plainGit(dir, "ls-tree", "-r", run.branch)).toBe("");
  });

  it("can be repeated after each step", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    writeFiles(run.workspace, { "new.txt": "x\n" });
    const first = await lab.finish(run);
    expect(first.created).toBe(true);
    if (driver === "process") expect(await lab.finish(run)).toEqual({ ...first, created: false });
    // A sandboxed commit is done again where one was killed in the middle: of its result, or of packing it.
    else
      for (const [name, text] of Object.entries({
        "result.json": '{"changed":tr',
        "result.bundle.draft": "# v2",
        "result.bundle.draft.lock": "# v2",
      }))
        writeFileSync(path.join(run.resultsDir, name), text);
    const results = await lab.commit(run);
    expect(JSON.parse(readFileSync(path.join(results, "result.json"), "utf8"))).toMatchObject({ changed: true });
  });

  const itCopies = driver === "process" ? it : (): void => undefined;
  itCopies("is the same for all who make it at once: a server that was taken for dead may still be at work", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    writeFiles(run.workspace, Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`new-${i}.txt`, `${i}\n`])));
    const messages = ["One\n", "Two\n", "Three\n", "Four\n"];
    const results = await Promise.all(messages.map((message) => lab.commit(run, message)));
    expect(new Set(results).size).toBe(1);
    expect(readdirSync(run.resultsDir)).toEqual(["copied"]);
    const heads = await Promise.all([lab.finish(run), lab.finish(run)]);
    expect(heads[0]?.head).toBe(heads[1]?.head);
  });

  it("keeps line endings that nobody touched, and follows the attributes for the rest", async () => {
    const crlf = Object.fromEntries(["a", "b", "c", "d"].map((name) => [`${name}.txt`, `${name}\r\nline\r\n`]));
    const dir = lab.newRepository({ ...crlf, "lf.txt": "x\n", "id.c": "$Id: by hand $\n", "auto.md": "m\r\n", "line\nbreak.txt": "q\r\n" });
    writeFiles(dir, { ".gitattributes": "*.txt text eol=crlf\n*.c ident\n*.md text=auto\n*.xyz filter=unknown\n" });
    plainGit(dir, "add", ".gitattributes");
    plainGit(dir, "commit", "--quiet", "--message", "Attributes");
    const untouched = await lab.prepare(dir, { driver });
    expect(
      plainShell(untouched.workspace, "touch *.txt; git status --porcelain")
        .split("\n")
        .filter((line) => line.startsWith(" M")),
    ).not.toEqual([]); // what plain git makes of it
    expect((await lab.finish(untouched)).head).toBeNull();

    const run = await lab.prepare(dir, { driver });
    writeFiles(run.workspace, { "b.txt": "b\r\nchanged\r\n", "new.txt": "n\r\n", "new.xyz": "raw\r\n" });
    chmodSync(path.join(run.workspace, "c.txt"), 0o755);
    const { head, notices } = await lab.finish(run);
    expect(notices).toEqual([]);
    expect(changedNames(run, head)).toEqual(["M", "b.txt", "M", "c.txt", "A", "new.txt", "A", "new.xyz"]);
    const blob = (name: string): string => plainGit(dir, "cat-file", "blob", `${head}:${name}`);
    expect([blob("b.txt"), blob("new.txt"), blob("new.xyz"), blob("a.txt")]).toEqual(["b\nchanged\n", "n\n", "raw\r\n", "a\r\nline\r\n"]);
  });

  it("keeps bytes where a file is not in the encoding that it should have, and says so", async () => {
    const dir = lab.newRepository({ ".gitattributes": "*.u16 working-tree-encoding=UTF-16\n" });
    const run = await lab.prepare(dir, { driver });
    writeFiles(run.workspace, { "plain.u16": "not UTF-16 at all\n", "other.txt": "o\n" });
    const { head, notices } = await lab.finish(run);
    expect(notices).toEqual([{ code: "encoding-ignored", message: expect.stringMatching(/: BOM is required in 'plain\.u16'/) as string }]);
    expect(plainGit(dir, "cat-file", "blob", `${head}:plain.u16`)).toBe("not UTF-16 at all\n");
  });

  it("says which files cannot be kept in git, and keeps all others", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    writeFiles(run.workspace, { "git~1/config": "x", "sub/.GIT": "x", ".g\u200cit/config": "x", "fine.txt": "x\n" });
    const outcome = await lab.finish(run);
    expect(changedNames(run, outcome.head)).toEqual(["A", "fine.txt"]);
    expect(outcome.notices.map((notice) => notice.code)).toContain("files-not-added");
    const said = outcome.notices.map((notice) => notice.message).join("\n");
    expect(said).toContain("git~1/config");
    expect(said).toContain("sub/.GIT");
  });

  it("leaves submodules as they are, and says so when files were put there", async () => {
    const inner = lab.newRepository();
    const dir = lab.newRepository();
    plainGit(dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner, "vendor/sub");
    plainGit(dir, "commit", "--quiet", "--message", "Submodule");
    const gitlink = plainGit(dir, "rev-parse", "HEAD:vendor/sub").trim();
    for (const fill of [
      "echo x >vendor/sub/file",
      'git clone --quiet "$1" vendor/sub && cd vendor/sub && echo y >y && git add y && git commit --quiet -m y',
    ]) {
      const run = await lab.prepare(dir, { driver });
      plainShell(run.workspace, fill, inner);
      writeFiles(run.workspace, { "other.txt": "o\n" });
      const outcome = await lab.finish(run);
      expect(codes(outcome).filter((code) => code !== "nested-repository")).toEqual(["submodule-files-left-out"]);
      expect(outcome.notices.at(-1)?.message ?? "").toContain("vendor/sub");
      expect(plainGit(dir, "rev-parse", `${outcome.head}:vendor/sub`).trim()).toBe(gitlink);
      expect(changedNames(run, outcome.head)).toEqual(["A", "other.txt"]);
    }
  });

  it("takes away a submodule that the agent has removed, and only then", async () => {
    const dir = lab.newRepository();
    plainGit(dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", lab.newRepository(), "sub");
    plainGit(dir, "commit", "--quiet", "--message", "Submodule");
    const run = await lab.prepare(dir, { driver });
    writeFiles(run.workspace, { "other.txt": "o\n" });
    const kept = await lab.finish(run);
    expect(changedNames(run, kept.head)).toEqual(["A", "other.txt"]);
    const again = await lab.prepare(dir, { driver });
    rmSync(path.join(again.workspace, "sub"), { recursive: true });
    expect(changedNames(again, (await lab.finish(again)).head)).toEqual(["D", "sub"]);
  });
});

describe.each(DRIVERS)("repositories inside of a workspace (%s)", (driver) => {
  const NESTED = `
    mkdir -p lib/inner node_modules/dep ignored-repo src empty
    for dir in lib lib/inner node_modules/dep ignored-repo src "odd
name"; do git init --quiet "$dir"; echo "$dir" >"$dir/file"; done
    git -C lib add file && git -C lib commit --quiet -m lib
    git init --quiet empty/repo
    mkdir linked && echo linked >linked/file && echo "gitdir: ../lib/.git" >linked/.git
    mkdir pointer && echo pointer >pointer/file && ln -s ../lib/.git pointer/.git`;

  it("are published as files, their history stays where it is, and it is said", async () => {
    const dir = lab.newRepository({ ".gitignore": "node_modules/\nignored-repo\n", "src/a.c": "a\n" });
    const run = await lab.prepare(dir, { driver });
    plainShell(run.workspace, NESTED);
    const gitDirs = (): string =>
      plainShell(
        run.workspace,
        'find . -name "*.git" -o -name ".runyard*" -o -path "*/.git/HEAD" -o -path "*/.git/runyard*" | sort; cat linked/.git; readlink pointer/.git',
      );
    const before = gitDirs();
    const { head, notices } = await lab.finish(run);
    expect(changedNames(run, head)).toEqual(
      ["lib/file", "lib/inner/file", "linked/file", "odd\nname/file", "pointer/file", "src/file"].flatMap((name) => ["A", name]),
    );
    expect(plainGit(dir, "ls-tree", "-r", head ?? "")).not.toContain("160000");
    expect(notices).toEqual([
      { code: "nested-repository", message: expect.stringContaining("their files are in the result, their history is not") as string },
    ]);
    expect(notices[0]?.message.split(": ").at(-1)?.split(", ").toSorted()).toEqual([
      "lib",
      "lib/inner",
      "linked",
      "odd name",
      "pointer",
      "src",
    ]);
    expect(gitDirs()).toBe(before);
  });
});

describe.skipIf(whyNoSandbox !== null)(`a commit in a sandbox${whyNoSandbox === null ? "" : ` (skipped: ${whyNoSandbox})`}`, () => {
  it("keeps what cannot be read as it was, and says so", async () => {
    const run = await lab.prepare(lab.newRepository({ "a.txt": "a\n", "dir/b.txt": "b\n", "c.txt": "c\n" }));
    writeFiles(run.workspace, { "a.txt": "changed\n", "new.txt": "n\n", "secret.txt": "s\n", "shut/repo/f": "f\n", "c.txt": "changed\n" });
    plainGit(path.join(run.workspace, "shut/repo"), "init", "--quiet");
    for (const name of ["a.txt", "secret.txt", "dir"]) chmodSync(path.join(run.workspace, name), 0);
    chmodSync(path.join(run.workspace, "shut/repo"), 0o500);
    const { head, notices } = await lab.finish(run);
    expect(changedNames(run, head)).toEqual(["M", "c.txt", "A", "new.txt"]);
    expect(notices.map((notice) => notice.code).toSorted()).toEqual(["files-not-added", "files-not-added"].slice(0, notices.length));
    const said = notices.map((notice) => notice.message).join("\n");
    for (const name of ["a.txt", "secret.txt", "shut/repo"]) expect(said).toContain(name);
  });

  it("puts nested repositories back where an earlier try was killed", async () => {
    const run = await lab.prepare(lab.newRepository());
    for (const name of ["one", "two", "three"]) {
      mkdirSync(path.join(run.workspace, name));
      plainShell(path.join(run.workspace, name), "git init --quiet && echo x >f && git add f && git commit --quiet -m x");
    }
    const at = (name: string): string => path.join(run.workspace, name);
    // Three moments at which a kill can come.
    mkdirSync(at("one/.runyard-wrapped"));
    mkdirSync(at("two/.runyard-wrapped"));
    renameSync(at("two/.git"), at("two/.runyard-wrapped/runyard-nested"));
    mkdirSync(at("three/.runyard-wrapped"));
    renameSync(at("three/.git"), at("three/.runyard-wrapped/runyard-nested"));
    renameSync(at("three/.runyard-wrapped"), at("three/.git"));
    writeFiles(run.resultsDir, { ".work/nested": "" });
    const { notices } = await lab.finish(run);
    expect(notices[0]?.message).toMatch(/: one, three, two$/);
    for (const name of ["one", "two", "three"]) {
      expect(plainGit(at(name), "log", "--format=%s").trim()).toBe("x");
      expect(readdirSync(at(name)).toSorted()).toEqual([".git", "f"]);
    }
  });

  it("takes big files as streams", async () => {
    const run = await lab.prepare(lab.newRepository());
    writeFileSync(path.join(run.workspace, "huge"), "");
    truncateSync(path.join(run.workspace, "huge"), 64 << 20);
    const { head } = await lab.finish(run);
    expect(plainGit(run.repository.root, "cat-file", "-s", `${head}:huge`).trim()).toBe(String(64 << 20));
    expect(statSync(path.join(run.resultsDir, "result.bundle")).size).toBeLessThan(4 << 20);
  });
});
