import { z } from "zod";
import { runIdSchema } from "./ids.ts";

const figure = z.number().int().min(0).nullable();
const cpuMs = figure.describe("Milliseconds of processor time, over all processors.");

/** What a command of a run used, as its control groups count it. Figures that were not measured are null, never 0. */
export const metricsSampleSchema = z.object({
  at: z.iso.datetime(),
  turn: z.number().int().positive(),
  attempt: z.number().int().positive(),
  /** `agent`, `setup-<index>`, or `verify-<round>-<index>` for a command that verified: each has control groups, and so counts, of its own. */
  step: z
    .string()
    .describe(
      "What was measured: `agent`, `setup-<index>` for a command of the set-up, or `verify-<round>-<index>` for a command that verifies.",
    ),
  cpuMs: cpuMs.describe("Milliseconds of processor time since the step began, over all processors."),
  memoryBytes: figure.describe("Bytes of memory at this time, those that the kernel keeps of files included."),
  memoryPeakBytes: figure.describe("The most that it has been since the step began, in bytes."),
  processes: figure.describe("Processes at this time, those that watch over the command included."),
  threads: figure.describe("Threads at this time, one or more for each process."),
  diskBytes: figure.describe(
    "Bytes that the attempt takes on the disk: workspace, homes and what was said; measured every ten seconds at most.",
  ),
});
export type MetricsSample = z.infer<typeof metricsSampleSchema>;

/** Answer of `GET /v1/agent-runs/{id}/metrics`. */
export const runMetricsSchema = z.object({
  runId: runIdSchema,
  /** In the order in which they were taken. */
  data: z.array(metricsSampleSchema),
  /** Over all turns, attempts and steps; null: nothing of it was measured. */
  totals: z.object({ cpuMs }),
  /** The most that a sample has; null: none has any. */
  peaks: z.object({
    memoryBytes: figure.describe("Bytes of memory."),
    processes: figure,
    threads: figure,
    diskBytes: figure.describe("Bytes on the disk."),
  }),
});
export type RunMetrics = z.infer<typeof runMetricsSchema>;
