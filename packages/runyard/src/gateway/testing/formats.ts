import type { ServerResponse } from "node:http";
import type { Provider, ProviderApi } from "../protocol.ts";
import type { TokenCounts } from "../wire-format.ts";
import { beginStream, chunk, delta, DONE, FINISH, QUESTION_OF_CHAT, type SeenRequest, sendJson, USAGE, USAGE_EVENT } from "./provider.ts";
import { COMPLETED, CREATED, HELLO, response, RESPONSES_QUESTION } from "./responses.ts";

/** Everything that tests ask of every format alike. */
export interface TestFormat {
  readonly name: string;
  /** Who serves it. */
  readonly api: ProviderApi;
  readonly path: string;
  readonly question: object;
  /** The field of the body that asks for a stream; null where the path does. */
  readonly streamField: "stream" | null;
  /** The provider's own path, below its base URL. */
  readonly providerPath: string;
  readonly contentType: string;
  /** Events of a stream: first ones, and those that end it well. */
  readonly begin: string;
  readonly end: string;
  /** An event in the middle with this text. */
  say(text: string): string;
  /** An event which is none. */
  readonly nonsense: string;
  /** The provider's own error in mid-stream. */
  error(message: string): string;
  /** A whole answer with this text; null where the path streams only. */
  whole: ((text: string) => object) | null;
  readonly tokens: TokenCounts;
  /** The message in an error body of the gateway's own; throws for another shape. */
  messageOf(body: string): string;
  /** The message in the last words of a stream that broke. */
  lastWords(body: string): string;
}

interface ErrorBody {
  readonly type?: string;
  readonly error: { readonly message: string; readonly type?: string; readonly status?: string };
}

function errorOf(body: string, isShape: (value: ErrorBody) => boolean): string {
  const value = JSON.parse(body) as ErrorBody;
  if (!isShape(value)) throw new Error(`another shape: ${body}`);
  return value.error.message;
}

const isOpenai = ({ error }: ErrorBody): boolean => "code" in error && error.type !== undefined;
const isAnthropic = ({ type, error }: ErrorBody): boolean => type === "error" && error.type !== undefined && !("code" in error);
const isGemini = ({ error }: ErrorBody): boolean => error.status !== undefined && typeof (error as { code?: unknown }).code === "number";

/** The data of the last event. */
function lastData(body: string): string {
  return body.trimEnd().split("data: ").at(-1) ?? "";
}

const COUNTED: TokenCounts = {
  inputTokens: 1_200,
  outputTokens: 34,
  cachedInputTokens: 1_000,
  cacheWriteTokens: null,
  reasoningTokens: null,
};

const chat: TestFormat = {
  name: "chat completions",
  api: "openai",
  path: "/v1/chat/completions",
  question: { ...QUESTION_OF_CHAT, stream_options: { include_usage: true } },
  streamField: "stream",
  providerPath: "/v1/chat/completions",
  contentType: "text/event-stream",
  begin: delta(""),
  end: FINISH + USAGE_EVENT + DONE,
  say: (text) => delta(text),
  nonsense: "data: no JSON\n\n",
  error: (message) => chunk({ error: { message } }),
  whole: (text) => ({ choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }], usage: USAGE }),
  tokens: COUNTED,
  messageOf: (body) => errorOf(body, isOpenai),
  lastWords: (body) => errorOf(lastData(body), isOpenai),
};

const responses: TestFormat = {
  name: "Responses",
  api: "openai",
  path: "/v1/responses",
  question: RESPONSES_QUESTION,
  streamField: "stream",
  providerPath: "/v1/responses",
  contentType: "text/event-stream",
  begin: CREATED,
  end: COMPLETED,
  say: (text) => HELLO.replace('"Hello"', () => JSON.stringify(text)),
  nonsense: "data: no JSON\n\n",
  error: (message) => `event: error\ndata: ${JSON.stringify({ type: "error", code: "x", message, param: null })}\n\n`,
  whole: (text) => response({ output: [{ type: "message", content: [{ type: "output_text", text }] }] }),
  tokens: { ...COUNTED, reasoningTokens: 0 },
  messageOf: (body) => errorOf(body, isOpenai),
  lastWords: (body) => (JSON.parse(lastData(body)) as { message: string }).message,
};

export const MESSAGES_QUESTION = { model: "runyard", max_tokens: 100, messages: [{ role: "user", content: "Say hello." }] };
const MESSAGES_USAGE = { input_tokens: 150, cache_read_input_tokens: 1_000, cache_creation_input_tokens: 50, output_tokens: 1 };

function messagesEvent(type: string, fields: object = {}): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

const messages: TestFormat = {
  name: "Messages",
  api: "anthropic",
  path: "/v1/messages",
  question: MESSAGES_QUESTION,
  streamField: "stream",
  providerPath: "/v1/messages",
  contentType: "text/event-stream",
  begin: messagesEvent("message_start", { message: { id: "msg_1", content: [], usage: MESSAGES_USAGE } }) + messagesEvent("ping"),
  end: messagesEvent("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 34 } }) + messagesEvent("message_stop"),
  say: (text) => messagesEvent("content_block_delta", { index: 0, delta: { type: "text_delta", text } }),
  nonsense: "event: x\ndata: no JSON\n\n",
  error: (message) => messagesEvent("error", { error: { type: "overloaded_error", message } }),
  whole: (text) => ({ type: "message", content: [{ type: "text", text }], usage: { ...MESSAGES_USAGE, output_tokens: 34 } }),
  tokens: { ...COUNTED, cacheWriteTokens: 50 },
  messageOf: (body) => errorOf(body, isAnthropic),
  lastWords: (body) => errorOf(lastData(body), isAnthropic),
};

export const GEMINI_QUESTION = { contents: [{ role: "user", parts: [{ text: "Say hello." }] }] };
const GEMINI_USAGE = {
  promptTokenCount: 1_200,
  cachedContentTokenCount: 1_000,
  candidatesTokenCount: 30,
  thoughtsTokenCount: 4,
  totalTokenCount: 1_234,
};

function geminiPart(text: string, fields: object = {}): object {
  return { candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...fields }] };
}

const gemini: TestFormat = {
  name: "Gemini with alt=sse",
  api: "gemini",
  path: "/v1beta/models/runyard:streamGenerateContent?alt=sse",
  question: GEMINI_QUESTION,
  streamField: null,
  providerPath: "/v1beta/models/model-x:streamGenerateContent?alt=sse",
  contentType: "text/event-stream",
  begin: `data: ${JSON.stringify(geminiPart(""))}\r\n\r\n`,
  end: `data: ${JSON.stringify({ ...geminiPart("", { finishReason: "STOP" }), usageMetadata: GEMINI_USAGE })}\r\n\r\n`,
  say: (text) => `data: ${JSON.stringify(geminiPart(text))}\r\n\r\n`,
  nonsense: "data: no JSON\r\n\r\n",
  error: (message) => `data: ${JSON.stringify({ error: { code: 503, message, status: "UNAVAILABLE" } })}\r\n\r\n`,
  whole: null,
  tokens: { ...COUNTED, reasoningTokens: 4 },
  messageOf: (body) => errorOf(body, isGemini),
  lastWords: (body) => errorOf(lastData(body), isGemini),
};

const geminiArray: TestFormat = {
  ...gemini,
  name: "Gemini as an array",
  path: "/v1beta/models/runyard:streamGenerateContent",
  providerPath: "/v1beta/models/model-x:streamGenerateContent",
  contentType: "application/json",
  begin: `[${JSON.stringify(geminiPart('{"[\\'))}`,
  end: `,\r\n${JSON.stringify({ ...geminiPart("", { finishReason: "STOP" }), usageMetadata: GEMINI_USAGE })}\n]\n`,
  say: (text) => `,\r\n${JSON.stringify(geminiPart(text))}`,
  nonsense: ",{no JSON}",
  error: (message) => `,\r\n${JSON.stringify({ error: { code: 503, message, status: "UNAVAILABLE" } })}`,
  lastWords: (body) => (JSON.parse(`${body}]`) as ErrorBody[]).at(-1)?.error.message ?? "",
};

const geminiWhole: TestFormat = {
  ...gemini,
  name: "Gemini at once",
  path: "/v1beta/models/runyard:generateContent",
  providerPath: "/v1beta/models/model-x:generateContent",
  contentType: "application/json",
  whole: (text) => ({ ...geminiPart(text, { finishReason: "STOP" }), usageMetadata: GEMINI_USAGE }),
};

/** Those that stream. */
export const STREAMED = [chat, responses, messages, gemini, geminiArray];
/** Those that answer in one piece. */
export const WHOLE = [chat, responses, messages, geminiWhole];

/** A provider of the format's API at a test's server. */
export function providerOf({ api }: TestFormat, { baseUrl, apiKey }: Pick<Provider, "baseUrl" | "apiKey">): Provider {
  return { name: api, api, baseUrl: api === "openai" ? baseUrl : baseUrl.replace(/\/v1$/, ""), apiKey, model: "model-x" };
}

/** The body of a request for a stream, or for a whole answer. */
export function asked(format: TestFormat, stream: boolean, fields: object = {}): object {
  return { ...format.question, ...fields, ...(stream && format.streamField !== null ? { [format.streamField]: true } : {}) };
}

/** The key that a provider was called with, wherever it stands. */
export function keyIn({ headers }: SeenRequest): unknown {
  return headers["x-api-key"] ?? headers["x-goog-api-key"] ?? headers.authorization?.replace("Bearer ", "");
}

/** Streams these texts, one event each, and ends well. */
export function streamWell(format: TestFormat, answer: ServerResponse, texts: readonly string[]): void {
  beginStreamOf(format, answer);
  answer.end(format.begin + texts.map((text) => format.say(text)).join("") + format.end);
}

export function beginStreamOf({ contentType }: TestFormat, answer: ServerResponse): void {
  if (contentType === "text/event-stream") beginStream(answer);
  else answer.writeHead(200, { "content-type": contentType });
}

export function sendWhole(format: TestFormat, answer: ServerResponse, text: string): void {
  sendJson(answer, 200, format.whole?.(text));
}
