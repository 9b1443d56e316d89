import { usdOrNull } from "../core/usage.ts";
import { listedAt, ratesOf } from "./prices.ts";
import type { Provider } from "./protocol.ts";
import { NO_TOKENS, type TokenCounts } from "./wire-format.ts";

/** What is known of a model; null: nothing. Prices are US dollars for a million tokens. */
export interface ModelFacts {
  readonly contextTokens: number | null;
  readonly inputUsdPerMillion: number | null;
  readonly outputUsdPerMillion: number | null;
  readonly cachedInputUsdPerMillion: number | null;
}

/** Few enough for the lowest price of a model that costs more from some length on. */
const SAMPLE = 1_000;

/** The prices by which calls are priced, and the context by the public lists. */
export async function modelFacts(provider: Provider, model: string): Promise<ModelFacts> {
  const { calcPrice } = await import("@pydantic/genai-prices");
  const rates = await ratesOf(provider, model);
  const perMillion = (tokens: Partial<TokenCounts>): number | null => {
    const nanoUsd = rates?.cost({ ...NO_TOKENS, inputTokens: 0, outputTokens: 0, ...tokens }) ?? null;
    return usdOrNull(nanoUsd === null ? null : nanoUsd * (1_000_000 / SAMPLE));
  };
  return {
    contextTokens: calcPrice({}, model, listedAt(provider, model))?.model.context_window ?? null,
    inputUsdPerMillion: perMillion({ inputTokens: SAMPLE }),
    outputUsdPerMillion: perMillion({ outputTokens: SAMPLE }),
    cachedInputUsdPerMillion: perMillion({ inputTokens: SAMPLE, cachedInputTokens: SAMPLE }),
  };
}
