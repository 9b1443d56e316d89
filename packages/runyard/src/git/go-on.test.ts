import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sandboxDriver } from "../sandbox/drivers.ts";
import { keepResult, updateCache } from "./cache.ts";
import { branchObstacle, publishBranch } from "./publish.ts";
import { DRIVERS, type GitLab, openGitLab, plainGit, plainShell, type TestRun, writeFiles } from "./testing/lab.ts";
import { PLANTED_FILES, PLANTS } from "./testing/plants.ts";
import { goOnWorkspaceArgv } from "./workspace.ts";
import { isFull } from "../testing/full.ts";

vi.setConfig({ testTimeout: 240_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** The prepare step of a later turn, where the run's agent runs. */
async function goOn(run: TestRun, commit: string): Promise<void> {
  const { workspace } = sandboxDriver(run.driver).pathsInside({ workspace: run.workspace, home: "" });
  const words = goOnWorkspaceArgv({
    cachePath: run.cachePath,
    workspace,
    commit,
    branch: run.branch,
    keep: run.driver !== "process",
  });
  expect(await lab.runInside(run, words)).toMatchObject({ code: 0, stderr: "" });
}

/** A workspace whose first turn was published. */
async function published(driver: TestRun["driver"], files: Readonly<Record<string, string>> = {}): Promise<{ run: TestRun; head: string }> {
  const run = await lab.prepare(lab.newRepository({ "README.md": "# x\n", ".gitignore": "*.log\n", ...files }), { driver });
  writeFiles(run.workspace, { "one.txt": "one\n", "kept.log": "kept\n", "README.md": "# y\n" });
  const { head } = await lab.finish(run);
  return { run, head: head ?? "" };
}

function expectOn({ run, head }: { run: TestRun; head: string }): void {
  expect(plainGit(run.workspace, "rev-parse", "HEAD").trim()).toBe(head);
  expect(plainGit(run.workspace, "symbolic-ref", "HEAD").trim()).toBe(`refs/heads/${run.branch}`);
  expect(plainGit(run.workspace, "status", "--porcelain")).toBe("");
  expect(plainShell(run.workspace, "cat one.txt kept.log README.md")).toBe("one\nkept\n# y\n");
}

describe.each(DRIVERS)("a workspace that is gone on with (%s)", (driver) => {
  it("stands on the commit of the turn before, with its files untouched, and its next commit comes behind it", async () => {
    const { run, head } = await published(driver);
    expect(plainGit(run.workspace, "status", "--porcelain")).not.toBe("");
    await goOn(run, head);
    expectOn({ run, head });
    await goOn(run, head); // once more, as after a crash
    expectOn({ run, head });

    writeFiles(run.workspace, { "two.txt": "two\n" });
    const results = path.join(path.dirname(run.resultsDir), "second");
    mkdirSync(results);
    const { repository, cachePath, branch } = run;
    // The lab publishes to a new branch only: the first turn's stays where it is.
    const second = await lab.finish({ ...run, base: head, resultsDir: results, branch: `${branch}-2` });
    expect(plainGit(repository.root, "rev-parse", `${second.head}~1`).trim()).toBe(head);
    expect(await publishBranch(lab.host, { repository, cachePath, head: second.head ?? "", branch, onto: [head] })).toEqual({
      created: true,
    });
    expect(plainGit(repository.root, "rev-parse", branch).trim()).toBe(second.head);
  });
});

// Without isolation the repository is always a new one.
describe.each(DRIVERS.filter((driver) => driver !== "process"))("a workspace that is gone on with (%s)", (driver) => {
  const broken: readonly (readonly [how: string, script: string])[] = [
    ["was removed", "rm -rf .git"],
    ["is a file", "rm -rf .git; echo gitdir: nowhere >.git"],
    ["is a link to nowhere", "rm -rf .git; ln -s nowhere .git"],
    ["is broken", "echo rubbish >.git/HEAD"],
    ["has lost its objects", "rm -rf .git/objects"],
    ["is locked", ": >.git/index.lock"],
    ["stands elsewhere", "git checkout --quiet --detach && git commit --quiet --allow-empty -m own"],
  ];
  it.each(isFull ? broken : broken.slice(0, 2))("gets a repository where the agent's %s", async (_, script) => {
    const made = await published(driver);
    plainShell(made.run.workspace, script);
    await goOn(made.run, made.head);
    expectOn(made);
  });
});

it.skipIf(!DRIVERS.includes("bwrap"))("an agent's own branches and stashes stay in a sandbox", async () => {
  const made = await published("bwrap");
  plainShell(made.run.workspace, "git branch side; echo s >>README.md; git stash --quiet; echo '# y' >README.md; echo one >one.txt");
  await goOn(made.run, made.head);
  expectOn(made);
  expect(plainGit(made.run.workspace, "branch", "--list", "side")).toContain("side");
  expect(plainGit(made.run.workspace, "stash", "list")).not.toBe("");
});

it("without isolation, nothing that an agent configured is run", async () => {
  const markers = lab.newPath("markers");
  mkdirSync(markers);
  const { run, head } = await published("process", PLANTED_FILES);
  for (const plant of PLANTS) plant.plant(run.workspace, (marker) => `touch ${path.join(markers, marker)}`);
  PLANTS[0]?.careless(run.workspace);
  expect(readdirSync(markers)).toContain(PLANTS[0]?.name); // the control
  for (const name of readdirSync(markers)) rmSync(path.join(markers, name));
  await goOn(run, head);
  expect(readdirSync(markers)).toEqual([]);
});

describe("a branch that is to be moved on", () => {
  it("is in the way where somebody moved it or has it checked out, and not where it is gone or done", async () => {
    const { run, head } = await published("process");
    const { repository, branch } = run;
    const { root } = repository;
    const next = plainGit(root, "commit-tree", `${head}^{tree}`, "-p", head, "-m", "next").trim();
    const obstacle = (): Promise<string | null> => branchObstacle(lab.host, { repository, head: next, branch, onto: [head] });
    expect(await obstacle()).toBeNull();
    plainGit(root, "checkout", "--quiet", branch);
    expect(await obstacle()).toBe("it is checked out");
    plainGit(root, "checkout", "--quiet", "main");
    const other = lab.newPath("worktree");
    plainGit(root, "worktree", "add", "--quiet", other, branch);
    expect(await obstacle()).toBe("it is checked out");
    plainGit(root, "worktree", "remove", other);
    plainGit(root, "branch", "--force", branch, "main");
    expect(await obstacle()).toMatch(/^somebody moved it: it points to [0-9a-f]{10}$/);
    await expect(publishBranch(lab.host, { ...run, head: next, onto: [head] })).rejects.toThrow(/points to/);
    plainGit(root, "branch", "--force", branch, next);
    expect(await obstacle()).toBeNull();
    plainGit(root, "branch", "-D", branch);
    expect(await obstacle()).toBeNull();
  });
});

it("a cache that was lost gets an earlier turn's commit from the repository, or says that nobody has it", async () => {
  const { run, head } = await published("process");
  const { repository, runId } = run;
  const cacheDir = lab.newPath("cache");
  const update = { cacheDir, repository, runId };
  const { cachePath } = await updateCache(lab.host, { ...update, commit: run.base });
  await keepResult(lab.host, { ...update, cachePath, commit: head });
  expect(plainGit(cachePath, "rev-parse", `refs/runyard/result/${runId}`).trim()).toBe(head);
  expect(existsSync(cachePath)).toBe(true);
  await expect(keepResult(lab.host, { ...update, cachePath, commit: "b".repeat(40) })).rejects.toMatchObject({
    code: "repository_not_usable",
    message: expect.stringMatching(/bbbbbbbbbb, is neither in Runyard's cache nor in/) as string,
  });
});
