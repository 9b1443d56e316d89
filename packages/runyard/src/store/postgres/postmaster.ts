import { readFileSync } from "node:fs";
import path from "node:path";
import type { Home } from "../../home.ts";
import { dataDirOf } from "./cluster.ts";
import { servesDirectory } from "./process.ts";

/** The pid of the home's living PostgreSQL server, or null. A pid file that outlived its server counts as none. */
export function postgresPid(home: Home): number | null {
  const dataDir = dataDirOf(home);
  const pid = Number(readPidFile(dataDir)[0]);
  return Number.isSafeInteger(pid) && pid > 0 && servesDirectory(pid, dataDir) ? pid : null;
}

/** Whether the server with this pid wrote into its pid file that it takes connections. */
export function saysReady(dataDir: string, pid: number): boolean {
  const lines = readPidFile(dataDir);
  return lines[0] === String(pid) && lines[7] === "ready";
}

export function pidFileOf(dataDir: string): string {
  return path.join(dataDir, "postmaster.pid");
}

function readPidFile(dataDir: string): string[] {
  try {
    return readFileSync(pidFileOf(dataDir), "utf8")
      .split("\n")
      .map((line) => line.trim());
  } catch {
    return [];
  }
}
