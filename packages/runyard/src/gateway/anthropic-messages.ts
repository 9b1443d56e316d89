import { z } from "zod";
import { anthropicError } from "./error-shapes.ts";
import type { ProviderApi } from "./protocol.ts";
import { anthropicHeaders } from "./provider-headers.ts";
import { refuseRemoteContent, refuseStored, refuseTool } from "./remote-content.ts";
import {
  type AnswerReport,
  type ChooseModel,
  type DoorAddress,
  type EventFate,
  eventReader,
  isObject,
  type JsonObject,
  notAnAnswer,
  parseJson,
  type PreparedRequest,
  type QuestionFormat,
  readRequest,
  reportedError,
  type StreamWatcher,
  tokenCount,
  type TokenCounts,
  type WireFormat,
} from "./wire-format.ts";

/** Anthropic's Messages. */
export const anthropicMessages: WireFormat = {
  doorPath: "/v1/messages",
  providerPath: (api) => pathAt(api, "/v1/messages"),
  providerHeaders: anthropicHeaders,
  prepareRequest,
  errorBody: anthropicError,
  readWholeAnswer,
  watchStream,
  outputLimit: { read: (body) => body["max_tokens"], write: withLimit },
};

/** How many tokens a request would have: no model is called for it. */
export const anthropicCount: QuestionFormat = {
  doorPath: "/v1/messages/count_tokens",
  providerPath: (api) => pathAt(api, "/v1/messages/count_tokens"),
  providerHeaders: anthropicHeaders,
  prepareRequest,
  errorBody: anthropicError,
};

function pathAt(api: ProviderApi, path: string): string | null {
  return api === "anthropic" || api === "scripted" ? path : null;
}

const requestSchema = z.looseObject({
  model: z.string().min(1),
  messages: z.array(z.unknown()),
  stream: z.boolean().nullish(),
  mcp_servers: z.array(z.unknown()).nullish(),
  container: z.unknown().optional(),
  tools: z
    .array(z.looseObject({ type: z.string().nullish().catch(null) }))
    .nullish()
    .catch(null),
});

/** Usage is told unasked, so nothing but the model's name ever changes. */
export function prepareRequest(raw: Buffer, chooseModel: ChooseModel, { query }: DoorAddress): PreparedRequest {
  const data = readRequest(raw, requestSchema, "Messages");
  if (data.mcp_servers?.length) refuseTool("mcp_servers");
  const fetcher = data.tools?.find(({ type }) => type?.startsWith("web_fetch"));
  if (fetcher?.type) refuseTool(fetcher.type);
  if (data.container) refuseStored("container");
  refuseRemoteContent(data.messages);
  const chosen = chooseModel(data.model);
  const { model } = chosen;
  const body = model === data.model ? raw : Buffer.from(JSON.stringify({ ...data, model }));
  // Programs that use betas say so in two places.
  const isBeta = query.get("beta") === "true" ? { query: "beta=true" } : {};
  return { ...chosen, body, stream: data.stream === true, wantsUsageEvent: true, ...isBeta };
}

/** The least that Anthropic lets a model think. */
const LEAST_THINKING_TOKENS = 1_024;

/** Thinking must stay below the limit. */
function withLimit(body: JsonObject, limit: number): JsonObject {
  const { thinking, ...rest } = body;
  if (!isObject(thinking) || typeof thinking["budget_tokens"] !== "number") return { ...body, max_tokens: limit };
  const budget = Math.min(thinking["budget_tokens"], limit - 1);
  const less = budget < LEAST_THINKING_TOKENS ? {} : { thinking: { ...thinking, budget_tokens: budget } };
  return { ...rest, max_tokens: limit, ...less };
}

const usageSchema = z
  .looseObject({
    input_tokens: tokenCount,
    output_tokens: tokenCount,
    cache_read_input_tokens: tokenCount,
    cache_creation_input_tokens: tokenCount,
  })
  .nullish()
  .catch(null);
type Usage = z.infer<typeof usageSchema>;

/** What was read from the cache and written to it stands beside the input, not in it. */
function tokensIn(usage: Usage): TokenCounts {
  const { input_tokens: fresh = null, cache_read_input_tokens: read = null, cache_creation_input_tokens: written = null } = usage ?? {};
  return {
    inputTokens: fresh === null ? null : fresh + (read ?? 0) + (written ?? 0),
    outputTokens: usage?.output_tokens ?? null,
    cachedInputTokens: read,
    cacheWriteTokens: written,
    reasoningTokens: null,
  };
}

const wholeAnswerSchema = z.looseObject({ content: z.array(z.unknown()), usage: usageSchema });

export function readWholeAnswer(body: Buffer): AnswerReport {
  const answer = wholeAnswerSchema.safeParse(parseJson(body));
  if (!answer.success) return notAnAnswer(body, "one of Messages");
  return { complete: true, error: null, tokens: tokensIn(answer.data.usage) };
}

const eventSchema = z.looseObject({
  type: z.string(),
  message: z.looseObject({ usage: usageSchema }).nullish().catch(null),
  usage: usageSchema,
});

/** What tells more than a piece of the answer, anywhere in a block of events. What a model says has a backslash before quotes. */
const MATTERS = /"message_(?:start|delta|stop)"|"error"|data:(?!\s*\{)/;

/**
 * An answer is whole with `message_stop`, and with nothing else, however clean its end looks. Its first event tells the input;
 * those of type `message_delta` tell sums up to then, in which what they leave out is as it was. What the first one says of the
 * output is no count of it.
 */
export function watchStream(): StreamWatcher {
  let begun = false;
  let done = false;
  let error: string | null = null;
  let usage: NonNullable<Usage> = {};
  const fail = (words: string): void => void (error ??= words);

  const seeEvent = (event: z.infer<typeof eventSchema>): EventFate => {
    if (event.type === "error") fail(reportedError(event));
    if (event.type === "message_start") {
      begun = true;
      usage = { ...event.message?.usage, output_tokens: null };
    }
    if (event.type === "message_delta") usage = { ...usage, ...told(event.usage) };
    if (event.type !== "message_stop") return "forward";
    done = true;
    return "last";
  };

  const read = eventReader(eventSchema, { what: "one of Messages", see: seeEvent, fail });
  return {
    see: read,
    skim: (block) => begun && !MATTERS.test(block.toString("latin1")),
    report: () => ({ complete: done, error, tokens: tokensIn(usage) }),
    errorEvent(message) {
      const event = { type: "error", error: { type: "api_error", message } };
      return Buffer.from(`event: error\ndata: ${JSON.stringify(event)}\n\n`);
    },
  };
}

/** Without what is not told. */
function told(usage: Usage): NonNullable<Usage> {
  return Object.fromEntries(Object.entries(usage ?? {}).filter(([, value]) => value !== null && value !== undefined));
}
