import { closeSync, constants, lstatSync, opendirSync, openSync, readdirSync, type Stats, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Of what `stat` calls a block, on every system. */
const BLOCK_BYTES = 512;
/** A look works for so long at a time and then lets others work: no more than a fifth of the server's time goes into looks. */
const WORK_MS = 2;
const REST_MS = 8;
/** A path may have 4,096 bytes; what lies deeper is reached through the descriptor of a directory on the way. */
const LONG_PATH = 2_000;
/** Of what processes hold open, so much is looked at and no more. */
const MAX_DESCRIPTORS = 50_000;
const SLASH = Buffer.from("/");

export interface DiskUsage {
  readonly bytes: number;
  /** Names of files and directories, and files that have none any more and are still open. */
  readonly files: number;
}

export interface DiskQuestion {
  /** Directories or files; what is not there takes nothing. */
  readonly paths: readonly string[];
  /** Processes whose removed files are counted for as long as they hold them open. */
  readonly holders?: () => readonly number[];
  /** Places on further file systems whose removed files are counted too. */
  readonly alsoOn?: () => readonly string[];
  /** Beyond this it does not matter how much there is. */
  readonly enough?: DiskUsage;
  readonly signal: AbortSignal;
}

/** Looks come one after another, however many are wanted. */
let lastLook: Promise<unknown> = Promise.resolve();

/**
 * What paths take on their disks with all below them, each file once however many names it has. Symbolic links are not followed,
 * and what is mounted below is not looked at; what cannot be read, or goes meanwhile, is left out. Others may be at
 * work in there: the figure is of no single moment. Rejects with the signal's reason.
 */
export function diskUsage(question: DiskQuestion): Promise<DiskUsage> {
  const mine = lastLook.then(() => look(question));
  lastLook = mine.catch(() => undefined);
  return mine;
}

async function look(question: DiskQuestion): Promise<DiskUsage> {
  const { enough, signal } = question;
  const seen = new Set<string>();
  let bytes = 0;
  let files = 0;
  let begun = performance.now();
  for (const stats of allIn(question)) {
    if (performance.now() - begun > WORK_MS) {
      await sleep(REST_MS, undefined, { ref: false });
      begun = performance.now();
    }
    signal.throwIfAborted();
    if (stats === null) continue;
    files += 1;
    if (stats.nlink !== 1 && !stats.isDirectory()) {
      const name = `${stats.dev} ${stats.ino}`;
      if (seen.has(name)) continue;
      seen.add(name);
    }
    bytes += stats.blocks * BLOCK_BYTES;
    if (enough !== undefined && (bytes > enough.bytes || files > enough.files)) break;
  }
  signal.throwIfAborted();
  return { bytes, files };
}

/** Everything that counts; null for what was looked at and does not. */
function* allIn({ paths, holders, alsoOn }: DiskQuestion): Generator<Stats | null, void> {
  const devices = new Set<number>();
  for (const path of paths) {
    const top = statsOf(Buffer.from(path));
    if (top === null) continue;
    devices.add(top.dev);
    yield top;
    if (top.isDirectory()) yield* allBelow(Buffer.from(path), top.dev);
  }
  for (const place of alsoOn?.() ?? []) {
    const { dev } = statsOf(Buffer.from(place)) ?? {};
    if (dev !== undefined) devices.add(dev);
  }
  for (const stats of removedFiles(holders?.() ?? [])) yield stats !== null && devices.has(stats.dev) ? stats : null;
}

function* allBelow(top: Buffer, device: number): Generator<Stats | null, void> {
  /** Directories to look into; a number is the descriptor of one that all below has been looked at of. */
  const left: (Buffer | number)[] = [top];
  try {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      if (typeof next === "number") closeSync(next);
      else yield* entriesOf(next, device, left);
    }
  } finally {
    for (const each of left) if (typeof each === "number") closeSync(each);
  }
}

function* entriesOf(dir: Buffer, device: number, left: (Buffer | number)[]): Generator<Stats | null, void> {
  let place = dir;
  if (dir.length > LONG_PATH) {
    const descriptor = openDirectory(dir);
    if (descriptor === null) return;
    left.push(descriptor);
    place = Buffer.from(`/proc/self/fd/${descriptor}`);
  }
  for (const name of namesIn(place)) {
    const file = Buffer.concat([place, SLASH, name]);
    const stats = statsOf(file);
    if (stats?.dev !== device) yield null;
    else {
      if (stats.isDirectory()) left.push(file);
      yield stats;
    }
  }
}

/** By their bytes: a name need not be text. */
function* namesIn(dir: Buffer): Generator<Buffer, void> {
  try {
    const entries = opendirSync(dir, { encoding: "buffer" as BufferEncoding });
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) yield entry.name as unknown as Buffer;
    } finally {
      entries.closeSync();
    }
  } catch {
    // gone, or not to be read
  }
}

/** Files without a name that processes hold open; null for everything else that they hold. */
function* removedFiles(pids: readonly number[]): Generator<Stats | null, void> {
  let left = MAX_DESCRIPTORS;
  for (const pid of pids) {
    const dir = `/proc/${pid}/fd`;
    for (const name of whereThere(() => readdirSync(dir)) ?? []) {
      if (left === 0) return;
      left -= 1;
      const stats = whereThere(() => statSync(`${dir}/${name}`));
      yield stats?.isFile() === true && stats.nlink === 0 ? stats : null;
    }
  }
}

function statsOf(file: Buffer): Stats | null {
  return whereThere(() => lstatSync(file));
}

function openDirectory(dir: Buffer): number | null {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  return whereThere(() => openSync(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

function whereThere<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch {
    return null;
  }
}
