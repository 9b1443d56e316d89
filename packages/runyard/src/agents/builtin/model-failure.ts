import { APICallError, JSONParseError, RetryError, TypeValidationError } from "ai";
import { cutEnd } from "./text.ts";

/**
 * Why a model call failed. `status`: the provider answered with an HTTP error; `unreachable`: no answer;
 * `cut`: the answer stopped before its end; `stream-error`: the provider said in its answer that it
 * failed; `malformed`: the answer is not what the protocol says; `configuration`: no call was made.
 */
export type ModelFailureReason = "status" | "unreachable" | "cut" | "stream-error" | "malformed" | "configuration" | "other";

/** A model call that failed; the message is a plain sentence with the provider's own words. */
export class ModelFailure extends Error {
  override readonly name = "ModelFailure";
  readonly reason: ModelFailureReason;
  readonly statusCode: number | null;

  constructor(message: string, details: { reason: ModelFailureReason; statusCode?: number | undefined; cause?: unknown }) {
    super(message, { cause: details.cause });
    this.reason = details.reason;
    this.statusCode = details.statusCode ?? null;
  }
}

/** Reads an error of the AI SDK, or what came as an error in its stream. */
export function readModelFailure(error: unknown): ModelFailure {
  if (error instanceof ModelFailure) return error;
  if (RetryError.isInstance(error)) {
    const last = readModelFailure(error.lastError);
    return new ModelFailure(`${last.message} (after ${error.errors.length} tries)`, {
      reason: last.reason,
      statusCode: last.statusCode ?? undefined,
      cause: error,
    });
  }
  if (APICallError.isInstance(error)) return readCallError(error);
  if (JSONParseError.isInstance(error) || TypeValidationError.isInstance(error)) {
    const got = JSONParseError.isInstance(error) ? error.text : JSON.stringify(error.value);
    return new ModelFailure(`The model provider sent something that is no chat completion: ${cutEnd(got, 300)}`, {
      reason: "malformed",
      cause: error,
    });
  }
  return readOtherError(error);
}

function readCallError(error: APICallError): ModelFailure {
  const { statusCode } = error;
  if (statusCode === undefined) {
    const words = error.message.replace(/^Cannot connect to API: /, "");
    return new ModelFailure(`The model provider cannot be reached at ${new URL(error.url).origin}: ${words}`, {
      reason: "unreachable",
      cause: error,
    });
  }
  // The answer had begun well: it is its body that broke.
  if (statusCode < 400) return cutOff(error);
  return new ModelFailure(`The model provider answered ${statusCode}: ${wordsOf(error)}`, { reason: "status", statusCode, cause: error });
}

/** The provider's own words: the message of its error, else its body, else the name of the status. */
function wordsOf(error: APICallError): string {
  if (error.data !== undefined && error.message !== "") return cutEnd(error.message, 1_000);
  const body = error.responseBody?.trim() ?? "";
  if (body !== "") return cutEnd(body, 1_000);
  return error.message === "" ? "(no explanation)" : error.message;
}

function cutOff(cause: unknown): ModelFailure {
  return new ModelFailure("The model provider's answer was cut off before its end", { reason: "cut", cause });
}

/** Errors by which the SDK says that a stream stopped without the provider's last event. */
const ENDED_EARLY = new Set(["AI_InvalidResponseDataError", "AI_NoOutputGeneratedError", "AI_EmptyResponseBodyError"]);

function readOtherError(error: unknown): ModelFailure {
  if (error instanceof Error) {
    if (error.message === "terminated" || ENDED_EARLY.has(error.name)) return cutOff(error);
    return new ModelFailure(`The model call failed: ${error.message}`, { reason: "other", cause: error });
  }
  // An `error` event of the provider in its stream comes as it is: text, or an object with a message.
  const words = typeof error === "string" ? error : messageOf(error);
  return new ModelFailure(`The model provider broke off its answer: ${cutEnd(words, 1_000)}`, { reason: "stream-error", cause: error });
}

function messageOf(value: unknown): string {
  if (typeof value === "object" && value !== null && "message" in value && typeof value.message === "string") return value.message;
  return JSON.stringify(value) ?? String(value);
}
