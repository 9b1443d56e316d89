import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Home } from "../../home.ts";
import { dataDirOf } from "./cluster.ts";
import { postgresPid } from "./postmaster.ts";
import { isPidTaken, processesServing, servesDirectory, signalProcess } from "./process.ts";

const WAIT_MS = 5_000;
const POLL_MS = 5;

/**
 * Clears away what a killed server left and what would hinder the next: children that still run, and
 * lock files whose pid is taken by something else. Call it under the start lock, before a start.
 */
export async function clearAwayDeadServer(home: Home): Promise<void> {
  const dataDir = dataDirOf(home);
  if (postgresPid(home) !== null) return;
  const giveUpAt = Date.now() + WAIT_MS;
  for (let left = processesServing(dataDir); left.length > 0 && Date.now() < giveUpAt; left = processesServing(dataDir)) {
    for (const pid of left) signalProcess(pid, "SIGKILL");
    await wait(POLL_MS);
  }
  const socket = path.join(home.postgresSocketDir, ".s.PGSQL.5432");
  removeStale(path.join(dataDir, "postmaster.pid"), dataDir);
  if (removeStale(`${socket}.lock`, dataDir)) rmSync(socket, { force: true });
}

/**
 * PostgreSQL takes any process with the pid in a lock file for a living server: a stranger that got the
 * number, or a zombie that nobody has waited for (in a container, often nobody does). A pid that is
 * free it handles itself, and more carefully than a removed file would let it.
 */
function removeStale(lockFile: string, dataDir: string): boolean {
  const pid = firstNumberIn(lockFile);
  if (pid === null || !isPidTaken(pid) || servesDirectory(pid, dataDir)) return false;
  rmSync(lockFile, { force: true });
  return true;
}

function firstNumberIn(file: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(file, "utf8"), 10);
    return pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
