import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { identifyProcess } from "../../process-identity.ts";

const hasProc = process.platform === "linux";

/** Names a living process so that a later one with the same pid is told apart; null when there is none. */
export function nameProcess(pid: number): string | null {
  const identity = identifyProcess(pid);
  return identity === null ? null : `${pid} ${identity.startTime} ${identity.bootId}`;
}

/** Whether the process that was given this name by `nameProcess` still lives. */
export function isNamedAlive(name: string): boolean {
  const pid = Number.parseInt(name, 10);
  return Number.isSafeInteger(pid) && pid > 0 && nameProcess(pid) === name;
}

/**
 * Whether a living process is PostgreSQL's and works in this data directory: all of its processes enter
 * it. A directory that was copied or moved is told apart, which its pid file alone would not.
 */
export function servesDirectory(pid: number, dataDir: string): boolean {
  if (!hasProc) return commandOf(pid).includes(`-D ${dataDir} `);
  try {
    const actual = statSync(`/proc/${pid}/cwd`);
    const wanted = statSync(dataDir);
    const isThere = actual.ino === wanted.ino && actual.dev === wanted.dev;
    return isThere && readFileSync(`/proc/${pid}/comm`, "utf8") === "postgres\n";
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

function commandOf(pid: number): string {
  try {
    return execFileSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return "";
  }
}
