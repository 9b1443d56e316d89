import { z } from "zod";
import { Refusal } from "./refusal.ts";
import { dataOf } from "./sse.ts";

/**
 * What the gateway knows about OpenAI's chat completions, and nothing else does. A second wire format is
 * a second file with the same functions.
 */

/** The path at the door, and what it is below the provider's base URL. */
export const DOOR_PATH = "/v1/chat/completions";
export const PROVIDER_PATH = "/chat/completions";

export interface TokenCounts {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
}
export const NO_TOKENS: TokenCounts = { inputTokens: null, outputTokens: null, cachedInputTokens: null };

/** A request as the provider gets it. */
export interface PreparedRequest {
  readonly body: Buffer;
  readonly model: string;
  readonly stream: boolean;
  /** The client asked for the usage event itself; otherwise it is for the gateway only. */
  readonly wantsUsageEvent: boolean;
}

const requestSchema = z.looseObject({
  model: z.string().min(1),
  messages: z.array(z.unknown()),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});

/** Puts the real model's name in, and asks for usage where the answer is streamed. Throws a Refusal for what is no chat completion. */
export function prepareRequest(raw: Buffer, chooseModel: (asked: string) => string): PreparedRequest {
  const data = readRequest(raw);
  const model = chooseModel(data.model);
  const stream = data.stream === true;
  const wantsUsageEvent = data.stream_options?.include_usage === true;
  const isFinal = model === data.model && (!stream || wantsUsageEvent);
  if (isFinal) return { body: raw, model, stream, wantsUsageEvent };
  const options = stream ? { stream_options: { ...data.stream_options, include_usage: true } } : {};
  return { body: Buffer.from(JSON.stringify({ ...data, model, ...options })), model, stream, wantsUsageEvent };
}

function readRequest(raw: Buffer): z.infer<typeof requestSchema> {
  const value = parseJson(raw);
  if (value === undefined) throw new Refusal(400, "invalid_json", { message: "The body is not JSON." });
  const request = requestSchema.safeParse(value);
  if (request.success) return request.data;
  const issue = request.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "the body" : `"${issue.path.join(".")}"`;
  throw new Refusal(400, "invalid_request", {
    message: `This is not a chat completion request. ${where}: ${issue?.message ?? "not valid"}.`,
  });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** The format's error body. */
export function errorBody(error: { readonly status: number; readonly code: string; readonly message: string }): Buffer {
  const type = error.status >= 500 ? "server_error" : "invalid_request_error";
  return Buffer.from(JSON.stringify({ error: { message: error.message, type, param: null, code: error.code } }));
}

/** The event that tells a client in the middle of a stream that it broke. */
export function errorEvent(message: string): Buffer {
  const error = { message, type: "server_error", param: null, code: "upstream_interrupted" };
  return Buffer.from(`data: ${JSON.stringify({ error })}\n\n`);
}

/** The provider's own words in an error body, or null when there are none. */
export function errorMessageOf(body: Buffer): string | null {
  const value = parseJson(body);
  return value === undefined ? body.toString().trim() || null : messageIn(value);
}

/** Providers differ: `{error: {message}}`, `{error: "..."}`, `{message}`, `{detail}`, sometimes in a list. */
function messageIn(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return messageIn(value[0]);
  if (typeof value !== "object" || value === null) return null;
  const { error, message, detail } = value as Record<string, unknown>;
  return messageIn(error) ?? messageIn(message) ?? messageIn(detail);
}

const count = z.number().int().min(0).nullish().catch(null);
const usageSchema = z
  .looseObject({
    prompt_tokens: count,
    completion_tokens: count,
    prompt_tokens_details: z.looseObject({ cached_tokens: count }).nullish().catch(null),
  })
  .nullish()
  .catch(null);

function tokensIn(usage: z.infer<typeof usageSchema>): TokenCounts {
  return {
    inputTokens: usage?.prompt_tokens ?? null,
    outputTokens: usage?.completion_tokens ?? null,
    cachedInputTokens: usage?.prompt_tokens_details?.cached_tokens ?? null,
  };
}

/** What came of an answer: `error` is null for a good one. */
export interface AnswerReport {
  readonly complete: boolean;
  readonly error: string | null;
  readonly tokens: TokenCounts;
}

const wholeAnswerSchema = z.looseObject({ choices: z.array(z.unknown()), usage: usageSchema });

/** Judges an answer that was not streamed. One that is not JSON is taken for cut: nothing else tells when the end of the connection is the end of the answer. */
export function readWholeAnswer(body: Buffer): AnswerReport {
  const value = parseJson(body);
  const answer = wholeAnswerSchema.safeParse(value);
  if (answer.success) return { complete: true, error: null, tokens: tokensIn(answer.data.usage) };
  const words = errorMessageOf(body);
  return {
    complete: value !== undefined,
    error: `The provider's answer is not a chat completion${words === null ? "." : `: ${words}`}`,
    tokens: NO_TOKENS,
  };
}

const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ index: z.number().catch(0), finish_reason: z.string().nullish().catch(null) })).catch([]),
  usage: usageSchema,
  error: z.unknown().optional(),
});

/** What to do with an event: pass it on, keep it back, or pass it on as the end of the answer. */
export type EventFate = "forward" | "drop" | "last";

/** Watches a streamed answer, event by event. */
export interface StreamWatcher {
  see(event: Buffer): EventFate;
  /** The provider ended the stream properly: is the answer whole? */
  report(): AnswerReport;
}

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

  const seeChunk = (chunk: z.infer<typeof chunkSchema>): EventFate => {
    const { choices, usage } = chunk;
    for (const choice of choices) {
      begun.add(choice.index);
      if (choice.finish_reason) finished.add(choice.index);
    }
    if (chunk.error) error ??= messageIn(chunk) ?? "The provider reported an error without words.";
    if (!usage) return "forward";
    tokens = tokensIn(usage);
    const isForGateway = choices.length === 0 && !chunk.error && !request.wantsUsageEvent;
    return isForGateway ? "drop" : "forward";
  };

  return {
    see(event) {
      const data = dataOf(event);
      if (data === null) return "forward";
      if (data.trim() === "[DONE]") {
        done = true;
        return "last";
      }
      const chunk = chunkSchema.safeParse(parseJson(Buffer.from(data)));
      if (chunk.success) return seeChunk(chunk.data);
      error ??= "The provider sent an event that is not a chat completion chunk.";
      return "forward";
    },
    report: () => ({ complete: done || (begun.size > 0 && begun.size === finished.size && error === null), error, tokens }),
  };
}
