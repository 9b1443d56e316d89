import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { beginAnswer, breakOff, refuse } from "./answer.ts";
import type { ErrorShape } from "./error-shapes.ts";
import type { ExchangeClose } from "./exchange-journal.ts";
import type { CallEnd, CallRecord } from "./recorder.ts";
import { Refusal } from "./refusal.ts";
import { createSseSplitter } from "./sse.ts";
import { NO_TOKENS } from "./wire-format.ts";

const RETRY_SECONDS = 2;

/** In a replay nobody is asked, and nobody counts tokens. */
const OFFLINE = { tries: 0, tokens: NO_TOKENS };
/** The end of a call that gets no answer. */
export const UNANSWERED = { status: null, ok: false, complete: false, headers: null, ...OFFLINE };

/** A call that is to be answered. */
export interface OpenCall {
  readonly response: ServerResponse;
  readonly record: CallRecord;
  /** How the agent reads errors. */
  readonly errorBody: ErrorShape;
}

/** Tells the agent that its call gets no answer, and would get none if it were made again. */
export function refuseCall({ response, record, errorBody }: OpenCall, message: string): void {
  record.close({ ...UNANSWERED, error: message });
  refuse(response, new Refusal(400, "replay_diverged", { message }), errorBody);
}

export interface Giving extends OpenCall {
  /** How the recorded call ended; null: nobody knows. */
  readonly close: ExchangeClose | null;
  /** What the recorded answer was. */
  readonly bytes: Buffer;
  /** Aborted when the run is ended. */
  readonly closed: AbortSignal;
}

/** Answers as it was answered then: the same status and bytes, event by event; and what broke then breaks again. */
export async function giveAnswer({ response, record, errorBody, close, bytes, closed }: Giving): Promise<void> {
  const end = endOf(close);
  if (!end.complete && bytes.length === 0) {
    record.close(end);
    return refuse(response, brokenOff(end), errorBody);
  }
  const pieces = piecesOf(bytes);
  const last = pieces.pop() ?? Buffer.alloc(0);
  beginAnswer(response, end.status ?? 200, { "content-type": typeOf(bytes), ...end.headers });
  if (!(await passAll(response, { record, pieces, closed }))) {
    const error = "The agent closed the connection before the recorded answer was complete.";
    record.close({ ...end, ok: false, complete: false, error });
    return void response.destroy();
  }
  void record.write(last);
  record.close(end);
  if (end.complete) response.end(last);
  else await breakOff(response, last);
}

function endOf(close: ExchangeClose | null): CallEnd {
  if (close === null) return { ...UNANSWERED, error: null };
  const { status, ok, complete, error, headers } = close;
  return { status, ok, complete, error, headers, ...OFFLINE };
}

/** What a client was told then whose answer broke before it got anything of it. */
function brokenOff({ status, error }: CallEnd): Refusal {
  const message = error ?? "The model's answer was never complete.";
  return new Refusal(status === null ? 503 : 502, "upstream_interrupted", { message, retryAfterSeconds: RETRY_SECONDS });
}

/** Sends pieces at the client's pace; false: it has gone, or the run was ended. */
async function passAll(
  response: ServerResponse,
  { record, pieces, closed }: { record: CallRecord; pieces: readonly Buffer[]; closed: AbortSignal },
): Promise<boolean> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.once("close", leave);
  closed.addEventListener("abort", leave, { once: true });
  try {
    for (const piece of pieces) {
      if (gone.signal.aborted) return false;
      const recorded = record.write(piece);
      if (!response.write(piece)) await once(response, "drain", { signal: gone.signal });
      await recorded;
    }
    return !gone.signal.aborted && !response.destroyed;
  } catch {
    return false;
  } finally {
    response.off("close", leave);
    closed.removeEventListener("abort", leave);
  }
}

/** Server-sent events one by one; anything else is one piece. */
function piecesOf(bytes: Buffer): Buffer[] {
  const splitter = createSseSplitter();
  const events = splitter.push(bytes).events();
  const rest = splitter.rest();
  return rest.length === 0 ? events : [...events, rest];
}

/** For recordings that do not say. */
function typeOf(bytes: Buffer): string {
  return /^\s*[[{]/.test(bytes.subarray(0, 64).toString()) ? "application/json" : "text/event-stream";
}
