import { setTimeout as sleep } from "node:timers/promises";
import { isMeasured, sampleIntervalMs } from "../core/metrics.ts";
import { readResourceUsage } from "../sandbox/cgroup.ts";
import { addSample } from "../store/metrics.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, type StepName } from "./directories.ts";
import { limitsOf } from "./sandbox-step.ts";
import { watchAttemptDisk } from "./watch-disk.ts";

/** How long one sample waits for a look at the disk; what takes longer is in a later one. */
const DISK_PATIENCE_MS = 250;
/** How long the end of a step waits for its last sample. */
const LAST_SAMPLE_MS = 2_000;

export interface UsageWatch {
  /** Aborted with a RunFailure `disk-full` once the attempt takes more of the disk than it may. */
  readonly full: AbortSignal;
  /** Takes the last sample, unless the server leaves and the step lives on. Never rejects. */
  close(): Promise<void>;
}

/**
 * Writes down now and then what a step of a run uses, as long as it lives, and says when that is too much of the disk.
 * A sample that cannot be taken or written is left out.
 */
export function watchUsage(
  ctx: Pick<RunnerContext, "db" | "home" | "leaving" | "log">,
  row: RunRow,
  { step, diskBytes = limitsOf(row).diskBytes }: { readonly step: StepName; readonly diskBytes?: number | null },
): UsageWatch {
  const dirs = attemptDirs(ctx.home, row);
  const disk = watchAttemptDisk(ctx, row, diskBytes);
  let stored = 0;
  let closed = false;
  let told = false;
  let timer: NodeJS.Timeout | undefined;
  let last: Promise<void> = Promise.resolve();

  const sample = async (): Promise<void> => {
    try {
      const figures = { ...readResourceUsage(dirs.step(step)), diskBytes: await disk.read(DISK_PATIENCE_MS) };
      if (isMeasured(figures)) stored = (await addSample(ctx.db, { run: row, step, figures })) ?? stored;
    } catch (error) {
      if (!told) ctx.log("warn", "What a run uses could not be written down", { run: row.id, error: String(error) });
      told = true;
    }
  };
  const schedule = (): void => {
    timer = setTimeout(() => {
      last = sample().then(() => {
        if (!closed) schedule();
      });
    }, sampleIntervalMs(stored));
  };
  schedule();
  const close = async (): Promise<void> => {
    closed = true;
    clearTimeout(timer);
    const final = ctx.leaving.aborted ? last : last.then(sample);
    // What fills the disk is to be ended, and not to be waited for.
    if (!disk.full.aborted) await Promise.race([final, sleep(LAST_SAMPLE_MS, undefined, { ref: false })]);
    disk.close();
  };
  let closing: Promise<void> | null = null;
  return { full: disk.full, close: () => (closing ??= close()) };
}
