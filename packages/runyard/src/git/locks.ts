import { rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GitError } from "./host-git.ts";

/** git holds these locks for milliseconds; one that is older belongs to a git that was killed. */
const STALE_AFTER_MS = 5_000;
const PAUSE_MS = 200;
const GIVE_UP_MS = 30_000;

function isLockTrouble(error: unknown): boolean {
  return (
    error instanceof GitError &&
    /\.lock': File exists|cannot lock ref .* but expected|reference already exists|shallow file has changed/.test(error.stderr)
  );
}

async function removeStale(gitDir: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const lock = path.join(gitDir, `${name}.lock`);
    const found = await stat(lock).catch(() => null);
    if (found !== null && Date.now() - found.mtimeMs > STALE_AFTER_MS) await rm(lock, { force: true });
  }
}

/**
 * Does something that writes the named files of a repository of ours, waiting for locks of others and
 * removing those that a killed git left behind. `attempt` may be called several times.
 */
export async function withLocks<T>(gitDir: string, names: readonly string[], attempt: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + GIVE_UP_MS; ; await sleep(PAUSE_MS)) {
    await removeStale(gitDir, names);
    try {
      return await attempt();
    } catch (error) {
      if (!isLockTrouble(error) || Date.now() > end) throw error;
    }
  }
}
