import type { IncomingHttpHeaders } from "node:http";
import { z } from "zod";
import type { ChosenModel } from "./choose-model.ts";
import type { ErrorShape } from "./error-shapes.ts";
import type { Provider, ProviderApi } from "./protocol.ts";
import { elementIn } from "./json-array.ts";
import { Refusal } from "./refusal.ts";
import { dataOf } from "./sse.ts";

/** What the gateway must know of a question that providers answer. */
export interface QuestionFormat {
  /** The path at the door; `{model}` in it stands for a model's name. */
  readonly doorPath: string;
  /** The path below the base URL of a provider of that API, with `{model}` where it has one; null where that one does not speak the format. */
  providerPath(api: ProviderApi): string | null;
  /** The provider's key, as this format tells it, and what of the client's headers the provider gets besides. */
  providerHeaders(provider: Provider, client: IncomingHttpHeaders): Record<string, string>;
  /** Puts the real model's name in, and asks for usage where that must be asked for. Throws a Refusal for what is no request of this format. */
  prepareRequest(raw: Buffer, chooseModel: ChooseModel, address: DoorAddress): PreparedRequest;
  readonly errorBody: ErrorShape;
}

/** What a request says in its URL. */
export interface DoorAddress {
  /** The name where the path has one. */
  readonly model: string | null;
  readonly query: URLSearchParams;
}

/** A format of model calls, and nothing else knows of it: one file for each. */
export interface WireFormat extends QuestionFormat {
  /** Judges an answer that was not streamed. One that is not JSON is taken for cut: nothing else tells when the end of the connection is the end of the answer. */
  readWholeAnswer(body: Buffer): AnswerReport;
  watchStream(request: Pick<PreparedRequest, "wantsUsageEvent" | "framing">): StreamWatcher;
  readonly outputLimit: OutputLimit;
}

/** How a format says how long its answer may be, in tokens. */
interface OutputLimit {
  /** As it stands there; undefined: it is not said. */
  read(body: JsonObject): unknown;
  write(body: JsonObject, limit: number, provider: Provider): JsonObject;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** Who answers the model that a client asks for; throws a Refusal when there is nobody. */
export type ChooseModel = (asked: string) => ChosenModel;

/** A request as the provider gets it. */
export interface PreparedRequest extends ChosenModel {
  readonly body: Buffer;
  readonly stream: boolean;
  /** False when an event that only tells the usage is for the gateway, because the client did not ask for it. */
  readonly wantsUsageEvent: boolean;
  /** How a stream is cut into events; left out: as server-sent events. */
  readonly framing?: "json-array";
  /** What the URL asks for behind its `?`. */
  readonly query?: string;
}

/** As every format's figures are told here, whatever its provider includes where; null: the provider did not say. */
export interface TokenCounts {
  /** All of the input, what was read from a cache and what was written to one included. */
  readonly inputTokens: number | null;
  /** All of the output, reasoning included. */
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
  readonly cacheWriteTokens: number | null;
  readonly reasoningTokens: number | null;
}
export const NO_TOKENS: TokenCounts = {
  inputTokens: null,
  outputTokens: null,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
};

/** No call has a billion tokens: a provider that says so has not counted. */
const MOST_TOKENS = 1_000_000_000;
/** A figure as a provider tells it; null for what is none. */
export const tokenCount = z.number().int().min(0).max(MOST_TOKENS).nullish().catch(null);

/** What came of an answer: `error` is null for a good one. */
export interface AnswerReport {
  readonly complete: boolean;
  readonly error: string | null;
  readonly tokens: TokenCounts;
}

/** What to do with an event: pass it on, keep it back, or pass it on as the end of the answer. */
export type EventFate = "forward" | "drop" | "last";

/** An event, read. */
export interface StreamEvent {
  /** Null: it has none, a comment for example. */
  readonly data: string | null;
  /** What the data says; undefined where it is no JSON. */
  readonly value: unknown;
}

/** Watches a streamed answer, event by event. */
export interface StreamWatcher {
  see(event: StreamEvent): EventFate;
  /**
   * Looks over whole events without reading them. True: it need not see any of them, and they are to be passed on. That one makes
   * no sense inside its braces is not noticed here.
   */
  skim(block: Buffer): boolean;
  /** The provider ended the stream properly: is the answer whole? */
  report(): AnswerReport;
  /** The event that tells a client in the middle of a stream that it broke. */
  errorEvent(message: string): Buffer;
}

/** What bytes or a text say; undefined where they are no JSON. */
export function parseJson(text: Buffer | string): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A request's body by its schema; `what` names it for the Refusal that is thrown for anything else. */
export function readRequest<Schema extends z.ZodType>(raw: Buffer, schema: Schema, what: string): z.infer<Schema> {
  const value = parseJson(raw);
  if (value === undefined) throw new Refusal(400, "invalid_json", { message: "The body is not JSON." });
  const request = schema.safeParse(value);
  if (request.success) return request.data;
  const issue = request.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "the body" : `"${issue.path.join(".")}"`;
  throw new Refusal(400, "invalid_request", { message: `This is not a ${what} request. ${where}: ${issue?.message ?? "not valid"}.` });
}

/** Reads an event as a splitter gives it. */
export function readEvent(event: Buffer, framing?: PreparedRequest["framing"]): StreamEvent {
  const data = framing === "json-array" ? elementIn(event) : dataOf(event);
  return { data, value: data === null ? undefined : parseJson(data) };
}

/** The provider's own words in an error body, or null when there are none. */
export function errorMessageOf(body: Buffer): string | null {
  const value = parseJson(body);
  return value === undefined ? body.toString().trim() || null : messageIn(value);
}

/** Providers differ: `{error: {message}}`, `{error: "..."}`, `{message}`, `{detail}`, sometimes in a list. */
export function messageIn(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return messageIn(value[0]);
  if (typeof value !== "object" || value === null) return null;
  const { error, message, detail } = value as Record<string, unknown>;
  return messageIn(error) ?? messageIn(message) ?? messageIn(detail);
}

/** The report of an answer that is not `what` it should be. */
export function notAnAnswer(body: Buffer, what: string): AnswerReport {
  const words = errorMessageOf(body);
  const error = `The provider's answer is not ${what}${words === null ? "." : `: ${words}`}`;
  return { complete: parseJson(body) !== undefined, error, tokens: NO_TOKENS };
}

/** What a provider says is wrong in the middle of a stream. */
export function reportedError(event: unknown): string {
  return messageIn(event) ?? "The provider reported an error without words.";
}

/** Reads events by their schema; `fail` gets words for those that are not `what` they should be. */
export function eventReader<Schema extends z.ZodType>(
  schema: Schema,
  { what, see, fail }: { what: string; see: (event: z.infer<Schema>) => EventFate; fail: (words: string) => void },
): (event: StreamEvent) => EventFate {
  return ({ data, value }) => {
    if (data === null) return "forward";
    const event = schema.safeParse(value);
    if (event.success) return see(event.data);
    fail(`The provider sent an event that is not ${what}.`);
    return "forward";
  };
}
