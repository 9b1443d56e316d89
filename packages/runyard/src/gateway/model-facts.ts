import type { Provider } from "./protocol.ts";

/** What the public lists say of a model; null: nothing. Prices are US dollars for a million tokens. */
export interface ModelFacts {
  readonly contextTokens: number | null;
  readonly inputUsdPerMillion: number | null;
  readonly outputUsdPerMillion: number | null;
  readonly cachedInputUsdPerMillion: number | null;
}

const MILLION = 1_000_000;
/** Few enough for the lowest price of a model that costs more from some length on. */
const SAMPLE = 1_000;

/** By the host of the provider's address: a local server with a model of a known name has no price. */
export async function modelFacts(provider: Provider, model: string): Promise<ModelFacts> {
  const { calcPrice } = await import("@pydantic/genai-prices");
  const options = { providerApiUrl: provider.baseUrl };
  const price = (usage: Readonly<Record<string, number>>): number | null => {
    const found = calcPrice(usage, model, options);
    return found === null ? null : Math.round((found.total_price * MILLION * MILLION) / SAMPLE) / MILLION;
  };
  return {
    contextTokens: calcPrice({}, model, options)?.model.context_window ?? null,
    inputUsdPerMillion: price({ input_tokens: SAMPLE }),
    outputUsdPerMillion: price({ output_tokens: SAMPLE }),
    cachedInputUsdPerMillion: price({ input_tokens: SAMPLE, cache_read_tokens: SAMPLE }),
  };
}
