import { z } from "zod";
import { runIdSchema } from "./ids.ts";

/** `<count>-<hex digits of the gateway that made the call>`; an order is only in the list. */
export const exchangeIdSchema = z.string().regex(/^\d{1,9}-[0-9a-f]{1,64}$/, "must look like 1-5f3a…");

const tokens = z.number().int().nullable();

/** A model call of a run, as the gateway saw it. Figures that were not measured are null, never 0. */
export const exchangeSchema = z.object({
  id: exchangeIdSchema,
  /** Its place among all calls of the run, from 1. */
  number: z.number().int().positive(),
  at: z.iso.datetime(),
  /** Null in recordings of earlier versions. */
  turn: z.number().int().nullable(),
  attempt: z.number().int().nullable(),
  /** The provider's name; null where it has none. */
  provider: z.string().nullable(),
  /** The model's name as the provider got it. */
  model: z.string(),
  /** The path that the agent called. */
  path: z.string(),
  /** The provider's HTTP status; null when no answer came (yet). */
  status: z.number().int().nullable(),
  /** Whether it went well; null: it has no end, because it is under way, or because nobody could write that down. */
  ok: z.boolean().nullable(),
  /** Whether the answer came to its own end; null as for `ok`. */
  complete: z.boolean().nullable(),
  /** How often the provider was asked, because it was busy; 0 in a replay; null: nobody counted. */
  tries: z.number().int().nullable(),
  /** As the provider counted: `inputTokens` includes the two of the cache, `outputTokens` includes `reasoningTokens`. Null in a replay. */
  inputTokens: tokens,
  outputTokens: tokens,
  cachedInputTokens: tokens,
  cacheWriteTokens: tokens,
  reasoningTokens: tokens,
  /** US dollars; null: unknown. */
  costUsd: z.number().nullable(),
  durationMs: z.number().int().nullable(),
  error: z.string().nullable(),
  /** In a replay: the exchange of the replayed run whose answer was given; null: none, and in every other run. */
  replays: exchangeIdSchema.nullable(),
});
export type Exchange = z.infer<typeof exchangeSchema>;

/** Answer of `GET /v1/agent-runs/{id}/exchanges`, in the order in which the calls began. */
export const exchangeListSchema = z.object({
  data: z.array(exchangeSchema),
  /** Other runners that had the run in hand: the calls that it made there are recorded there. */
  elsewhere: z.array(z.string()),
});
export type ExchangeList = z.infer<typeof exchangeListSchema>;

export const EXCHANGE_SIDES = ["request", "response"] as const;
/** What the agent sent, or what it got. */
export type ExchangeSide = (typeof EXCHANGE_SIDES)[number];

export const exchangeBodySchema = z.object({
  /** `torn`: there is less of it than went over the wire. `missing`: there is nothing of it, because it could not be written. */
  state: z.enum(["whole", "torn", "missing"]),
  /** How many bytes are recorded. */
  bytes: z.number().int(),
  /** The body as JSON, where it is JSON and not longer than is shown; else null. */
  json: z.unknown(),
  /** The body as text, a stream of events for example, where it is not shown as JSON; null for one that is. */
  text: z.string().nullable(),
  /** `text` is the beginning only: the side's own route has all of it. */
  truncated: z.boolean(),
});
export type ExchangeBody = z.infer<typeof exchangeBodySchema>;

/** Answer of `GET /v1/agent-runs/{id}/exchanges/{xid}`. The provider's key and the run's token are taken out of it. */
export const exchangeDetailSchema = exchangeSchema.extend({
  /** Headers of the provider's answer that the agent got; null where none were recorded. */
  headers: z.record(z.string(), z.string()).nullable(),
  request: exchangeBodySchema,
  response: exchangeBodySchema,
});
export type ExchangeDetail = z.infer<typeof exchangeDetailSchema>;

/**
 * How a replay first differed from its recording. `request`: the agent asked something else. `extra-call`: it asked
 * once more than was recorded. `missing-call`: it asked less often. `not-recorded`: the recording of this exchange is
 * not whole.
 */
export const DIVERGENCE_KINDS = ["request", "extra-call", "missing-call", "not-recorded"] as const;

const divergence = {
  kind: z.enum(DIVERGENCE_KINDS),
  /** The place of the exchange in the recording, from 1; for `extra-call` the one behind its last. */
  exchange: z.number().int().positive(),
  /** The exchange of the replay that differs; null for `missing-call`. */
  exchangeId: exchangeIdSchema.nullable(),
  /** Where in the request, for example `messages[2].content`, `$` for the whole; null where no request can be compared. */
  path: z.string().nullable(),
  /** What was recorded there, and what came instead: text as it is, anything else as JSON, around the first character that differs. Null: nothing. */
  recorded: z.string().nullable(),
  replayed: z.string().nullable(),
};
export const divergenceSchema = z.object(divergence);
export type Divergence = z.infer<typeof divergenceSchema>;

/** What a replay shows of itself. */
export const replaySchema = z.object({
  /** The run that is replayed. */
  of: runIdSchema,
  /** The turn of it that is replayed, and how many it had by then. */
  turn: z.number().int(),
  turns: z.number().int(),
  /** Recorded exchanges of that turn. */
  exchanges: z.number().int(),
  /** Null: none (yet). */
  divergence: divergenceSchema.nullable(),
  /** Whether it ended in the same status and with the same files; null: it has not ended, or that cannot be told. */
  sameResult: z.boolean().nullable(),
});
export type Replay = z.infer<typeof replaySchema>;

/** `data` of the events that tell of replays. */
export const replayEventSchemas = {
  /** At most once in a run. */
  "replay.diverged": z.object(divergence),
};
