import { once } from "node:events";
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { ErrorShape } from "./error-shapes.ts";
import type { Redactor } from "../redact.ts";
import type { Refusal } from "./refusal.ts";

/** How long a client may take to read the end of an answer that broke. */
const LAST_WORDS_MS = 5_000;

/** What of a provider's headers is for the client; everything else stays here. */
const PASSED_HEADERS =
  /^(?:content-type|retry-after|retry-after-ms|x-should-retry|x-request-id|request-id|x-ratelimit-[a-z-]+|anthropic-ratelimit-[a-z-]+)$/;

export function passedHeaders(headers: IncomingHttpHeaders, redactor: Redactor): Record<string, string> {
  const passed = Object.entries(headers).filter(([name, value]) => PASSED_HEADERS.test(name) && typeof value === "string");
  return Object.fromEntries(passed.map(([name, value]) => [name, redactor.text(String(value))]));
}

/**
 * Begins an answer. Its length is never told, so that it is chunked and a cut shows; and its connection
 * is not used again, so that no later request runs into a gateway that is about to leave.
 */
export function beginAnswer(response: ServerResponse, status: number, headers: Readonly<Record<string, string>>): void {
  response.writeHead(status, { ...headers, "cache-control": "no-store", connection: "close" });
}

/** Answers with an error of the gateway's own. */
export function refuse(response: ServerResponse, refusal: Refusal, errorBody: ErrorShape): void {
  if (response.destroyed) return;
  const { retryAfterSeconds } = refusal;
  const retry: Record<string, string> =
    retryAfterSeconds === null ? { "x-should-retry": "false" } : { "retry-after": String(retryAfterSeconds) };
  beginAnswer(response, refusal.status, { "content-type": "application/json", ...retry });
  response.end(errorBody(refusal));
}

/** Writes the last bytes of an answer that broke and cuts the connection, so that nobody takes it for whole. */
export async function breakOff(response: ServerResponse, lastBytes: Buffer): Promise<void> {
  if (response.destroyed) return;
  const flushed = new Promise<void>((resolve) => response.write(lastBytes, () => resolve()));
  const timeout = AbortSignal.timeout(LAST_WORDS_MS);
  const gone = Promise.race([once(response, "close", { signal: timeout }), once(timeout, "abort")]).catch(() => undefined);
  await Promise.race([flushed, gone]);
  response.destroy();
}
