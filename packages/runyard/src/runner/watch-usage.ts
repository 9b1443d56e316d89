import { setTimeout as sleep } from "node:timers/promises";
import { isMeasured, sampleIntervalMs } from "../core/metrics.ts";
import { readResourceUsage } from "../sandbox/cgroup.ts";
import { diskGauge } from "../sandbox/disk-usage.ts";
import { addSample } from "../store/metrics.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, type StepName } from "./directories.ts";

/** How long one sample waits for a look at the disk; what takes longer is in a later one. */
const DISK_PATIENCE_MS = 250;
/** How long the end of a step waits for its last sample. */
const LAST_SAMPLE_MS = 2_000;

export interface UsageWatch {
  /** Takes the last sample, unless the server leaves and the step lives on. Never rejects. */
  close(): Promise<void>;
}

/**
 * Writes down now and then what a step of a run uses, as long as it lives. Nothing depends on that: a sample that
 * cannot be taken or written is left out.
 */
export function watchUsage(
  ctx: Pick<RunnerContext, "db" | "home" | "leaving" | "log">,
  row: RunRow,
  { step, home }: { readonly step: StepName; readonly home?: string },
): UsageWatch {
  const dirs = attemptDirs(ctx.home, row);
  const disk = diskGauge([dirs.workspace, home ?? dirs.home]);
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
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      const final = ctx.leaving.aborted ? last : last.then(sample);
      await Promise.race([final, sleep(LAST_SAMPLE_MS, undefined, { ref: false })]);
      disk.close();
    },
  };
}
