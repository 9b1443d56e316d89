import { z } from "zod";
import { geminiError } from "./error-shapes.ts";
import type { ProviderApi } from "./protocol.ts";
import { geminiHeaders } from "./provider-headers.ts";
import { refuseRemoteContent, refuseStored, refuseTool } from "./remote-content.ts";
import {
  type AnswerReport,
  type ChooseModel,
  type DoorAddress,
  type EventFate,
  eventReader,
  isObject,
  type JsonObject,
  NO_TOKENS,
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

const GENERATE = "/v1beta/models/{model}:generateContent";
const STREAM = "/v1beta/models/{model}:streamGenerateContent";
const COUNT = "/v1beta/models/{model}:countTokens";

/** Gemini's generateContent. */
export const geminiGenerate: WireFormat = {
  doorPath: GENERATE,
  providerPath: (api) => pathAt(api, GENERATE),
  providerHeaders: geminiHeaders,
  prepareRequest,
  errorBody: geminiError,
  readWholeAnswer,
  watchStream,
  outputLimit: {
    read: (body) => configOf(body)["maxOutputTokens"] ?? configOf(body)["max_output_tokens"],
    write: withLimit,
  },
};

/** The same as a stream: of server-sent events where `alt=sse` asks for them, else of one JSON array. */
export const geminiStream: WireFormat = {
  ...geminiGenerate,
  doorPath: STREAM,
  providerPath: (api) => pathAt(api, STREAM),
  prepareRequest(raw, chooseModel, address) {
    const prepared = { ...prepareRequest(raw, chooseModel, address), stream: true };
    return address.query.get("alt") === "sse" ? { ...prepared, query: "alt=sse" } : { ...prepared, framing: "json-array" };
  },
};

/** How many tokens a request would have: no model is called for it. */
export const geminiCount: QuestionFormat = {
  doorPath: COUNT,
  providerPath: (api) => pathAt(api, COUNT),
  providerHeaders: geminiHeaders,
  prepareRequest: prepareCount,
  errorBody: geminiError,
};

function pathAt(api: ProviderApi, path: string): string | null {
  return api === "gemini" || api === "scripted" ? path : null;
}

/** By these tools the provider would reach addresses that stand in the conversation, or servers of somebody's. */
const REFUSED_TOOLS = ["urlContext", "url_context", "mcpServers", "mcp_servers"];

const requestSchema = z.looseObject({
  contents: z.array(z.unknown()),
  cachedContent: z.unknown().optional(),
  cached_content: z.unknown().optional(),
  tools: z.array(z.looseObject({})).nullish().catch(null),
});
type GenerateRequest = z.infer<typeof requestSchema>;
const countSchema = z.looseObject({
  contents: requestSchema.shape.contents.nullish(),
  generateContentRequest: requestSchema.nullish(),
});

/** The model stands in the path and usage is told unasked, so the body never changes. */
export function prepareRequest(raw: Buffer, chooseModel: ChooseModel, address: DoorAddress): PreparedRequest {
  refuseReach(readRequest(raw, requestSchema, "generateContent"));
  return { ...chooseModel(address.model ?? ""), body: raw, stream: false, wantsUsageEvent: true };
}

function prepareCount(raw: Buffer, chooseModel: ChooseModel, address: DoorAddress): PreparedRequest {
  const data = readRequest(raw, countSchema, "countTokens");
  const { contents, generateContentRequest: whole } = data;
  refuseReach({ contents: contents ?? [], ...whole });
  const chosen = chooseModel(address.model ?? "");
  const request = { ...data, generateContentRequest: { ...whole, model: `models/${chosen.model}` } };
  return { ...chosen, body: whole ? Buffer.from(JSON.stringify(request)) : raw, stream: false, wantsUsageEvent: true };
}

function refuseReach({ contents, tools, cachedContent, cached_content }: GenerateRequest): void {
  if (cachedContent ?? cached_content) refuseStored("cachedContent");
  const tool = REFUSED_TOOLS.find((name) => tools?.some((one) => name in one));
  if (tool !== undefined) refuseTool(tool);
  refuseRemoteContent(contents);
}

function withLimit(body: JsonObject, limit: number): JsonObject {
  const { generation_config: _, ...rest } = body;
  const { max_output_tokens: __, ...config } = configOf(body);
  return { ...rest, generationConfig: { ...config, maxOutputTokens: limit } };
}

/** How a request wants its answer to be made. */
export function configOf(body: JsonObject): JsonObject {
  const config = body["generationConfig"] ?? body["generation_config"];
  return isObject(config) ? config : {};
}

const usageSchema = z
  .looseObject({
    promptTokenCount: tokenCount,
    candidatesTokenCount: tokenCount,
    thoughtsTokenCount: tokenCount,
    toolUsePromptTokenCount: tokenCount,
    cachedContentTokenCount: tokenCount,
    totalTokenCount: tokenCount,
  })
  .nullish()
  .catch(null);

/** Thoughts stand beside the candidates, and what tools put in beside the prompt; what is 0 may be left out, and then only the total tells. */
function tokensIn(usage: z.infer<typeof usageSchema>): TokenCounts {
  if (!usage) return NO_TOKENS;
  const { promptTokenCount: prompt = null, candidatesTokenCount: said = null, thoughtsTokenCount: thoughts = null } = usage;
  const input = prompt === null ? null : prompt + (usage.toolUsePromptTokenCount ?? 0);
  const beside = input === null || usage.totalTokenCount == null ? null : Math.max(0, usage.totalTokenCount - input);
  return {
    inputTokens: input,
    outputTokens: said === null ? beside : said + (thoughts ?? 0),
    cachedInputTokens: usage.cachedContentTokenCount ?? null,
    cacheWriteTokens: null,
    reasoningTokens: thoughts,
  };
}

const answerSchema = z.looseObject({
  candidates: z
    .array(z.looseObject({ index: z.number().catch(0), finishReason: z.string().nullish().catch(null) }))
    .nullish()
    .catch(null),
  /** Where the prompt was refused, there are no candidates. */
  promptFeedback: z
    .looseObject({ blockReason: z.string().nullish().catch(null) })
    .nullish()
    .catch(null),
  usageMetadata: usageSchema,
  error: z.unknown().optional(),
});

export function readWholeAnswer(body: Buffer): AnswerReport {
  const answer = answerSchema.safeParse(parseJson(body)).data;
  if (!answer?.candidates && !answer?.promptFeedback) return notAnAnswer(body, "one of generateContent");
  return { complete: true, error: null, tokens: tokensIn(answer.usageMetadata) };
}

/**
 * An answer is whole when the provider ended the stream properly after a `finishReason` for each candidate that it began, or after
 * it refused the prompt. Each event tells the usage up to then.
 */
export function watchStream({ framing }: Pick<PreparedRequest, "framing">): StreamWatcher {
  const isArray = framing === "json-array";
  const begun = new Set<number>();
  const finished = new Set<number>();
  let isBlocked = false;
  let error: string | null = null;
  let tokens = NO_TOKENS;
  const fail = (words: string): void => void (error ??= words);

  const seePart = (part: z.infer<typeof answerSchema>): EventFate => {
    for (const candidate of part.candidates ?? []) {
      begun.add(candidate.index);
      if (candidate.finishReason) finished.add(candidate.index);
    }
    if (part.promptFeedback?.blockReason) isBlocked = true;
    if (part.usageMetadata) tokens = tokensIn(part.usageMetadata);
    if (part.error) fail(reportedError(part));
    return "forward";
  };

  const read = eventReader(answerSchema, { what: "one of generateContent", see: seePart, fail });
  return {
    see: read,
    // Each of its events tells the usage.
    skim: () => false,
    report: () => ({
      complete: error === null && (isBlocked || (begun.size > 0 && begun.size === finished.size)),
      error,
      tokens,
    }),
    errorEvent(message) {
      const words = geminiError({ status: 502, code: "upstream_interrupted", message });
      return Buffer.concat([Buffer.from(isArray ? "," : "data: "), words, Buffer.from("\n\n")]);
    },
  };
}
