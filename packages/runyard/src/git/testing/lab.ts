import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Mount } from "../../sandbox/driver.ts";
import { type PlainDriverName, sandboxDriver } from "../../sandbox/drivers.ts";
import { openSpawner } from "../../sandbox/spawner.ts";
import { runStep, type StepResult } from "../../sandbox/step.ts";
import { updateCache } from "../cache.ts";
import type { GitHost } from "../host-git.ts";
import { inspectLocal, type LocalRepository } from "../local-repository.ts";
import { commitArgv, copyTreeForCommit, diffStat, type DiffStat, importResult, publishBranch, type ResultNotice } from "../publish.ts";
import { prepareWorkspaceArgv } from "../workspace.ts";

const PROGRAMS = fileURLToPath(new URL("../../sandbox/programs/", import.meta.url));
const STEP_TIMEOUT_MS = 120_000;

const bwrap = await sandboxDriver("bwrap").probe();
/** The drivers that work here; `whyNoSandbox` says why one is missing. */
export const DRIVERS: readonly PlainDriverName[] = bwrap.available ? ["bwrap", "process"] : ["process"];
export const whyNoSandbox: string | null = bwrap.reason;

/** The environment of the people and agents of a test: plain git, with an identity and nothing else. */
const PLAIN_ENV = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_COUNT: "1",
  GIT_CONFIG_KEY_0: "safe.directory", // a test may be about a repository of another user
  GIT_CONFIG_VALUE_0: "*",
  GIT_AUTHOR_NAME: "Somebody",
  GIT_AUTHOR_EMAIL: "somebody@example.invalid",
  GIT_COMMITTER_NAME: "Somebody",
  GIT_COMMITTER_EMAIL: "somebody@example.invalid",
  LC_ALL: "C.UTF-8",
};

/** Runs plain git, as people do, and gives its stdout. */
export function plainGit(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, env: PLAIN_ENV, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 28 });
}

/** The same, whether it succeeds or not. */
export function plainGitMayFail(cwd: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync("git", args, { cwd, env: PLAIN_ENV, encoding: "utf8" });
}

export function plainShell(cwd: string, script: string, ...args: string[]): string {
  return execFileSync("sh", ["-c", script, "sh", ...args], { cwd, env: PLAIN_ENV, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Files by path; null is a file to remove. */
export function writeFiles(root: string, files: Readonly<Record<string, string | Uint8Array | null>>): void {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    if (content === null) rmSync(file, { recursive: true });
    else writeFileSync(file, content);
  }
}

/** A run in the hands of a test. */
export interface TestRun {
  readonly driver: PlainDriverName;
  readonly runId: string;
  readonly repository: LocalRepository;
  readonly cachePath: string;
  /** On the host. */
  readonly workspace: string;
  readonly resultsDir: string;
  readonly base: string;
  readonly branch: string;
}

export interface TestOutcome {
  readonly head: string | null;
  readonly notices: readonly ResultNotice[];
  readonly stat: DiffStat | null;
  readonly created: boolean;
}

export interface GitLab {
  readonly root: string;
  readonly host: GitHost;
  readonly cacheDir: string;
  /** A path that is not used yet. */
  newPath(name?: string): string;
  /** A repository of a user with one commit of these files. */
  newRepository(files?: Readonly<Record<string, string | Uint8Array>>): string;
  /** From a repository to a workspace, as the runner does it. */
  prepare(repository: string, options?: { driver?: PlainDriverName; branch?: string }): Promise<TestRun>;
  /** Runs words where the agent of a run runs. */
  runInside(run: TestRun, argv: readonly string[], mounts?: readonly Mount[]): Promise<StepResult>;
  /** The commit step alone, as the runner does it. Returns the folder with the result. */
  commit(run: TestRun, message?: string): Promise<string>;
  /** From a workspace to a branch of the repository, as the runner does it. */
  finish(run: TestRun): Promise<TestOutcome>;
  close(): Promise<void>;
}

/** A run's place in a sandbox, and how to run words in it. */
async function runSandboxed(
  lab: { host: GitHost; newPath: (name?: string) => string },
  run: TestRun,
  step: { argv: readonly string[]; mounts: readonly Mount[] },
): Promise<StepResult> {
  const driver = sandboxDriver(run.driver);
  const home = lab.newPath("home");
  mkdirSync(home);
  const prepared = await driver.prepare({
    dirs: { workspace: run.workspace, home },
    argv: step.argv,
    env: {},
    mounts: step.mounts,
    writableWorkspace: true,
    gatewayDoorDir: null,
    limits: { memoryBytes: null, cpus: null, pids: null, diskBytes: null },
    name: `git-test-${process.pid}-${path.basename(home)}`,
  });
  return runStep({ spawner: lab.host.spawner, dir: lab.newPath("step"), launch: prepared.launch, timeoutMs: STEP_TIMEOUT_MS });
}

function requireSuccess(result: StepResult): void {
  if (result.code !== 0) throw new Error(`the step ended with ${result.code}: ${result.stderr}`);
}

/** Directories that nobody may enter, as an agent can leave them, would keep `rm` from its work. */
function removeAll(root: string): void {
  if (!existsSync(root)) return;
  spawnSync("chmod", ["-R", "u+rwX", root]);
  rmSync(root, { recursive: true, force: true, maxRetries: 3 });
}

function makeRepository(dir: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  mkdirSync(dir);
  plainGit(dir, "init", "--quiet", "--initial-branch=main");
  writeFiles(dir, files);
  plainGit(dir, "add", "--all");
  plainGit(dir, "commit", "--quiet", "--message", "First");
}

export async function openGitLab(): Promise<GitLab> {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-git-")));
  const spawner = await openSpawner({
    dir: path.join(root, "spawner"),
    spawnerProgram: path.join(PROGRAMS, "spawner.sh"),
    shimProgram: path.join(PROGRAMS, "shim.sh"),
  });
  const host: GitHost = { spawner, stepsDir: path.join(root, "steps") };
  const cacheDir = path.join(root, "cache");
  let count = 0;
  const newPath = (name = "place"): string => path.join(root, `${name}-${(count += 1)}`);
  const place = { host, newPath };

  const newRepository: GitLab["newRepository"] = (files = { "README.md": "# Test\n" }) => {
    const dir = newPath("repository");
    makeRepository(dir, files);
    return dir;
  };

  const prepare: GitLab["prepare"] = async (repositoryDir, { driver = "bwrap", branch } = {}) => {
    const runId = `run_${String((count += 1)).padStart(26, "0")}`;
    const dir = newPath("attempt");
    const [workspace, resultsDir] = [path.join(dir, "workspace"), path.join(dir, "results")];
    for (const one of [workspace, resultsDir]) mkdirSync(one, { recursive: true, mode: 0o700 });
    const repository = await inspectLocal(host, repositoryDir, branch);
    const { cachePath } = await updateCache(host, { cacheDir, repository, commit: repository.commit, runId });
    const run: TestRun = {
      driver,
      runId,
      repository,
      cachePath,
      workspace,
      resultsDir,
      base: repository.commit,
      branch: `runyard/${runId}`,
    };
    const inside = sandboxDriver(driver).pathsInside({ workspace, home: workspace }).workspace;
    const argv = prepareWorkspaceArgv({ cachePath, workspace: inside, commit: run.base, branch: run.branch });
    requireSuccess(await runSandboxed(place, run, { argv, mounts: [{ source: cachePath, target: cachePath, mode: "ro" }] }));
    return run;
  };

  const runInside: GitLab["runInside"] = (run, argv, mounts = []) =>
    runSandboxed(place, run, { argv, mounts: [{ source: run.cachePath, target: run.cachePath, mode: "ro" }, ...mounts] });

  const commit: GitLab["commit"] = async (run, message = `Do it\n\nRunyard-Run: ${run.runId}\n`) => {
    const { workspace, resultsDir, cachePath, base, branch } = run;
    if (run.driver === "process") return copyTreeForCommit(host, { workspace, cachePath, base, branch, message, resultsDir });
    const inside = sandboxDriver(run.driver).pathsInside({ workspace, home: workspace }).workspace;
    const argv = commitArgv({ workspace: inside, commit: base, branch, message, resultsDir, cachePath });
    const mounts: Mount[] = [
      { source: cachePath, target: cachePath, mode: "ro" },
      { source: resultsDir, target: resultsDir, mode: "rw" },
    ];
    requireSuccess(await runSandboxed(place, run, { argv, mounts }));
    return resultsDir;
  };

  const finish: GitLab["finish"] = async (run) => {
    const { cachePath, base, branch, repository, runId } = run;
    const resultsDir = await commit(run);
    const { head, notices } = await importResult(host, { cachePath, resultsDir, base, runId });
    if (head === null) return { head, notices, stat: null, created: false };
    const stat = await diffStat(host, { cachePath, base, head });
    const { created } = await publishBranch(host, { repository, cachePath, head, branch });
    return { head, notices, stat, created };
  };

  const close = async (): Promise<void> => {
    await spawner.stop();
    removeAll(root);
  };

  return { root, host, cacheDir, newPath, newRepository, prepare, runInside, commit, finish, close };
}

/** Names of all files below a directory, links included, sorted; `.git` directories are left out. */
export function filesBelow(dir: string, inside = ""): string[] {
  return readdirSync(path.join(dir, inside), { withFileTypes: true })
    .filter((entry) => entry.name !== ".git")
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(dir, path.join(inside, entry.name)) : [path.join(inside, entry.name)]))
    .toSorted();
}
