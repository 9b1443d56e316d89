import { divergenceSchema } from "@runyard/sdk/contract";
import { z } from "zod";

const tokens = z.number().int().min(0).nullable();
const amount = z.number().int().min(0);

/** Written before a model call goes to the provider. */
export const exchangeOpenSchema = z.object({
  type: z.literal("open"),
  /** `<count>-<random>`: the second half names the gateway process that made the call. */
  id: z.string().regex(/^\d+-[0-9a-f]+$/),
  /** ISO 8601, UTC. */
  at: z.iso.datetime(),
  /** The provider's name; null in journals of earlier versions. */
  provider: z.string().nullable().default(null),
  /** The model's name as the provider got it. */
  model: z.string(),
  /** The path at the gateway's door, for example `/v1/chat/completions`. */
  path: z.string(),
  /** Of the run; null in journals of earlier versions. */
  turn: z.number().int().nullable().default(null),
  attempt: z.number().int().nullable().default(null),
  /** The call of the replayed run whose answer this one gets; null: none, and in every run that is no replay. */
  replays: z.string().nullable().default(null),
  /** What is set aside of the run's budget until the call has ended; null: the run has none. */
  reservedNanoUsd: amount.nullable().default(null),
  reservedTokens: amount.nullable().default(null),
});
export type ExchangeOpen = z.infer<typeof exchangeOpenSchema>;

/** Written after a model call has ended, however it ended. Figures that nobody measured are null, never 0. */
export const exchangeCloseSchema = z.object({
  type: z.literal("close"),
  id: exchangeOpenSchema.shape.id,
  at: z.iso.datetime(),
  /** As in the `open` line; null in journals of earlier versions. */
  provider: z.string().nullable().default(null),
  model: z.string().nullable().default(null),
  /** The provider's HTTP status; null when no answer came. */
  status: z.number().int().nullable(),
  /** A status of success, an answer that came whole and makes sense, and nobody broke it off. */
  ok: z.boolean(),
  /** The provider's answer came to its own end. */
  complete: z.boolean(),
  /** As the provider counted: `inputTokens` includes the two of the cache, `outputTokens` includes `reasoningTokens`. */
  inputTokens: tokens,
  outputTokens: tokens,
  cachedInputTokens: tokens,
  cacheWriteTokens: tokens.default(null),
  reasoningTokens: tokens.default(null),
  /** Nano US dollars; null: the model has no known price, or nobody knows what the provider counted. */
  costNanoUsd: amount.nullable().default(null),
  /** What counts against a budget: the cost and the tokens, or where they are not known, what was set aside. */
  countedNanoUsd: amount.default(0),
  countedTokens: amount.default(0),
  /** Null when nobody saw the end. */
  durationMs: z.number().int().min(0).nullable(),
  /** How often the provider was asked: more than once where it was too busy at first. */
  tries: z.number().int().min(0).nullable().default(null),
  /** What went wrong, in plain words, the provider's own where it gave some. */
  error: z.string().nullable(),
  /** Of the provider's answer, those that the client got; null when no answer came, and in journals of earlier versions. */
  headers: z.record(z.string(), z.string()).nullable().default(null),
  /** How long the recorded bodies are once they are written; null in journals of earlier versions, and when nobody saw the end. */
  requestBytes: z.number().int().min(0).nullable().default(null),
  responseBytes: z.number().int().min(0).nullable().default(null),
  /** `measured`: the gateway saw the call to its end. `estimate`: it died in the middle, and this line was written by a later one. */
  settled: z.enum(["measured", "estimate"]),
});
export type ExchangeClose = z.infer<typeof exchangeCloseSchema>;

/** Written in a replay with the first call that differs from the recording, and with the first that the recording cannot answer. */
const divergenceLineSchema = divergenceSchema.extend({ type: z.literal("divergence"), at: z.iso.datetime() });
export type DivergenceLine = z.infer<typeof divergenceLineSchema>;

/** Written when a budget stood in the way of a call: a server ends the run when it reads it. */
const budgetLineSchema = z.object({
  type: z.literal("budget"),
  /** The call that was cut short; null: it was not made. */
  exchangeId: exchangeOpenSchema.shape.id.nullable(),
  at: z.iso.datetime(),
  /** What the run might spend, and had spent. */
  nanoUsd: amount.nullable(),
  tokens: amount.nullable(),
  spentNanoUsd: amount,
  spentTokens: amount,
  /** What happened, in plain words. */
  message: z.string(),
});
export type BudgetLine = z.infer<typeof budgetLineSchema>;

/** Written where a run with a budget comes from another host: what it has spent there. */
const carriedLineSchema = z.object({
  type: z.literal("carried"),
  at: z.iso.datetime(),
  nanoUsd: amount,
  tokens: amount,
});

/** Written when a program of the run wanted to reach what it may not; once for each target. */
const egressLineSchema = z.object({ type: z.literal("egress"), at: z.iso.datetime(), target: z.string(), reason: z.string() });
export type EgressLine = z.infer<typeof egressLineSchema>;

/** Written when a secret was put into the header of so many requests to a host, since the line before. */
const secretUseLineSchema = z.object({
  type: z.literal("secret-use"),
  at: z.iso.datetime(),
  /** Its name. */
  secret: z.string(),
  /** With its port where that is not 443. */
  host: z.string(),
  requests: amount,
});
export type SecretUseLine = z.infer<typeof secretUseLineSchema>;

/**
 * One line of `exchanges.ndjson`. The file is only ever appended to, in whole lines; every `open` gets
 * exactly one `close` with its id, after it.
 */
export type ExchangeLine =
  | ExchangeOpen
  | ExchangeClose
  | DivergenceLine
  | BudgetLine
  | EgressLine
  | SecretUseLine
  | z.infer<typeof carriedLineSchema>;
const exchangeLineSchema = z.discriminatedUnion("type", [
  exchangeOpenSchema,
  exchangeCloseSchema,
  divergenceLineSchema,
  budgetLineSchema,
  carriedLineSchema,
  egressLineSchema,
  secretUseLineSchema,
]);

/** The line without its newline, or null for one that is empty, torn by a crash, or of a kind that this version does not know. */
export function parseExchangeLine(text: string): ExchangeLine | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return exchangeLineSchema.safeParse(value).data ?? null;
}
