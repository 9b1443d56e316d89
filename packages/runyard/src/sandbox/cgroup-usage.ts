import { readFileSync } from "node:fs";
import path from "node:path";

/** What control groups say that their members use; null: they do not say. */
export interface CgroupUsage {
  /** Milliseconds of processor time since the groups were made, over all processors. */
  readonly cpuMs: number | null;
  /** What the kernel keeps of files for them included. */
  readonly memoryBytes: number | null;
  readonly memoryPeakBytes: number | null;
  /** Shim and pumps included. */
  readonly processes: number | null;
  readonly threads: number | null;
}

/** The groups of one step: of version 1 one for each controller, of version 2 a single one. */
export function readUsage(groups: readonly string[]): CgroupUsage {
  const nanoseconds = readFigure(groups, "cpuacct.usage");
  const microseconds = readFigure(groups, "cpu.stat", (text) => /^usage_usec (\d+)$/m.exec(text)?.[1]);
  return {
    cpuMs: toMs(nanoseconds, 1e6) ?? toMs(microseconds, 1e3),
    memoryBytes: readFigure(groups, "memory.usage_in_bytes") ?? readFigure(groups, "memory.current"),
    memoryPeakBytes: readFigure(groups, "memory.max_usage_in_bytes") ?? readFigure(groups, "memory.peak"),
    processes: readFigure(groups, "cgroup.procs", countLines),
    // Not `pids.current`: that counts for a moment what has ended already.
    threads: readFigure(groups, "tasks", countLines) ?? readFigure(groups, "cgroup.threads", countLines),
  };
}

function toMs(figure: number | null, inAMillisecond: number): number | null {
  return figure === null ? null : Math.round(figure / inAMillisecond);
}

function countLines(text: string): string {
  return String(text.split("\n").length - 1);
}

/** The figure of the first group that has it. */
function readFigure(groups: readonly string[], file: string, pick: (text: string) => string | undefined = (text) => text): number | null {
  for (const group of groups) {
    const text = readWhereThere(path.join(group, file));
    const figure = text === null ? "" : (pick(text)?.trim() ?? "");
    if (/^\d+$/.test(figure)) return Number(figure);
  }
  return null;
}

/** Null where this kind of group has no such file, or the group is gone: it may go while it is read. */
function readWhereThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
