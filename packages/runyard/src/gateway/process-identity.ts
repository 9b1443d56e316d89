import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { z } from "zod";

export const processIdentitySchema = z.object({
  pid: z.number().int().positive(),
  /** When it started, as the system tells it: pids are used again. */
  startTime: z.string(),
  bootId: z.string(),
});
/** One process of all times on this machine. */
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

/** The process that has this pid now, or null when there is none (a zombie is none). */
export function identifyProcess(pid: number): ProcessIdentity | null {
  const startTime = process.platform === "linux" ? startTimeFromProc(pid) : startTimeFromPs(pid);
  return startTime === null ? null : { pid, startTime, bootId: bootId() };
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  return now !== null && now.startTime === identity.startTime && now.bootId === identity.bootId;
}

/** Sends a signal to exactly that process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    return false;
  }
}

function startTimeFromProc(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may contain anything; the fields behind it may not.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const isZombie = fields[0] === "Z" || fields[0] === "X";
    return isZombie ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

function startTimeFromPs(pid: number): string | null {
  try {
    const text = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
    return text.trim() || null;
  } catch {
    return null;
  }
}

let knownBootId: string | undefined;

function bootId(): string {
  knownBootId ??=
    process.platform === "linux"
      ? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
      : execFileSync("sysctl", ["-n", "kern.boottime"], { encoding: "utf8" }).trim();
  return knownBootId;
}
