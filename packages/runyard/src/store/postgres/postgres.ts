import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Home } from "../../home.ts";
import { adopt, type Adopted } from "./adopt.ts";
import { dataDirOf } from "./cluster.ts";
import { withLock } from "./lock.ts";
import { postgresPid } from "./postmaster.ts";
import { processesServing, signalProcess } from "./process.ts";
import { findPackage, majorOf } from "./programs.ts";
import { startPostgres, type EnsureOptions, type RunningPostgres } from "./start.ts";

export { postgresPid } from "./postmaster.ts";
export type { EnsureOptions, RunningPostgres } from "./start.ts";

const STOPPING: readonly { signal: NodeJS.Signals; waitMs: number }[] = [
  { signal: "SIGINT", waitMs: 10_000 },
  { signal: "SIGQUIT", waitMs: 7_000 },
  { signal: "SIGKILL", waitMs: 5_000 },
];
const POLL_MS = 10;

/**
 * Gives the home's built-in PostgreSQL server: adopts the one that lives, else starts it (and at the
 * first start makes its data directory). Of any number of callers at once, in any processes, one
 * starts and the others adopt. Throws an Error whose message says what to do.
 */
export async function ensurePostgres(options: EnsureOptions): Promise<RunningPostgres> {
  const { home } = options;
  const source = findPackage();
  const find = (): Promise<Adopted | null> => adopt({ ...options, major: majorOf(source) });
  const living = await find();
  if (living !== null) return { ...living, adopted: true };
  return withLock(lockDirOf(home), async () => {
    const winner = await find();
    if (winner !== null) return { ...winner, adopted: true };
    return startPostgres({ ...options, source, find });
  });
}

/**
 * Stops the home's server and all its processes: a fast shutdown, then harder. True when there was
 * something to stop; calling it again is harmless.
 */
export async function stopPostgres(home: Home): Promise<boolean> {
  if (!existsSync(dataDirOf(home))) return false;
  return withLock(lockDirOf(home), async () => {
    const wasThere = remaining(home).length > 0;
    for (const { signal, waitMs } of STOPPING) {
      const pid = postgresPid(home);
      const targets = signal === "SIGKILL" || pid === null ? remaining(home) : [pid];
      for (const target of targets) signalProcess(target, pid === null ? "SIGKILL" : signal);
      // A stopped process would never see the signal.
      for (const target of targets) signalProcess(target, "SIGCONT");
      if (await isEmptyWithin(home, waitMs)) return wasThere;
    }
    throw new Error(`PostgreSQL's processes ${remaining(home).join(", ")} survived SIGKILL: end them by hand.`);
  });
}

function lockDirOf(home: Home): string {
  return path.join(home.postgresDir, "lock");
}

/** The server and, where they can be seen, its children, which for a moment outlive a killed server. */
function remaining(home: Home): number[] {
  const pid = postgresPid(home);
  const children = processesServing(dataDirOf(home)).filter((child) => child !== pid);
  return pid === null ? children : [pid, ...children];
}

async function isEmptyWithin(home: Home, limitMs: number): Promise<boolean> {
  const giveUpAt = Date.now() + limitMs;
  while (remaining(home).length > 0) {
    if (Date.now() > giveUpAt) return false;
    await wait(POLL_MS);
  }
  return true;
}
