import { z } from "zod";
import { openaiError } from "./error-shapes.ts";
import type { Provider } from "./protocol.ts";
import { openaiHeaders } from "./provider-headers.ts";
import { refuseRemoteContent } from "./remote-content.ts";
import {
  type AnswerReport,
  type ChooseModel,
  type EventFate,
  eventReader,
  type JsonObject,
  NO_TOKENS,
  notAnAnswer,
  parseJson,
  type PreparedRequest,
  readRequest,
  reportedError,
  type StreamWatcher,
  tokenCount,
  type TokenCounts,
  type WireFormat,
} from "./wire-format.ts";

/** OpenAI's chat completions, which most other providers speak too. */
export const openaiChat: WireFormat = {
  doorPath: "/v1/chat/completions",
  providerPath: (api) => CHAT_PATHS[api],
  providerHeaders: openaiHeaders,
  prepareRequest,
  errorBody: openaiError,
  readWholeAnswer,
  watchStream,
  outputLimit: {
    read: (body) => body["max_completion_tokens"] ?? body["max_tokens"],
    write: withLimit,
  },
};

/** The makers of other APIs serve this one too. */
const CHAT_PATHS = {
  openai: "/chat/completions",
  anthropic: "/v1/chat/completions",
  gemini: "/v1beta/openai/chat/completions",
  scripted: "/v1/chat/completions",
} as const;

const requestSchema = z.looseObject({
  model: z.string().min(1),
  messages: z.array(z.unknown()),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});

export function prepareRequest(raw: Buffer, chooseModel: ChooseModel): PreparedRequest {
  const data = readRequest(raw, requestSchema, "chat completion");
  refuseRemoteContent(data.messages);
  const chosen = chooseModel(data.model);
  const { model } = chosen;
  const stream = data.stream === true;
  const wantsUsageEvent = data.stream_options?.include_usage === true;
  const isFinal = model === data.model && (!stream || wantsUsageEvent);
  if (isFinal) return { ...chosen, body: raw, stream, wantsUsageEvent };
  const options = stream ? { stream_options: { ...data.stream_options, include_usage: true } } : {};
  return { ...chosen, body: Buffer.from(JSON.stringify({ ...data, model, ...options })), stream, wantsUsageEvent };
}

const LIMIT_NAMES = ["max_completion_tokens", "max_tokens"] as const;

/** By the names that the client used. OpenAI's newer models refuse the name that everybody else's know alone. */
function withLimit(body: JsonObject, limit: number, provider: Provider): JsonObject {
  const used = LIMIT_NAMES.filter((name) => typeof body[name] === "number");
  const names = used.length > 0 ? used : [hasNewName(provider) ? LIMIT_NAMES[0] : LIMIT_NAMES[1]];
  return { ...body, ...Object.fromEntries(names.map((name) => [name, limit])) };
}

const NEW_NAME_HOSTS = /(?:^|\.)(?:openai\.com|azure\.com)$/;

/** Also behind a proxy, where that is told. */
function hasNewName({ baseUrl, pricedAs }: Provider): boolean {
  return pricedAs === "openai" || pricedAs === "azure" || NEW_NAME_HOSTS.test(new URL(baseUrl).hostname);
}

const usageSchema = z
  .looseObject({
    prompt_tokens: tokenCount,
    completion_tokens: tokenCount,
    total_tokens: tokenCount,
    prompt_tokens_details: z.looseObject({ cached_tokens: tokenCount, cache_write_tokens: tokenCount }).nullish().catch(null),
    completion_tokens_details: z.looseObject({ reasoning_tokens: tokenCount }).nullish().catch(null),
    /** DeepSeek's, and Moonshot's. */
    prompt_cache_hit_tokens: tokenCount,
    cached_tokens: tokenCount,
  })
  .nullish()
  .catch(null);

function tokensIn(usage: z.infer<typeof usageSchema>): TokenCounts {
  if (!usage) return NO_TOKENS;
  const { prompt_tokens: input = null, completion_tokens: output = null, total_tokens: total = null } = usage;
  const { prompt_tokens_details: inputDetails, completion_tokens_details: outputDetails } = usage;
  // Some leave reasoning out of the completion, and only the total tells.
  const beside = input === null || total === null ? null : total - input;
  return {
    inputTokens: input,
    outputTokens: output !== null && beside !== null ? Math.max(output, beside) : output,
    cachedInputTokens: inputDetails?.cached_tokens ?? usage.prompt_cache_hit_tokens ?? usage.cached_tokens ?? null,
    cacheWriteTokens: inputDetails?.cache_write_tokens ?? null,
    reasoningTokens: outputDetails?.reasoning_tokens ?? null,
  };
}

const wholeAnswerSchema = z.looseObject({ choices: z.array(z.unknown()), usage: usageSchema });

export function readWholeAnswer(body: Buffer): AnswerReport {
  const answer = wholeAnswerSchema.safeParse(parseJson(body));
  if (!answer.success) return notAnAnswer(body, "a chat completion");
  return { complete: true, error: null, tokens: tokensIn(answer.data.usage) };
}

const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ index: z.number().catch(0), finish_reason: z.string().nullish().catch(null) })).catch([]),
  usage: usageSchema,
  /** Groq's usage, where nobody asked for one. */
  x_groq: z.looseObject({ usage: usageSchema }).nullish().catch(null),
  error: z.unknown().optional(),
});

/**
 * What tells more than a piece of the first choice, anywhere in a block of events. A key cannot be in what a model says: quotes have a
 * backslash there. Most providers say in every event that there is no reason and no usage yet.
 */
const MATTERS = /"(?:finish_reason|usage|x_groq|error)"[\s:]*[^n\s:]|"index"[\s:]*[^0\s:]|data:(?!\s*\{)/;

/**
 * An answer is whole with `[DONE]`, or when the provider ended the stream properly after a
 * `finish_reason` for each choice that it began: some compatible servers never send `[DONE]`, and their
 * answers are as good. Everything else is cut, however clean its end looks.
 *
 * The usage event that the client did not ask for is kept back: its `choices` are empty, and a client
 * that reads `choices[0]` without looking would fall over it.
 */
export function watchStream(request: { readonly wantsUsageEvent: boolean }): StreamWatcher {
  const begun = new Set<number>();
  const finished = new Set<number>();
  let done = false;
  let error: string | null = null;
  let tokens = NO_TOKENS;
  const fail = (words: string): void => void (error ??= words);

  const seeChunk = (chunk: z.infer<typeof chunkSchema>): EventFate => {
    const { choices, usage, x_groq: groq } = chunk;
    for (const choice of choices) {
      begun.add(choice.index);
      if (choice.finish_reason) finished.add(choice.index);
    }
    if (chunk.error) fail(reportedError(chunk));
    if (!usage && groq?.usage) tokens = tokensIn(groq.usage);
    if (!usage) return "forward";
    tokens = tokensIn(usage);
    const isForGateway = choices.length === 0 && !chunk.error && !request.wantsUsageEvent;
    return isForGateway ? "drop" : "forward";
  };

  const read = eventReader(chunkSchema, { what: "a chat completion chunk", see: seeChunk, fail });
  return {
    see(event) {
      if (event.data?.trim() !== "[DONE]") return read(event);
      done = true;
      return "last";
    },
    // Each choice that was begun must be known.
    skim: (block) => begun.has(0) && !MATTERS.test(block.toString("latin1")),
    report: () => ({ complete: done || (begun.size > 0 && begun.size === finished.size && error === null), error, tokens }),
    errorEvent(message) {
      const words = { message, type: "server_error", param: null, code: "upstream_interrupted" };
      return Buffer.from(`data: ${JSON.stringify({ error: words })}\n\n`);
    },
  };
}
