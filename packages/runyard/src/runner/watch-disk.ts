import { readMembers } from "../sandbox/cgroup.ts";
import type { DiskUsage } from "../sandbox/disk-usage.ts";
import { diskLimit, type DiskWatch, watchDisk } from "../sandbox/disk-watch.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, stepsOf } from "./directories.ts";
import { placesOnOverlay } from "./overlay-workspace.ts";
import { RunFailure } from "./run-handle.ts";

export interface AttemptDisk extends DiskWatch {
  /** Aborted with a RunFailure `disk-full` once the attempt takes more than it may. */
  readonly full: AbortSignal;
}

/**
 * Watches what an attempt takes of the disk: workspace, homes, what its steps have written, and what their processes
 * have removed and still hold open, as far as control groups tell who they are. `diskBytes`: null is without a limit.
 */
export function watchAttemptDisk(ctx: Pick<RunnerContext, "home">, row: RunRow, diskBytes: number | null): AttemptDisk {
  const attempt = attemptDirs(ctx.home, row);
  const { root } = attempt;
  const limit = diskBytes === null ? null : diskLimit(diskBytes);
  const full = new AbortController();
  const watch = watchDisk({
    dirs: [root],
    holders: () => stepsOf(root).flatMap(readMembers),
    alsoOn: () => placesOnOverlay(ctx.home, attempt),
    limit,
    onFull: (usage) => full.abort(overLimit(usage, limit)),
  });
  return { ...watch, full: full.signal };
}

function overLimit(usage: DiskUsage, limit: DiskUsage | null): RunFailure {
  const isBytes = limit === null || usage.bytes > limit.bytes;
  const [taken, allowed] = isBytes
    ? [`${gigabytes(usage.bytes)} GB of the disk`, `${gigabytes(limit?.bytes ?? 0)} GB`]
    : [`${usage.files.toLocaleString("en")} files and directories`, limit.files.toLocaleString("en")];
  const message = `The run was ended because it took ${taken} and more: its limit is ${allowed} (diskBytes). Let it write less, or ask for another type of sandbox.`;
  return new RunFailure({ type: "disk-full", message });
}

function gigabytes(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(2);
}
