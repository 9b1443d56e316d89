import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makePrivateDir } from "../home.ts";
import { isComplete, isSameProcess, readExitCode, readIfThere, readPidFile, readShimPid, untilInRunDirectory } from "./run-directory.ts";
import type { ShimPid } from "./run-directory.ts";

/** Starts shims without a fork of the server, and outlives it. */
export interface Spawner {
  /** Starts a run directory, once for ever; resolves when its shim has said who it is, also when it has ended since. */
  start(runDir: string): Promise<void>;
  /** Ends the spawner for good; shims live on. */
  stop(): Promise<void>;
}

interface SpawnerOptions {
  /** The spawner's own directory. */
  readonly dir: string;
  readonly spawnerProgram: string;
  readonly shimProgram: string;
}

/** A line of this many bytes, newline included, is written to a fifo whole or not at all. */
const MAX_LINE_BYTES = 4096;
const START_TIMEOUT_MS = 10_000;
const ASK_AGAIN_MS = 1_000;
const SPAWNER_TIMEOUT_MS = 5_000;
/** O_CLOEXEC, as Linux shows it. */
const CLOSED_ON_EXEC = 0o2000000;
/** The system's own tools come first: the shim must not pick up something else of the same name. */
const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

function programsOf(pid: ShimPid): string[] {
  try {
    return readFileSync(`/proc/${pid.pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** The living spawner of a directory, or null. */
function livingSpawner(dir: string): ShimPid | null {
  const pid = readPidFile(path.join(dir, "pid"));
  return pid !== null && isSameProcess(pid) ? pid : null;
}

/** `sent`; `full`: try again; `dead`: nobody reads. */
function knock(dir: string, line: string): "sent" | "full" | "dead" {
  let door: number;
  try {
    door = openSync(path.join(dir, "door"), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENXIO" || code === "ENOENT") return "dead";
    throw error;
  }
  try {
    if (line !== "") writeSync(door, line);
    return "sent";
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EAGAIN") return "full";
    if (code === "EPIPE") return "dead";
    throw error;
  } finally {
    closeSync(door);
  }
}

/**
 * What a child gets as its descriptors. Those that this process was started with and that a child would
 * inherit (of a shell, of a service manager) lead nowhere: whatever they are, no agent shall hold them.
 */
function descriptorsForChild(nowhere: number, log: number): (number | "ignore")[] {
  const stdio: (number | "ignore")[] = ["ignore", "ignore", log];
  for (const fd of readdirSync("/proc/self/fd").map(Number)) {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readIfThere(`/proc/self/fdinfo/${fd}`) ?? "")?.[1];
    if (fd <= 2 || flags === undefined || (parseInt(flags, 8) & CLOSED_ON_EXEC) !== 0) continue;
    while (stdio.length <= fd) stdio.push("ignore");
    stdio[fd] = nowhere;
  }
  return stdio;
}

/** The one place where the server itself forks: once, and again only when a spawner has died. */
async function launchSpawner(options: SpawnerOptions): Promise<void> {
  makePrivateDir(options.dir);
  const log = openSync(path.join(options.dir, "err"), "a", 0o600);
  const nowhere = openSync("/dev/null", "r+");
  const child = spawn("/bin/sh", [options.spawnerProgram, options.dir, options.shimProgram], {
    cwd: "/",
    detached: true,
    stdio: descriptorsForChild(nowhere, log),
    env: { PATH: `${SYSTEM_PATH}:${process.env["PATH"] ?? ""}` },
  });
  for (const fd of [log, nowhere]) closeSync(fd);
  child.unref();
  const failure = await opensItsDoor(child, options.dir);
  if (failure === null) return;
  const said = readIfThere(path.join(options.dir, "err"))?.trim().slice(-500);
  throw new Error(`the process that starts runs could not be started: ${failure}${said ? `: ${said}` : ""}`);
}

/** Waits until a spawner can be asked; resolves with null, or with why it never will. */
async function opensItsDoor(child: ChildProcess, dir: string): Promise<string | null> {
  let failure: string | null = null;
  child.once("error", (error) => (failure = error.message));
  child.once("exit", (code, signal) => (failure = `it ended at once (${signal ?? code})`));
  for (const end = Date.now() + SPAWNER_TIMEOUT_MS; Date.now() < end; await sleep(2)) {
    if (failure !== null) return failure;
    if (livingSpawner(dir)?.pid === child.pid && knock(dir, "") === "sent") return null;
  }
  return `its door did not open within ${SPAWNER_TIMEOUT_MS} ms`;
}

function endSpawner(pid: ShimPid): void {
  if (isSameProcess(pid)) process.kill(pid.pid, "SIGKILL");
}

/** Ends the spawner of a directory, if one lives there; shims live on. */
export async function stopSpawner(dir: string): Promise<void> {
  for (let pid = livingSpawner(dir); pid !== null; pid = livingSpawner(dir)) {
    endSpawner(pid);
    await sleep(2);
  }
  for (const name of ["door", "pid"]) rmSync(path.join(dir, name), { force: true });
}

function requireStartable(runDir: string): void {
  if (!path.isAbsolute(runDir) || runDir.includes("\n") || Buffer.byteLength(runDir) >= MAX_LINE_BYTES) {
    throw new Error(
      `${JSON.stringify(runDir)} cannot be a run directory: its path must be absolute, without a newline, and below ${MAX_LINE_BYTES} bytes`,
    );
  }
  if (!isComplete(runDir)) throw new Error(`${runDir} cannot be started: it is not a complete run directory`);
}

/** A shim was started and never said who it is: it was killed before it could, or the machine has no time at all. */
export class NotStartedError extends Error {
  override readonly name = "NotStartedError";
}

/** True once the shim runs or has run; throws when the directory can never start. */
function hasStarted(runDir: string): boolean {
  // `exit` before `pid`: a short command may write both between two looks.
  const hasEnded = readExitCode(runDir) !== null;
  if (readShimPid(runDir) !== null) return true;
  if (!hasEnded) return false;
  const said = readIfThere(path.join(runDir, "err"))?.trim().slice(-1000);
  throw new Error(`${runDir} could not be started: ${said || "its shim gave no reason"}`);
}

/**
 * Adopts the spawner that lives in `dir`, or starts one. One that was started with other programs
 * (an older release) is replaced. Throws where there is no `/proc`.
 */
export async function openSpawner(options: SpawnerOptions): Promise<Spawner> {
  if (!existsSync("/proc/self/stat"))
    throw new Error(
      "Runyard starts runs on Linux only, so far: it knows the processes of a run by /proc, which is not there. Run the server on Linux.",
    );
  let reviving: Promise<void> | null = null;
  let stopped = false;

  const revive = (): Promise<void> => {
    if (stopped) return Promise.reject(new Error("the process that starts runs was stopped"));
    reviving ??= launchSpawner(options).finally(() => (reviving = null));
    return reviving;
  };

  const old = livingSpawner(options.dir);
  const programs = old === null ? [] : programsOf(old);
  const adopted = programs.includes(options.spawnerProgram) && programs.includes(options.shimProgram) && knock(options.dir, "") === "sent";
  if (!adopted) await revive();
  if (old !== null && !adopted) endSpawner(old);

  const ask = async (runDir: string): Promise<void> => {
    for (let tries = 0; tries < 100; tries += 1) {
      const answer = knock(options.dir, `${runDir}\n`);
      if (answer === "sent") return;
      if (answer === "dead") await revive();
      else await sleep(20);
    }
    throw new Error("the process that starts runs takes no more requests");
  };

  const start = async (runDir: string): Promise<void> => {
    requireStartable(runDir);
    if (hasStarted(runDir)) return;
    await ask(runDir);
    let askedAt = Date.now();
    let asking: Error | null = null;
    const late = (): Error => new NotStartedError(`${runDir} did not start within ${START_TIMEOUT_MS} ms`);
    await untilInRunDirectory(runDir, { timeoutMs: START_TIMEOUT_MS, late }, () => {
      if (asking !== null) throw asking;
      if (hasStarted(runDir)) return true;
      // The request dies with a spawner that did not come to read it. A second one does no harm.
      if (Date.now() - askedAt > ASK_AGAIN_MS && !existsSync(path.join(runDir, "started"))) {
        askedAt = Date.now();
        ask(runDir).catch((error: unknown) => (asking = error as Error));
      }
      return false;
    });
  };

  const stop = async (): Promise<void> => {
    stopped = true;
    await reviving?.catch(() => {});
    await stopSpawner(options.dir);
  };

  return { start, stop };
}
