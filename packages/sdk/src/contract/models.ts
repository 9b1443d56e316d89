import { z } from "zod";
import { providerApiSchema } from "./server.ts";

const usdPerMillion = z.number().min(0).nullable();

/** A model that runs can have. What nobody knows is null. */
export const modelSchema = z.object({
  /** As a run names it: `provider/model`. */
  id: z.string(),
  provider: z.string(),
  /** For people. */
  name: z.string().nullable(),
  /** How much of a conversation it takes, in tokens. */
  contextTokens: z.number().int().nullable(),
  /** US dollars for a million tokens. */
  inputUsdPerMillion: usdPerMillion,
  outputUsdPerMillion: usdPerMillion,
  /** Of input that the provider has in its cache. */
  cachedInputUsdPerMillion: usdPerMillion,
});
export type Model = z.infer<typeof modelSchema>;

/** A provider that was asked for its models. */
export const listedProviderSchema = z.object({
  name: z.string(),
  api: providerApiSchema,
  /** Host and port. */
  host: z.string(),
  /** How many models it has; null where it did not say. */
  models: z.number().int().nullable(),
  /** Why it did not say, in a sentence. */
  problem: z.string().nullable(),
});

/** Answer of `GET /v1/models`: what each provider says of itself, at most some minutes old. */
export const modelListSchema = z.object({ data: z.array(modelSchema), providers: z.array(listedProviderSchema) });
export type ModelList = z.infer<typeof modelListSchema>;
