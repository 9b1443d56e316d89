import { nanoUsdOf } from "../core/usage.ts";
import type { PriceTable, Provider } from "./protocol.ts";
import { NO_TOKENS, type TokenCounts } from "./wire-format.ts";

/** What a model costs at a provider. All figures are nano US dollars, rounded up. */
export interface Rates {
  /** What a call cost; null: its provider did not say enough. */
  cost(tokens: TokenCounts): number | null;
  /** What a call of so many tokens may cost at most, whatever of it was read from a cache or written to one. */
  atMost(tokens: { readonly input: number; readonly output: number }): number;
}

/** A million dollars, which no budget is beyond: what is told to cost more must still be a number that a journal holds. */
const MOST_NANO_USD = 1_000_000_000_000_000;

/** What costs nothing. */
export const NO_RATES: Rates = { cost: () => 0, atMost: () => 0 };

/**
 * What a model costs at a provider, or null where nobody knows. Known by the provider's own table, else by what it is
 * `pricedAs`, else by the host that its base URL names: a local server with a model of a known name has no price.
 */
export async function ratesOf(provider: Provider, model: string): Promise<Rates | null> {
  if (provider.prices === "free") return NO_RATES;
  // A table of every model that there is: loaded by whoever needs a price.
  const { calcPrice } = await import("@pydantic/genai-prices");
  const options = listedAt(provider, model);
  const calculate = (usage: Readonly<Record<string, number>>): number | null => {
    const result = calcPrice(usage, model, options);
    return result === null ? null : Math.min(MOST_NANO_USD, nanoUsdOf(result.total_price));
  };
  if (calculate({ input_tokens: 1, output_tokens: 1 }) === null) return null;

  return {
    cost({ inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens }) {
      if (inputTokens === null || outputTokens === null) return null;
      // Parts that are more than the whole cannot be calculated.
      const read = Math.min(cachedInputTokens ?? 0, inputTokens);
      return calculate({
        input_tokens: inputTokens,
        output_tokens: outputTokens,
        cache_read_tokens: read,
        cache_write_tokens: Math.min(cacheWriteTokens ?? 0, inputTokens - read),
        output_reasoning_tokens: Math.min(reasoningTokens ?? 0, outputTokens),
      });
    },
    atMost({ input, output }) {
      // Each token has a price of its own, so the dearest call is one whose tokens are all of one kind.
      const inputs = [{}, { cache_read_tokens: input }, { cache_write_tokens: input }];
      const outputs = [{}, { output_reasoning_tokens: output }];
      const kinds = inputs.flatMap((one) => outputs.map((other) => ({ ...one, ...other })));
      return Math.max(...kinds.map((kind) => calculate({ input_tokens: input, output_tokens: output, ...kind }) ?? 0));
    },
  };
}

/**
 * Whether somebody knows what a model costs, by the provider that it names, or that there is alone; null where a call has
 * to say which of them it is.
 */
export async function isPriced(providers: readonly Provider[], model: string | null): Promise<boolean | null> {
  const rates = await ratesAt(providers, model);
  return rates === undefined ? null : rates !== null;
}

/** What calls of a model cost together, in nano US dollars; null where nobody knows. */
export async function costOf(
  providers: readonly Provider[],
  model: string | null,
  calls: readonly { readonly input: number; readonly cached: number; readonly output: number }[],
): Promise<number | null> {
  const rates = (await ratesAt(providers, model)) ?? null;
  const costs = calls.map(({ input, cached, output }) =>
    rates === null ? null : rates.cost({ ...NO_TOKENS, inputTokens: input, cachedInputTokens: cached, outputTokens: output }),
  );
  return costs.reduce((sum: number | null, cost) => (sum === null || cost === null ? null : sum + cost), 0);
}

/** The rates of a model before it is called; undefined where only a call says which provider answers. */
async function ratesAt(providers: readonly Provider[], model: string | null): Promise<Rates | null | undefined> {
  const [only] = providers.length === 1 ? providers : providers.filter(({ name }) => model?.startsWith(`${name}/`) === true);
  if (only === undefined || model === null) return undefined;
  return ratesOf(only, model.startsWith(`${only.name}/`) ? model.slice(only.name.length + 1) : model);
}

/** Where the library looks for the prices of a provider's model. */
export function listedAt(provider: Provider, model: string) {
  const own = provider.prices === "free" ? undefined : provider.prices?.[model];
  if (own !== undefined) return { provider: listOf(model, own) };
  return provider.pricedAs === undefined ? { providerApiUrl: provider.baseUrl } : { providerId: provider.pricedAs };
}

/** A list of one model's prices. */
function listOf(model: string, prices: PriceTable[string]) {
  const { inputUsdPerMillion: input, outputUsdPerMillion: output, cachedInputUsdPerMillion, cacheWriteUsdPerMillion } = prices;
  const perMillion = {
    input_mtok: input,
    output_mtok: output,
    cache_read_mtok: cachedInputUsdPerMillion ?? input,
    cache_write_mtok: cacheWriteUsdPerMillion ?? input,
  };
  return { id: "own", name: "own", api_pattern: ".*", models: [{ id: model, match: { equals: model }, prices: perMillion }] };
}
