import { z } from "zod";
import { modelFacts } from "./model-facts.ts";
import type { Provider, ProviderApi, ProviderModels } from "./protocol.ts";
import { anthropicHeaders, geminiHeaders, openaiHeaders } from "./provider-headers.ts";
import { readBounded } from "./read-bounded.ts";
import { createRedactor } from "../redact.ts";
import { callUpstream, urlBelow } from "./upstream.ts";
import { messageIn } from "./wire-format.ts";

const TIMEOUT_MS = 10_000;
const MAX_PAGES = 20;
/** How long a list counts as known; one that could not be had is asked for again sooner. */
const KEPT_MS = 300_000;
const PROBLEM_KEPT_MS = 10_000;

/** The providers' own lists of their models. */
export interface ModelLists {
  of(providers: readonly Provider[]): Promise<ProviderModels[]>;
}

/** Asks each provider once for all who want to know, and keeps what it said for some minutes. */
export function createModelLists(now: () => number = Date.now): ModelLists {
  const kept = new Map<string, { readonly list: Promise<ProviderModels>; until: number }>();
  const listOf = (provider: Provider): Promise<ProviderModels> => {
    // Whatever is changed of a provider may change its list.
    const key = JSON.stringify(provider);
    const known = kept.get(key);
    if (known !== undefined && known.until > now()) return known.list;
    const entry = { list: askProvider(provider), until: now() + KEPT_MS };
    kept.set(key, entry);
    void entry.list.then(({ problem }) => {
      if (problem !== null) entry.until = now() + PROBLEM_KEPT_MS;
    });
    return entry.list;
  };
  return {
    async of(providers) {
      for (const [key, entry] of kept) if (entry.until <= now()) kept.delete(key);
      return await Promise.all(providers.map(listOf));
    },
  };
}

/** Never rejects: a provider that does not answer is one with a problem. */
async function askProvider(provider: Provider): Promise<ProviderModels> {
  const { name, apiKey, models: own } = provider;
  if (own !== undefined) return { provider: name, models: await Promise.all(own.map((id) => withFacts(provider, { id }))), problem: null };
  const { text } = createRedactor([apiKey]);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const models: ToldModel[] = [];
    let query: string | null = LISTS[provider.api].query;
    for (let page = 0; query !== null && page < MAX_PAGES; page += 1) {
      const answer = await askPage(provider, query, signal);
      models.push(...answer.models);
      query = answer.next;
    }
    return { provider: name, models: await Promise.all(models.map((model) => withFacts(provider, model))), problem: null };
  } catch (error) {
    const message = signal.aborted ? `It did not list its models within ${TIMEOUT_MS / 1_000} seconds.` : (error as Error).message;
    return { provider: name, models: [], problem: text(message) };
  }
}

/** What a list says of a model. */
type ToldModel = Pick<ProviderModels["models"][number], "id"> & Partial<ProviderModels["models"][number]>;

/** What the provider says itself comes first. */
async function withFacts(provider: Provider, told: ToldModel): Promise<ProviderModels["models"][number]> {
  const known = await modelFacts(provider, told.id);
  return {
    id: told.id,
    name: told.name ?? null,
    contextTokens: told.contextTokens ?? known.contextTokens,
    inputUsdPerMillion: told.inputUsdPerMillion ?? known.inputUsdPerMillion,
    outputUsdPerMillion: told.outputUsdPerMillion ?? known.outputUsdPerMillion,
    cachedInputUsdPerMillion: told.cachedInputUsdPerMillion ?? known.cachedInputUsdPerMillion,
  };
}

interface Page {
  readonly models: readonly ToldModel[];
  /** The query of the next page. */
  readonly next: string | null;
}

async function askPage(provider: Provider, query: string, signal: AbortSignal): Promise<Page> {
  const { path, headers, read } = LISTS[provider.api];
  const url = urlBelow(provider.baseUrl, path, query);
  const answer = await callUpstream({ method: "GET", url, headers: headers(provider, {}), body: null, signal, way: provider });
  const body = (await readBounded(answer)).toString();
  const value = ((): unknown => {
    try {
      return JSON.parse(body);
    } catch {
      return body.trim();
    }
  })();
  if (answer.statusCode !== 200) throw new Error(`It answered ${answer.statusCode}: ${messageIn(value) ?? "no words"}`);
  const page = read(value);
  if (page === null) throw new Error("What it answered is no list of models.");
  return page;
}

const count = z.number().int().positive().nullish().catch(null);

/** US dollars for one token, as a text. */
const perToken = z
  .string()
  .transform((text) => Math.round(Number(text) * 1e12) / 1e6)
  .pipe(z.number().min(0))
  .nullish()
  .catch(null);

/** As OpenAI has it, with what others tell of a model besides: OpenRouter, Mistral, Groq, vLLM, llama.cpp. */
const openaiListSchema = z.looseObject({
  data: z.array(
    z.looseObject({
      id: z.string(),
      context_length: count,
      max_context_length: count,
      context_window: count,
      max_model_len: count,
      meta: z.looseObject({ n_ctx_train: count }).nullish().catch(null),
      name: z.string().nullish().catch(null),
      pricing: z.looseObject({ prompt: perToken, completion: perToken, input_cache_read: perToken }).nullish().catch(null),
    }),
  ),
});

function readOpenai(value: unknown): Page | null {
  const list = openaiListSchema.safeParse(value).data;
  if (list === undefined) return null;
  const models = list.data.map(({ id, ...told }) => ({
    id,
    name: told.name ?? null,
    inputUsdPerMillion: told.pricing?.prompt ?? null,
    outputUsdPerMillion: told.pricing?.completion ?? null,
    cachedInputUsdPerMillion: told.pricing?.input_cache_read ?? null,
    contextTokens:
      told.context_length ?? told.max_context_length ?? told.context_window ?? told.max_model_len ?? told.meta?.n_ctx_train ?? null,
  }));
  return { models, next: null };
}

const anthropicListSchema = z.looseObject({
  data: z.array(z.looseObject({ id: z.string(), display_name: z.string().nullish().catch(null), max_input_tokens: count })),
  has_more: z.boolean().catch(false),
  last_id: z.string().nullish().catch(null),
});

function readAnthropic(value: unknown): Page | null {
  const list = anthropicListSchema.safeParse(value).data;
  if (list === undefined) return null;
  const models = list.data.map((model) => ({
    id: model.id,
    name: model.display_name ?? null,
    contextTokens: model.max_input_tokens ?? null,
  }));
  return { models, next: list.has_more && list.last_id ? `limit=1000&after_id=${encodeURIComponent(list.last_id)}` : null };
}

const geminiListSchema = z.looseObject({
  models: z.array(
    z.looseObject({
      name: z.string(),
      displayName: z.string().nullish().catch(null),
      inputTokenLimit: count,
      supportedGenerationMethods: z.array(z.string()).nullish().catch(null),
    }),
  ),
  nextPageToken: z.string().nullish().catch(null),
});

function readGemini(value: unknown): Page | null {
  const list = geminiListSchema.safeParse(value).data;
  if (list === undefined) return null;
  const able = list.models.filter((model) => model.supportedGenerationMethods?.includes("generateContent") ?? true);
  const models = able.map((model) => ({
    id: model.name.replace(/^models\//, ""),
    name: model.displayName ?? null,
    contextTokens: model.inputTokenLimit ?? null,
  }));
  return { models, next: list.nextPageToken ? `pageSize=1000&pageToken=${encodeURIComponent(list.nextPageToken)}` : null };
}

interface ListFormat {
  readonly path: string;
  /** Of the first page. */
  readonly query: string;
  readonly headers: typeof openaiHeaders;
  /** Null for what is no list of models. */
  readonly read: (value: unknown) => Page | null;
}

const LISTS: Readonly<Record<ProviderApi, ListFormat>> = {
  openai: { path: "/models", query: "", headers: openaiHeaders, read: readOpenai },
  scripted: { path: "/v1/models", query: "", headers: openaiHeaders, read: readOpenai },
  anthropic: { path: "/v1/models", query: "limit=1000", headers: anthropicHeaders, read: readAnthropic },
  gemini: { path: "/v1beta/models", query: "pageSize=1000", headers: geminiHeaders, read: readGemini },
};
