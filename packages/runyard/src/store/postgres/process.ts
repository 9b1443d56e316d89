import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";

const hasProc = process.platform === "linux";
let bootId: string | undefined;

/**
 * Names a living process by pid and start time, so that a later process with the same pid is told
 * apart. Null when there is none; a zombie is dead.
 */
export function identifyProcess(pid: number): string | null {
  const start = hasProc ? startFromProc(pid) : startFromPs(pid);
  return start === null ? null : `${pid} ${start}`;
}

/** Whether the process that was given this name by `identifyProcess` still lives. */
export function isProcessAlive(identity: string): boolean {
  const pid = Number.parseInt(identity, 10);
  return Number.isSafeInteger(pid) && pid > 0 && identifyProcess(pid) === identity;
}

/**
 * Whether a living process is PostgreSQL's and works in this data directory: all of its processes enter
 * it. A directory that was copied or moved is told apart, which its pid file alone would not.
 */
export function servesDirectory(pid: number, dataDir: string): boolean {
  if (!hasProc) return (readPs(pid, "command") ?? "").includes(`-D ${dataDir} `);
  try {
    const actual = statSync(`/proc/${pid}/cwd`);
    const wanted = statSync(dataDir);
    const isThere = actual.ino === wanted.ino && actual.dev === wanted.dev;
    return isThere && readOrNull(`/proc/${pid}/comm`)?.trim() === "postgres";
  } catch {
    return false;
  }
}

/** The pids of all PostgreSQL processes of this data directory; always empty where there is no `/proc`. */
export function processesServing(dataDir: string): number[] {
  if (!hasProc) return [];
  const pids = readdirSync("/proc").map(Number).filter(Number.isSafeInteger);
  return pids.filter((pid) => servesDirectory(pid, dataDir));
}

/** Whether the kernel still knows a process of this pid, be it a stranger or a zombie that nobody has waited for. */
export function isPidTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function startFromProc(pid: number): string | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The program's name is in parentheses and may hold anything; state and start time come behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTicks] = [fields[0], fields[19]];
  if (state === "Z" || state === "X" || startTicks === undefined) return null;
  bootId ??= readOrNull("/proc/sys/kernel/random/boot_id")?.trim() ?? "";
  return `${startTicks} ${bootId}`;
}

function startFromPs(pid: number): string | null {
  const answer = readPs(pid, "state,lstart");
  if (answer === null || answer.startsWith("Z")) return null;
  return answer.replace(/^\S+\s+/, "");
}

function readPs(pid: number, columns: string): string | null {
  try {
    const format = columns.split(",").flatMap((column) => ["-o", `${column}=`]);
    const output = execFileSync("ps", ["-ww", ...format, "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, LC_ALL: "C" },
    });
    return output.trim() || null;
  } catch {
    return null;
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
