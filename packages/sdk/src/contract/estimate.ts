import { z } from "zod";
import { IN_MILLISECONDS } from "./milliseconds.ts";

/** What a run would take, before it is created. */
export const estimateSchema = z.object({
  /** US dollars; null: nobody knows. */
  cost: z.number().nullable(),
  /** Active time in milliseconds; null: nobody knows. */
  executionTime: z.number().int().nullable().describe(IN_MILLISECONDS),
  /** US dollars, between which a run costs more often than not; null: nobody knows. */
  range: z.object({ low: z.number(), high: z.number() }).nullable(),
  /** `history`: runs of the same agent on the same repository; `task`: what such runs mostly take, at the model's prices. */
  basis: z.enum(["history", "task", "unknown"]),
  /** How many runs of the past it goes by. */
  runs: z.number().int(),
});
export type Estimate = z.infer<typeof estimateSchema>;

/** Answer of `POST /v1/agent-runs/estimate`. */
export const runEstimateSchema = estimateSchema.extend({
  /** What the run would wait for beside its turn, as things stand now: somebody who approves what it costs, or memory for its sandbox. */
  waitsFor: z.array(z.enum(["approval", "memory"])),
});
export type RunEstimate = z.infer<typeof runEstimateSchema>;
