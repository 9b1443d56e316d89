import type { z } from "zod";
import { Refusal } from "./refusal.ts";

/** What the gateway must know of a provider's API, and nothing else does: one file for each format. */
export interface WireFormat {
  /** The path at the door, and what it is below the provider's base URL. */
  readonly doorPath: string;
  readonly providerPath: string;
  /** Puts the real model's name in, and asks for usage where that must be asked for. Throws a Refusal for what is no request of this format. */
  prepareRequest(raw: Buffer, chooseModel: (asked: string) => string): PreparedRequest;
  /** Judges an answer that was not streamed. One that is not JSON is taken for cut: nothing else tells when the end of the connection is the end of the answer. */
  readWholeAnswer(body: Buffer): AnswerReport;
  watchStream(request: { readonly wantsUsageEvent: boolean }): StreamWatcher;
}

/** A request as the provider gets it. */
export interface PreparedRequest {
  readonly body: Buffer;
  readonly model: string;
  readonly stream: boolean;
  /** False when an event that only tells the usage is for the gateway, because the client did not ask for it. */
  readonly wantsUsageEvent: boolean;
}

export interface TokenCounts {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
}
export const NO_TOKENS: TokenCounts = { inputTokens: null, outputTokens: null, cachedInputTokens: null };

/** What came of an answer: `error` is null for a good one. */
export interface AnswerReport {
  readonly complete: boolean;
  readonly error: string | null;
  readonly tokens: TokenCounts;
}

/** What to do with an event: pass it on, keep it back, or pass it on as the end of the answer. */
export type EventFate = "forward" | "drop" | "last";

/** Watches a streamed answer, event by event. */
export interface StreamWatcher {
  see(event: Buffer): EventFate;
  /** The provider ended the stream properly: is the answer whole? */
  report(): AnswerReport;
  /** The event that tells a client in the middle of a stream that it broke. */
  errorEvent(message: string): Buffer;
}

export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
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

/** An error body; all formats of OpenAI's have this one. */
export function errorBody(error: { readonly status: number; readonly code: string; readonly message: string }): Buffer {
  const type = error.status >= 500 ? "server_error" : "invalid_request_error";
  return Buffer.from(JSON.stringify({ error: { message: error.message, type, param: null, code: error.code } }));
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
