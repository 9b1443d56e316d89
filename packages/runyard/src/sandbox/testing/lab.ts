import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cgroupsOf } from "../cgroup.ts";
import { NO_LIMITS } from "../cgroup-grant.ts";
import type { Launch, PreparedSandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { killRunDirectory } from "../kill.ts";
import { removeTree } from "../remove-tree.ts";
import { isShimAlive, makeRunDirectory, readExitCode } from "../run-directory.ts";
import { openSpawner } from "../spawner.ts";
import type { Spawner } from "../spawner.ts";
import { runStep } from "../step.ts";
import type { StepResult } from "../step.ts";

const PROGRAMS = fileURLToPath(new URL("../programs/", import.meta.url));
export const SHIM_PROGRAM = path.join(PROGRAMS, "shim.sh");
export const SPAWNER_PROGRAM = path.join(PROGRAMS, "spawner.sh");

/** A place of its own for a test: a spawner, run directories, workspaces; ends and removes all of it. */
export interface Lab {
  readonly root: string;
  readonly spawner: Spawner;
  readonly spawnerDir: string;
  /** A path for a new run directory. */
  newDir(): string;
  /** A specification with a workspace and a home of its own. */
  newSpec(argv: readonly string[], changes?: Partial<SandboxSpec>): SandboxSpec;
  /** What the driver says; its control groups are removed in the end, also where no run joins them. */
  prepare(driver: SandboxDriver, spec: SandboxSpec): Promise<PreparedSandbox>;
  /** Starts a command and does not wait for its end. */
  start(launch: Launch): Promise<string>;
  /** Runs a command in a sandbox to its end. */
  run(driver: SandboxDriver, spec: SandboxSpec): Promise<StepResult>;
  close(): Promise<void>;
}

export async function openLab(name = "sandbox"): Promise<Lab> {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), `runyard-${name}-`)));
  const spawnerDir = path.join(root, "spawner");
  const spawner = await openSpawner({ dir: spawnerDir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM });
  const dirs: string[] = [];
  const groups: string[] = [];
  let count = 0;

  const newDir = (): string => {
    const dir = path.join(root, `run-${(count += 1)}`);
    dirs.push(dir);
    return dir;
  };
  const newSpec = (argv: readonly string[], changes: Partial<SandboxSpec> = {}): SandboxSpec => {
    const place = path.join(root, `place-${(count += 1)}`);
    const own = { workspace: path.join(place, "workspace"), home: path.join(place, "home") };
    for (const dir of Object.values(own)) mkdirSync(dir, { recursive: true });
    const defaults = { env: {}, mounts: [], writableWorkspace: true, gatewayDoorDir: null, limits: NO_LIMITS };
    return { ...defaults, dirs: own, argv, name: `test-${process.pid}-${count}`, ...changes };
  };
  const prepare = async (driver: SandboxDriver, spec: SandboxSpec): Promise<PreparedSandbox> => {
    const prepared = await driver.prepare(spec);
    groups.push(...prepared.launch.join.map((file) => path.dirname(file)));
    return prepared;
  };
  const start = async (launch: Launch): Promise<string> => {
    const dir = newDir();
    makeRunDirectory(dir, launch, {});
    await spawner.start(dir);
    return dir;
  };
  const run = async (driver: SandboxDriver, spec: SandboxSpec): Promise<StepResult> => {
    const { launch } = await prepare(driver, spec);
    return runStep({ spawner, dir: newDir(), launch, timeoutMs: 20_000 });
  };
  const close = async (): Promise<void> => {
    const isOver = (dir: string): boolean =>
      readExitCode(dir) !== null && !isShimAlive(dir) && !cgroupsOf(dir).some((group) => existsSync(group));
    for (const dir of dirs.filter((made) => existsSync(made) && !isOver(made))) await killRunDirectory(dir);
    for (const group of groups) if (existsSync(group)) rmdirSync(group);
    await spawner.stop();
    removeTree(root);
  };
  return { root, spawner, spawnerDir, newDir, newSpec, prepare, start, run, close };
}

/** Waits until `check` gives something other than null or false; the test's own time limit bounds it. */
export async function waitFor<T>(check: () => T | null | false): Promise<T> {
  for (;;) {
    const value = check();
    if (value !== null && value !== false) return value;
    await sleep(5);
  }
}

/** The text of a file once it has any. */
export function waitForFile(file: string): Promise<string> {
  return waitFor(() => (existsSync(file) ? readFileSync(file, "utf8") || null : null));
}
