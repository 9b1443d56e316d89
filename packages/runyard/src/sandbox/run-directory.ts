import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, watch, writeFileSync } from "node:fs";
import type { FSWatcher } from "node:fs";
import { Socket } from "node:net";
import path from "node:path";
import { argsFile, commandFile, joinFile } from "./command-file.ts";
import type { Launch } from "./driver.ts";

/** A process that no later one can be taken for: number, start time in clock ticks, and boot. */
export interface ShimPid {
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
}

const POLL_MS = 100;
/** Content of `exit` until the shim overwrites it in place: its block is there even on a full disk. */
const NO_EXIT = `${"none".padEnd(15)}\n`;

/** The last file to be written: a directory that has it is complete. */
const COMPLETE = "spec.json";
const OWN_HOME = "own-home";
/** The container of a run directory, as JSON; that it was made, with its id; that its end is known; that it is gone for ever. */
export const CONTAINER = "container";
export const CONTAINER_MADE = "container-made";
export const CONTAINER_ENDED = "container-ended";
export const CONTAINER_REMOVED = "container-removed";

/** True when the directory was made to the end, and may be started. */
export function isComplete(dir: string): boolean {
  return existsSync(path.join(dir, COMPLETE));
}

/**
 * Makes a run directory (0700) with everything that the shim reads. Does nothing where it is complete
 * already; finishes one that a crash left half made. `spec` is for people and for adoption.
 */
export function makeRunDirectory(dir: string, launch: Launch, spec: Readonly<Record<string, unknown>>): void {
  if (isComplete(dir)) return;
  const files: [string, string | Buffer][] = [
    ["join", joinFile(launch.join)],
    ["cmd", commandFile(launch)],
    ["exit", NO_EXIT],
  ];
  if (launch.args.length > 0) files.unshift(["args", argsFile(launch.args)]);
  if (launch.syscallFilter !== undefined) files.unshift(["filter", launch.syscallFilter]);
  if (launch.ownHome !== undefined) files.unshift([OWN_HOME, launch.ownHome]);
  if (launch.container !== undefined) files.unshift([CONTAINER, JSON.stringify(launch.container)]);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const [name, content] of files) writeFileSync(path.join(dir, name), content, { mode: 0o600 });
  const last = path.join(dir, COMPLETE);
  writeFileSync(`${last}.tmp`, `${JSON.stringify(spec)}\n`, { mode: 0o600 });
  renameSync(`${last}.tmp`, last);
}

/** The HOME that nobody but this run directory's processes have; null: none is known. */
export function readOwnHome(dir: string): string | null {
  return readIfThere(path.join(dir, OWN_HOME));
}

/** The content of a file, or null where there is none. */
export function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  }
}

/** Parses the `pid` file of a shim or a spawner; null until it is whole. */
export function readPidFile(file: string): ShimPid | null {
  const match = /^(\d+) (\S+) (\S+)\n$/.exec(readIfThere(file) ?? "");
  return match ? { pid: Number(match[1]), startTime: match[2]!, bootId: match[3]! } : null;
}

/** The shim of a run directory; null until it has said so. */
export function readShimPid(dir: string): ShimPid | null {
  return readPidFile(path.join(dir, "pid"));
}

let bootId: string | null = null;

/** State letter and start time of a process; throws when there is none. */
function readStat(pid: number): { readonly state: string; readonly startTime: string } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0]!, startTime: fields[19]! };
}

function readBootId(): string {
  bootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return bootId;
}

/** True while that very process lives: the same number, start time and boot, and not a zombie. */
export function isSameProcess(pid: ShimPid): boolean {
  try {
    const { state, startTime } = readStat(pid.pid);
    return readBootId() === pid.bootId && startTime === pid.startTime && state !== "Z";
  } catch {
    return false;
  }
}

/** When the shim of a run directory began, in clock ticks since this boot: nothing that it has started is older. 0 where that is not known. */
export function readShimStart(dir: string): number {
  const shim = readShimPid(dir);
  const ticks = Number(shim?.startTime);
  return shim !== null && Number.isFinite(ticks) && shim.bootId === readBootId() ? ticks : 0;
}

/** Whether a process began before that time; true also where there is none. */
export function isOlder(pid: number, ticks: number): boolean {
  try {
    return Number(readStat(pid).startTime) < ticks;
  } catch {
    return true;
  }
}

/** The command's exit status (128 + n after signal n), or null while it runs, when its shim died, or what stood for its container. */
export function readExitCode(dir: string): number | null {
  const match = /^(\d+) *\n$/.exec(readIfThere(path.join(dir, "exit")) ?? "");
  return match && isEndKnown(dir) ? Number(match[1]) : null;
}

/** False where what the shim saw end was not the container. */
function isEndKnown(dir: string): boolean {
  const has = (name: string): boolean => existsSync(path.join(dir, name));
  return !has(CONTAINER) || has(CONTAINER_ENDED) || has(CONTAINER_REMOVED);
}

/** Opens a fifo for reading without waiting for a writer; null where it does not exist. */
function openFifo(file: string): number | null {
  try {
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** True while the shim holds its `alive` fifo; false before the start and after the end. */
export function isShimAlive(dir: string): boolean {
  const fd = openFifo(path.join(dir, "alive"));
  if (fd === null) return false;
  try {
    readSync(fd, Buffer.alloc(1));
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return true;
    throw error;
  } finally {
    closeSync(fd);
  }
}

function watchDirectory(dir: string, onChange: () => void): FSWatcher | null {
  try {
    return watch(dir, onChange).on("error", () => {});
  } catch {
    return null; // no inotify left: looking every 100 ms is enough
  }
}

/** Calls back once when the last holder of `alive` is gone. Null while there is no such fifo, or nobody to hold it. */
function watchAlive(dir: string, onDeath: () => void): Socket | null {
  if (!isShimAlive(dir)) return null;
  const fd = openFifo(path.join(dir, "alive"));
  if (fd === null) return null;
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.on("error", () => {});
  socket.on("close", onDeath);
  socket.resume();
  return socket;
}

/**
 * Calls `onChange` whenever something in a run directory may have changed: on file events, on the death
 * of its shim, and every 100 ms besides. It never calls before it has returned, nor after `close`.
 */
export function watchRunDirectory(dir: string, onChange: () => void): { close(): void } {
  let closed = false;
  const tell = (): void => {
    if (!closed) onChange();
  };
  const watcher = watchDirectory(dir, tell);
  let alive: Socket | null = watchAlive(dir, tell);
  const poll = setInterval(() => {
    alive ??= watchAlive(dir, tell);
    tell();
  }, POLL_MS);
  return {
    close: () => {
      closed = true;
      clearInterval(poll);
      watcher?.close();
      alive?.destroy();
    },
  };
}

/** Calls `check` at every change of a run directory until it is true or throws; rejects with what `late` makes once `timeoutMs` are over. */
export function untilInRunDirectory(
  dir: string,
  { timeoutMs, late }: { readonly timeoutMs: number; readonly late: () => Error },
  check: () => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      watcher.close();
      act();
    };
    const look = (): void => {
      try {
        if (check()) settle(resolve);
      } catch (error) {
        settle(() => reject(error));
      }
    };
    const timer = setTimeout(() => settle(() => reject(late())), timeoutMs);
    const watcher = watchRunDirectory(dir, look);
    look();
  });
}
