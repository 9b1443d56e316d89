import { type StatsFs, statfsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { diskUsage, type DiskUsage } from "./disk-usage.ts";

/** How often the disk is asked what it has left: one system call. */
const ASK_MS = 200;
/** A look without a reason comes this often at most, and takes no more than this part of the time. */
const MIN_PAUSE_MS = 10_000;
const SHARE_OF_TIME = 1 / 30;
/** A limit of bytes is one of files too: an empty file takes none, and a disk can hold only so many. */
const BYTES_FOR_A_FILE = 4_096;

/** What may lie where so many bytes may. */
export function diskLimit(bytes: number): DiskUsage {
  return { bytes, files: Math.ceil(bytes / BYTES_FOR_A_FILE) };
}

export interface DiskWatchOptions {
  readonly dirs: readonly string[];
  /** Processes whose removed files count as long as they are open. */
  readonly holders: () => readonly number[];
  /** Places on further file systems whose removed files count. */
  readonly alsoOn?: () => readonly string[];
  /** Null: it is only measured. */
  readonly limit: DiskUsage | null;
  /** Called once, when there is more than that. */
  readonly onFull: (usage: DiskUsage) => void;
}

/** Measures how much directories take, now and then, and at once where it may have become too much. */
export interface DiskWatch {
  /** Bytes, where a look that was begun since the last answer is over within `patienceMs`; null: none is, or none is due. */
  read(patienceMs: number): Promise<number | null>;
  close(): void;
}

interface Look {
  readonly usage: DiskUsage;
  /** What the disk had left when it began. */
  readonly free: DiskUsage | null;
  /** When the next one is due with a reason, and without one. */
  readonly againAt: number;
  readonly dueAt: number;
}

/**
 * Looks every ten seconds at most, and less often where that takes long. In between it asks the disk what is left: once
 * that has gone down by half of what the limit leaves, whoever took it, it looks again; so the looks come closer as
 * the limit does.
 */
export function watchDisk({ dirs, holders, alsoOn, limit, onFull }: DiskWatchOptions): DiskWatch {
  const abort = new AbortController();
  let before: Look = { usage: { bytes: 0, files: 0 }, free: freeOn(dirs), againAt: 0, dueAt: 0 };
  let looking: Promise<void> | null = null;
  let found: number | null = null;
  let isFull = false;

  const look = async (): Promise<void> => {
    const began = performance.now();
    const free = freeOn(dirs);
    const usage = await diskUsage({
      paths: dirs,
      holders,
      signal: abort.signal,
      ...(alsoOn && { alsoOn }),
      ...(limit !== null && { enough: limit }),
    }).catch(() => null);
    const now = performance.now();
    const tookMs = now - began;
    before = {
      usage: usage ?? before.usage,
      free,
      againAt: now + tookMs,
      dueAt: began + Math.max(MIN_PAUSE_MS, tookMs / SHARE_OF_TIME),
    };
    found = usage?.bytes ?? null;
    looking = null;
    if (usage === null || limit === null || isFull || abort.signal.aborted) return;
    isFull = usage.bytes > limit.bytes || usage.files > limit.files;
    if (isFull) onFull(usage);
  };
  const mayBeFull = (): boolean => {
    const free = limit === null ? null : freeOn(dirs);
    if (limit === null || free === null || before.free === null) return false;
    const isHalfway = (what: keyof DiskUsage): boolean =>
      before.free !== null && before.free[what] - free[what] > (limit[what] - before.usage[what]) / 2;
    return isHalfway("bytes") || isHalfway("files");
  };
  const lookIfDue = (): void => {
    const now = performance.now();
    if (looking === null && (now >= before.dueAt || (now >= before.againAt && mayBeFull()))) looking = look();
  };
  const timer = limit === null ? undefined : setInterval(lookIfDue, ASK_MS).unref();
  return {
    async read(patienceMs) {
      if (found === null) lookIfDue();
      if (looking !== null) await Promise.race([looking, sleep(patienceMs, undefined, { ref: false })]);
      const bytes = found;
      found = null;
      return bytes;
    },
    close: () => {
      clearInterval(timer);
      abort.abort(new Error("Nobody wants to know any more"));
    },
  };
}

/** What the disk has left in all; null where it does not say. */
function freeOn([dir]: readonly string[]): DiskUsage | null {
  try {
    const { bfree, bsize, ffree }: StatsFs = statfsSync(dir ?? "/");
    return { bytes: bfree * bsize, files: ffree };
  } catch {
    return null;
  }
}
