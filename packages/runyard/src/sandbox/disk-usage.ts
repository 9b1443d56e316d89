import type { Stats } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Of what `stat` calls a block, on every system. */
const BLOCK_BYTES = 512;
const MIN_PAUSE_MS = 60_000;
/** Looking takes no more than this part of the time. */
const SHARE_OF_TIME = 1 / 30;

/**
 * Bytes that directories take on their disks, each file once however many names it has. Symbolic links are not
 * followed, and what is mounted below is not looked at; what cannot be read, or goes meanwhile, is left out. An agent
 * may be at work in there and can make this figure wrong: nothing is decided by it. Rejects with the signal's reason.
 */
export async function diskUsage(dirs: readonly string[], signal: AbortSignal): Promise<number> {
  const seen = new Set<string>();
  let total = 0;
  for (const dir of dirs) {
    for await (const stats of allBelow(dir)) {
      signal.throwIfAborted();
      const name = `${stats.dev} ${stats.ino}`;
      if (seen.has(name)) continue;
      if (stats.nlink > 1 && !stats.isDirectory()) seen.add(name);
      total += stats.blocks * BLOCK_BYTES;
    }
  }
  return total;
}

async function* allBelow(top: string): AsyncGenerator<Stats, void> {
  const device = (await lookAt(top))?.dev;
  const left = [top];
  for (let dir = left.pop(); dir !== undefined; dir = left.pop()) {
    for await (const name of namesIn(dir)) {
      const file = path.join(dir, name);
      const stats = await lookAt(file);
      if (stats === null || stats.dev !== device) continue;
      yield stats;
      if (stats.isDirectory()) left.push(file);
    }
  }
}

async function lookAt(file: string): Promise<Stats | null> {
  return lstat(file).catch(() => null);
}

async function* namesIn(dir: string): AsyncGenerator<string, void> {
  try {
    for await (const { name } of await opendir(dir)) yield name;
  } catch {
    // gone, or not to be read
  }
}

/** Measures how much directories take, now and then. */
export interface DiskGauge {
  /** Bytes, where a look that was begun since the last answer is over within `patienceMs`; null: none is, or none is due. */
  read(patienceMs: number): Promise<number | null>;
  close(): void;
}

/** Looks once a minute at most, and less often where that takes long. */
export function diskGauge(dirs: readonly string[]): DiskGauge {
  const abort = new AbortController();
  let nextAt = 0;
  let looking: Promise<void> | null = null;
  let found: number | null = null;

  const look = async (): Promise<void> => {
    const began = performance.now();
    found = await diskUsage(dirs, abort.signal).catch(() => null);
    const tookMs = performance.now() - began;
    nextAt = began + Math.max(MIN_PAUSE_MS, tookMs / SHARE_OF_TIME);
    looking = null;
  };
  return {
    async read(patienceMs) {
      if (looking === null && found === null && performance.now() >= nextAt) looking = look();
      if (looking !== null) await Promise.race([looking, sleep(patienceMs, undefined, { ref: false })]);
      const bytes = found;
      found = null;
      return bytes;
    },
    close: () => abort.abort(new Error("Nobody wants to know any more")),
  };
}
