import { z } from "zod";
import { runIdSchema } from "./ids.ts";

const tokens = z.number().int().nullable();

/** Tokens as the model's provider counted them; null while nothing is known. */
export const tokenFigures = {
  /** All of the input, what was read from a cache and what was written to one included. */
  inputTokens: tokens,
  /** All of the output, reasoning included. */
  outputTokens: tokens,
  cachedInputTokens: tokens,
  cacheWriteTokens: tokens,
  reasoningTokens: tokens,
};

/** One request to a model's provider that has ended. */
export const modelCallSchema = z.object({
  /** Names the call in the recording of the gateway. */
  exchangeId: z.string(),
  provider: z.string().nullable(),
  /** The model's name as the provider got it. */
  model: z.string().nullable(),
  ...tokenFigures,
  /** US dollars; null: the model has no known price, or the call broke off before the provider told what it used. */
  costUsd: z.number().nullable(),
  /** Milliseconds; null: nobody saw its end. */
  durationMs: z.number().int().nullable(),
  /** The provider's HTTP status; null when no answer came. */
  status: z.number().int().nullable(),
  /** A whole answer that makes sense. */
  ok: z.boolean(),
});
export type ModelCall = z.infer<typeof modelCallSchema>;

/** Sums over calls. */
const usageSumSchema = z.object({
  modelCalls: z.number().int(),
  failedModelCalls: z.number().int(),
  ...tokenFigures,
  /** US dollars, of the calls with a known cost; null: none has one. */
  costUsd: z.number().nullable(),
  /** Calls without a known cost. */
  unpricedCalls: z.number().int(),
});
export type UsageSum = z.infer<typeof usageSumSchema>;

/** What the model calls of a run used and cost: together, by turn, by model, and one by one. */
export const runUsageSchema = z.object({
  runId: runIdSchema,
  /** True when a scripted model of Runyard answered, which costs nothing. */
  simulated: z.boolean(),
  total: usageSumSchema,
  turns: z.array(usageSumSchema.extend({ turn: z.number().int() })),
  /** In the order in which they were first called. */
  models: z.array(usageSumSchema.extend({ provider: z.string().nullable(), model: z.string().nullable() })),
  /** In the order in which they ended. */
  calls: z.array(modelCallSchema.extend({ turn: z.number().int(), attempt: z.number().int(), at: z.iso.datetime() })),
});
export type RunUsage = z.infer<typeof runUsageSchema>;
