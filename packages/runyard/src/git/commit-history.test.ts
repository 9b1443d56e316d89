import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  DRIVERS,
  type GitLab,
  openGitLab,
  plainGit,
  plainShell,
  type TestOutcome,
  type TestRun,
  whyNoSandbox,
  writeFiles,
} from "./testing/lab.ts";
import { fullTest } from "../testing/full.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** Commits of a result, newest first: subject and author. */
function log(run: TestRun, outcome: TestOutcome): string[] {
  return plainGit(run.repository.root, "log", "--format=%s, %an", `${run.base}..${outcome.head}`).trim().split("\n");
}

function names(run: TestRun, outcome: TestOutcome): string[] {
  return plainGit(run.repository.root, "ls-tree", "-r", "--name-only", outcome.head ?? "")
    .trim()
    .split("\n");
}

function codes(outcome: TestOutcome): string[] {
  return outcome.notices.map((notice) => notice.code);
}

const THREE = { "a.txt": "a\n", "b.txt": "b\n", "c.txt": "c\n" };

/** Lets an agent of a new run do something with shell, and publishes it. `$branch` is the run's, `$base` where it started. */
async function after(script: string, files: Record<string, string> = THREE): Promise<{ run: TestRun; outcome: TestOutcome }> {
  const dir = lab.newRepository(files);
  plainGit(dir, "commit", "--quiet", "--allow-empty", "--message", "Second");
  const run = await lab.prepare(dir);
  plainShell(run.workspace, `branch=$1 base=$2; set -e; ${script}`, run.branch, run.base);
  return { run, outcome: await lab.finish(run) };
}

const RUNYARD = "Do it, Runyard";

describe.skipIf(whyNoSandbox !== null)(`an agent's own commits${whyNoSandbox === null ? "" : ` (skipped: ${whyNoSandbox})`}`, () => {
  it("are kept, with what it did not commit on top", async () => {
    const { run, outcome } = await after(
      "echo 1 >one; git add one; git commit -qm One; echo 2 >two; git add two; git commit -qm Two; echo 3 >three; git add three",
    );
    expect(log(run, outcome)).toEqual([RUNYARD, "Two, Somebody", "One, Somebody"]);
    expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "one", "three", "two"]);
    expect(outcome.notices).toEqual([]);
  });

  it("are the result where nothing was left over", async () => {
    const { run, outcome } = await after("git rm -q a.txt; git commit -qm Remove");
    expect(log(run, outcome)).toEqual(["Remove, Somebody"]);
    expect(outcome.head).toBe(plainGit(run.workspace, "rev-parse", "HEAD").trim());
  });

  it("count wherever the agent has gone: another branch, a detached head, a merge", async () => {
    const branched = await after("git switch -qc feature; echo 1 >one; git add one; git commit -qm One");
    expect(log(branched.run, branched.outcome)).toEqual(["One, Somebody"]);
    expect(branched.outcome.notices).toEqual([]);
    const detached = await after(
      "git checkout -q --detach; git branch -qD $branch; echo 1 >one; git add one; git commit -qm One; echo rest >rest",
    );
    expect(log(detached.run, detached.outcome)).toEqual([RUNYARD, "One, Somebody"]);
    const merged = await after(
      "git switch -qc side $base~1; echo 1 >one; git add one; git commit -qm Side; git switch -q $branch; git merge -q --no-edit side; git branch -qd side",
    );
    expect(log(merged.run, merged.outcome).toSorted()).toEqual([
      "Merge branch 'side' into " + merged.run.branch + ", Somebody",
      "Side, Somebody",
    ]);
    expect(merged.outcome.notices).toEqual([]);
  });

  it("are named where they are not part of the result", async () => {
    const { run, outcome } = await after(
      "git switch -qc spare; echo 1 >one; git add one; git commit -qm One; git switch -q $branch; echo s >a.txt; git stash -q; echo two >two",
    );
    expect(log(run, outcome)).toEqual([RUNYARD]);
    expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "two"]);
    expect(outcome.notices).toEqual([
      {
        code: "commits-left-out",
        message: "The agent left commits that are not part of what it had checked out; they are not in the result: spare, stash",
      },
    ]);
  });

  it("make no result where the files are as before", async () => {
    const { outcome } = await after("git commit -q --allow-empty -m Nothing");
    expect(outcome).toMatchObject({ head: null, created: false });
    expect(codes(outcome)).toEqual(["commits-without-effect"]);
  });

  it("give way to one commit on the base where history was rewritten", async () => {
    const rewrites = {
      amended: "echo x >x; git add x; git commit -q --amend -m Amended",
      orphan: "git checkout -q --orphan fresh; git rm -q --cached a.txt; echo x >x; git add x; git commit -qm Fresh",
      reset: "git reset -q --hard $base~1; echo x >x; git add x; git commit -qm Older",
      squashed: "git checkout -q --detach $(git commit-tree -m All HEAD^{tree}); echo x >x; git add x; git commit -qm More",
    };
    for (const script of Object.values(rewrites)) {
      const { run, outcome } = await after(script);
      expect(log(run, outcome)).toEqual([RUNYARD]);
      expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "x"]);
      expect(codes(outcome)).toContain("history-rewritten");
    }
  });

  it("cannot pretend to go on from the base by replacing or grafting", async () => {
    const { run, outcome } = await after(
      "new=$(git commit-tree -m Unrelated HEAD^{tree}); git replace --graft $new $base; git checkout -q --detach $new; echo x >x",
    );
    expect(log(run, outcome)).toEqual([RUNYARD]);
    expect(codes(outcome)).toContain("history-rewritten");
  });

  fullTest("do not matter where the agent's repository is broken or gone", async () => {
    const breaks = {
      gone: "rm -rf .git",
      file: "rm -rf .git; echo nonsense >.git",
      redirect: "mv .git ../elsewhere-$$; echo gitdir: ../elsewhere-$$ >.git",
      pipe: "rm -rf .git; mkfifo .git",
      link: "rm -rf .git; ln -s /nonexistent .git",
      head: "echo nonsense >.git/HEAD",
      unborn: "git checkout -q --orphan fresh; git rm -rfq --cached .",
      config: "echo '[core' >.git/config",
      version: "git config core.repositoryformatversion 99",
      include: "mkfifo .git/pipe; git config include.path pipe",
      objects:
        "git config user.name x; echo 1 >one; git add one; git commit -qm One; find .git/objects -type f ! -name alternates -exec chmod u+w {} + -exec sh -c 'for f do echo broken >$f; done' sh {} +",
      alternates: "rm .git/objects/info/alternates",
      index: "echo broken >.git/index; echo x >.git/index.lock",
    };
    const outcomes = await Promise.all(
      Object.entries(breaks).map(async ([name, script]) => ({ name, ...(await after(`${script}; echo x >x; rm a.txt`)) })),
    );
    for (const { name, run, outcome } of outcomes) {
      expect([name, log(run, outcome), names(run, outcome).filter((file) => file !== "one")]).toEqual([
        name,
        [RUNYARD],
        ["b.txt", "c.txt", "x"],
      ]);
      expect([name, codes(outcome)]).toEqual([name, name === "index" ? [] : ["history-unreadable"]]);
    }
  });

  it("give way where git's own checks refuse them", async () => {
    const { run, outcome } = await after(
      `tree=$(printf '040000 tree %s\\t.GIT\\n' $(git rev-parse HEAD^{tree}) | git mktree); git reset -q --soft $(git commit-tree -p HEAD -m Bad $tree); echo x >x`,
    );
    expect(log(run, outcome)).toEqual([RUNYARD]);
    expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "x"]);
    expect(codes(outcome)).toContain("history-unreadable");
    const noDate = await after(
      `c=$( { printf 'tree %s\\nparent %s\\nauthor A <a@b> x\\ncommitter A <a@b> x\\n\\nBad\\n' $(git rev-parse HEAD^{tree}) $base; } | git hash-object -t commit -w --stdin --literally); git reset -q --soft $c; echo x >x`,
    );
    expect(log(noDate.run, noDate.outcome)).toEqual([RUNYARD]);
    expect(codes(noDate.outcome)).toContain("history-unreadable");
  });

  it("cannot hide files: what the agent configured for its own git does not count", async () => {
    const hiding = {
      assumed: "git update-index --assume-unchanged a.txt; echo new >a.txt",
      skipped: "git update-index --skip-worktree a.txt; echo new >a.txt",
      excluded: "mkdir -p .git/info; echo x >.git/info/exclude; echo new >a.txt",
      sparse: "git sparse-checkout set --no-cone /b.txt 2>/dev/null; echo new >a.txt; echo c >c.txt",
      worktree: "mkdir other; git config core.worktree other; echo new >a.txt; rmdir other",
      bare: "git config core.bare true; echo new >a.txt",
      modes: "git config core.fileMode false; echo new >a.txt",
      global:
        "git config core.excludesFile .git/none; git config core.attributesFile .git/none; git config status.showUntrackedFiles no; echo new >a.txt",
    };
    const outcomes = await Promise.all(
      Object.entries(hiding).map(async ([name, script]) => ({ name, ...(await after(`${script}; echo x >x`)) })),
    );
    for (const { name, run, outcome } of outcomes) {
      expect([name, names(run, outcome)]).toEqual([name, ["a.txt", "b.txt", "c.txt", "x"]]);
      expect(plainGit(run.repository.root, "cat-file", "blob", `${outcome.head}:a.txt`)).toBe("new\n");
    }
  });

  it("keep what the agent added although it is ignored", async () => {
    const { run, outcome } = await after(
      "echo '*.log' >.gitignore; echo 1 >one.log; git add -f one.log; git add .gitignore; git commit -qm Log; echo 2 >two.log; git add -f two.log; echo 3 >three.log",
    );
    expect(names(run, outcome)).toEqual([".gitignore", "a.txt", "b.txt", "c.txt", "one.log", "two.log"]);
  });

  it("turn a repository that was committed as a mere reference into its files", async () => {
    const { run, outcome } = await after(
      "git init -q lib; echo l >lib/l; git -C lib add l; git -C lib commit -qm L; git add . 2>/dev/null; git commit -qm Lib; git ls-tree HEAD | grep -q 160000",
    );
    expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "lib/l"]);
    expect(log(run, outcome)).toEqual([RUNYARD, "Lib, Somebody"]);
    expect(codes(outcome)).toEqual(["nested-repository"]);
  });

  it("work in the middle of a merge and of a rebase", async () => {
    const conflict =
      "git switch -qc side; echo side >a.txt; git commit -qam Side; git switch -q $branch; echo main >a.txt; git commit -qam Main;";
    const merging = await after(`${conflict} git merge -q side >/dev/null || true`);
    expect(plainGit(merging.run.repository.root, "cat-file", "blob", `${merging.outcome.head}:a.txt`)).toMatch(/^<<<<<<< HEAD\nmain\n/);
    expect(log(merging.run, merging.outcome)).toEqual([RUNYARD, "Main, Somebody"]);
    expect(codes(merging.outcome)).toEqual(["commits-left-out"]);
    const rebasing = await after(`${conflict} git rebase -q side >/dev/null 2>&1 || true; echo solved >a.txt`);
    expect(log(rebasing.run, rebasing.outcome)).toEqual([RUNYARD, "Side, Somebody"]);
  });
});

describe.each(DRIVERS)("a message (%s)", (driver) => {
  it("is data, whatever is in it", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    const message = `$(touch x) \`y\` "quoted" 'it' \\ größe 🦀\n# not a comment\n\n${"long ".repeat(40_000)}`;
    writeFiles(run.workspace, { "new.txt": "x\n" });
    const results = await lab.commit(run, message);
    const head = (JSON.parse(readFileSync(path.join(results, "result.json"), "utf8")) as { head: string }).head;
    plainGit(run.repository.root, "fetch", "--quiet", path.join(results, "result.bundle"), run.branch);
    const kept = plainGit(run.repository.root, "log", "-1", "--format=%B", head).trimEnd();
    expect(message.startsWith(kept)).toBe(true);
    expect(kept.length).toBeGreaterThan(60_000);
    expect(readdirSync(run.workspace).toSorted()).toEqual([".git", "README.md", "new.txt"]);
  });
});

describe("a workspace that no sandbox held", () => {
  it("gives one commit, whatever the agent's repository says", async () => {
    const scripts = [
      "echo 1 >one; git add one; git commit -qm One; echo 2 >two",
      "git checkout -q --orphan fresh; echo 1 >one; git add one; git commit -qm Fresh; echo 2 >two",
      "rm -rf .git; echo 1 >one; echo 2 >two",
      "git update-index --assume-unchanged a.txt; echo 1 >one; echo 2 >two",
    ];
    for (const script of scripts) {
      const run = await lab.prepare(lab.newRepository(THREE), { driver: "process" });
      plainShell(run.workspace, script);
      const outcome = await lab.finish(run);
      expect(log(run, outcome)).toEqual([RUNYARD]);
      expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "one", "two"]);
      expect(outcome.notices).toEqual([]);
    }
  });

  it("is not looked for in a repository above it", async () => {
    const above = lab.newRepository();
    const run = await lab.prepare(lab.newRepository(THREE), { driver: "process" });
    rmSync(path.join(run.workspace, ".git"), { recursive: true });
    writeFileSync(path.join(run.workspace, "x"), "x\n");
    // The home of a server may well lie below somebody's repository.
    plainShell(lab.root, "git init -q . && git config core.fsmonitor 'touch ran-above' && git config core.worktree /");
    try {
      const outcome = await lab.finish(run);
      expect(names(run, outcome)).toEqual(["a.txt", "b.txt", "c.txt", "x"]);
      expect(readdirSync(lab.root)).not.toContain("ran-above");
      expect((await lab.prepare(above)).base).toBe(plainGit(above, "rev-parse", "HEAD").trim());
    } finally {
      rmSync(path.join(lab.root, ".git"), { recursive: true });
    }
  });
});
