import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;

/** Processor time that a process has used, in microseconds: of all of its threads that live. 0 for one that has ended. */
export function cpuMicros(pid: number): number {
  let nanos = 0;
  for (const thread of threadsOf(pid)) {
    // A thread may end between the two looks.
    nanos += Number(readOr(`/proc/${pid}/task/${thread}/schedstat`, "0").split(" ")[0]);
  }
  return nanos / 1000;
}

/** Processor time of the whole machine (user and system), in microseconds, in steps of 10 ms. */
export function machineCpuMicros(): number {
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0] = readFileSync("/proc/stat", "utf8")
    .split("\n", 1)
    .join("")
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return ((user + nice + system + interrupts + softInterrupts) * 1e6) / TICKS_PER_SECOND;
}

export interface Memory {
  /** What is resident, shared pages in full; bytes. */
  readonly rss: number;
  /** What is resident, shared pages by share; bytes. The one that may be added up. */
  readonly pss: number;
}

export function memoryOf(pid: number): Memory {
  const rollup = readOr(`/proc/${pid}/smaps_rollup`, "");
  const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0);
  return { rss: kilobytes("Rss") * 1024, pss: kilobytes("Pss") * 1024 };
}

/** A process and everything that descends from it, as long as the parents live. */
export function treeOf(pid: number): number[] {
  const children = readOr(`/proc/${pid}/task/${pid}/children`, "").split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(treeOf)];
}

/** Pids of processes whose command line holds all of these words. */
export function findProcesses(...words: readonly string[]): number[] {
  const pids = readdirSync("/proc").map(Number).filter(Number.isSafeInteger);
  return pids.filter((pid) => {
    const command = readOr(`/proc/${pid}/cmdline`, "");
    return pid !== process.pid && words.every((word) => command.includes(word));
  });
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return otherwise;
  }
}
