import { closeSync, existsSync, fstatSync, mkdirSync, mkdtempSync, openSync, readSync, statSync, writeFileSync } from "node:fs";
import { uptime } from "node:os";
import path from "node:path";
import type { Launch } from "./driver.ts";
import { InWriter } from "./journal.ts";
import { killRunDirectory } from "./kill.ts";
import { removeTree } from "./remove-tree.ts";
import { isShimAlive, makeRunDirectory, readExitCode, readShimPid, watchRunDirectory } from "./run-directory.ts";
import type { Spawner } from "./spawner.ts";

/** Of the start time of a process, on every Linux. */
const TICK_MS = 10;
const DEFAULT_MAX_OUTPUT_BYTES = 32 << 20;
/** Exists when the step ran out of time: a later look at the directory must not take it for an ordinary end. */
const TIMED_OUT = "timed-out";

/** What a command left behind. */
export interface StepResult {
  /** Exit status, 128 + n after signal n; null: lost, its shim died. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** True when one of both was longer than allowed: its last bytes were kept. */
  readonly truncated: boolean;
}

export interface StepOptions {
  readonly spawner: Spawner;
  /** The step's own run directory, absolute. */
  readonly dir: string;
  readonly launch: Launch;
  readonly spec?: Record<string, unknown>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Most bytes of stdout, and of stderr; default 32 MiB. */
  readonly maxOutputBytes?: number;
}

/** The command ran longer than it may; it was ended for certain. */
export class StepTimeoutError extends Error {
  override readonly name = "StepTimeoutError";
}

function readTail(file: string, maxBytes: number): { text: string; cut: boolean } {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { text: "", cut: false };
    throw error;
  }
  try {
    const size = fstatSync(fd).size;
    const content = Buffer.alloc(Math.min(size, maxBytes));
    const bytes = readSync(fd, content, 0, content.length, size - content.length);
    return { text: content.toString("utf8", 0, bytes), cut: size > maxBytes };
  } finally {
    closeSync(fd);
  }
}

/** What a step has written so far, or left behind when it was ended: the last bytes of each. */
export function readStepOutput(dir: string, maxBytes: number): Omit<StepResult, "code"> {
  const { stdout, stderr, truncated } = resultOf(dir, null, maxBytes);
  return { stdout, stderr, truncated };
}

function resultOf(dir: string, code: number | null, maxBytes: number): StepResult {
  const stdout = readTail(path.join(dir, "out"), maxBytes);
  const stderr = readTail(path.join(dir, "err"), maxBytes);
  return { code, stdout: stdout.text, stderr: stderr.text, truncated: stdout.cut || stderr.cut };
}

/** A step has no input. */
function closeStdin(dir: string): void {
  const writer = InWriter.open(dir);
  writer?.closeStdin();
  writer?.close();
}

/** Milliseconds that are left of the step's time, which began with its first start. */
function remainingMs(dir: string, timeoutMs: number): number {
  return Math.min(timeoutMs, Math.max(0, timeoutMs - elapsedMs(dir)));
}

/** How long a step's shim has been there: by the time since boot where the system tells that, which no change of the clock moves. */
function elapsedMs(dir: string): number {
  const ticks = Number(readShimPid(dir)?.startTime ?? Number.NaN);
  if (Number.isFinite(ticks)) return uptime() * 1_000 - ticks * TICK_MS;
  return Date.now() - statSync(path.join(dir, "started")).mtimeMs;
}

/** Resolves with the exit status, or null when the shim died without one; rejects on timeout and abort. */
function waitForEnd(options: StepOptions): Promise<number | null> {
  const { dir, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      watcher.close();
      signal?.removeEventListener("abort", abort);
      act();
    };
    const look = (): void => {
      const alive = isShimAlive(dir); // before `exit`: a shim writes it, then dies
      const code = readExitCode(dir);
      if (code !== null || !alive) settle(() => resolve(code));
    };
    const abort = (): void => settle(() => reject(signal?.reason as Error));
    const expire = (): void => settle(() => reject(new StepTimeoutError(`the command ran longer than ${timeoutMs} ms and was ended`)));
    const timer = setTimeout(expire, remainingMs(dir, timeoutMs));
    const watcher = watchRunDirectory(dir, look);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    else look();
  });
}

/**
 * Runs one command through spawner and shim, and waits for its end. A second call on the same directory,
 * also by another process after a crash, waits for the first start or reads its result. On timeout or
 * abort everything of the step is ended for certain, and the promise rejects with a `StepTimeoutError` or
 * with the signal's reason. The directory stays; the caller removes it.
 */
export async function runStep(options: StepOptions): Promise<StepResult> {
  const { spawner, dir, launch, signal } = options;
  const maxBytes = options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
  signal?.throwIfAborted();
  makeRunDirectory(dir, launch, { kind: "step", argv: launch.argv, ...options.spec });
  try {
    await spawner.start(dir);
    closeStdin(dir);
    const code = await waitForEnd(options);
    if (existsSync(path.join(dir, TIMED_OUT)))
      throw new StepTimeoutError(`the command ran longer than ${options.timeoutMs} ms and was ended`);
    if (code === null || launch.join.length > 0 || launch.container !== undefined) await killRunDirectory(dir);
    return resultOf(dir, code, maxBytes);
  } catch (error) {
    if (error instanceof StepTimeoutError) writeFileSync(path.join(dir, TIMED_OUT), "");
    await killRunDirectory(dir);
    throw error;
  }
}

/** A plain command of the host: no isolation, and an environment of PATH and what is given. */
export function hostLaunch(argv: readonly string[], env: Record<string, string> = {}): Launch {
  return { argv, env: { PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin", ...env }, args: [], join: [] };
}

/** Runs a short command of the host in a run directory below `stepsDir`, which is removed afterwards. */
export async function runHostCommand(options: {
  spawner: Spawner;
  stepsDir: string;
  argv: readonly string[];
  env?: Record<string, string>;
  timeoutMs: number;
  signal?: AbortSignal;
}): Promise<StepResult> {
  const { stepsDir, argv, env, ...rest } = options;
  mkdirSync(stepsDir, { recursive: true, mode: 0o700 });
  const dir = mkdtempSync(path.join(stepsDir, "step-"));
  try {
    return await runStep({ ...rest, dir, launch: hostLaunch(argv, env) });
  } finally {
    removeTree(dir);
  }
}
