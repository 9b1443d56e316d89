import { eventDataSchemas, type EventPlace, type RunEvent } from "../contract/events.ts";
import { connectionError } from "./connection.ts";
import { foreignAnswer, RunyardApiError } from "./errors.ts";
import { createSseParser, type SseMessage } from "./sse.ts";
import { mayRepeat, type Transport, waitBefore } from "./transport.ts";
import { type Deadline, sleep, startDeadline } from "./wait.ts";

/** An event as the server sent it, of a type that this version may not know. */
export type UnknownEvent = EventPlace & { readonly type: string; readonly data: Readonly<Record<string, unknown>> };

/**
 * True for an event of a type that this version knows; its `data` then has that type's shape. Shapes
 * grow by addition, so there may be more in it.
 */
export function isKnownEvent(event: RunEvent | UnknownEvent): event is RunEvent {
  return Object.hasOwn(eventDataSchemas, event.type);
}

export interface EventsOptions {
  /** Begin behind this `seq`; default 0: from the first event on. */
  readonly after?: number;
  /** Stay after the end of a turn, for those to come. */
  readonly follow?: boolean;
  /** Ends the stream; the loop then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The server sends something every 15 s: after three such times without a byte the connection is dead. */
export const IDLE_MS = 45_000;
/** Connections in a row that bring nothing before the stream gives up; with the waits between, about a minute. */
const MAX_BARREN_CONNECTIONS = 10;
/** A connection that stood this long was a good one, even if nothing happened on it. */
const GOOD_CONNECTION_MS = 10_000;

interface Target extends EventsOptions {
  readonly path: string;
  readonly idleMs: number;
}

/** How far a stream has come, across its connections. */
interface Progress {
  after: number;
  /** Connections in a row that brought no event. */
  barren: number;
  /** Where nothing was ever reached, waiting for a minute would only hide that. */
  reached: boolean;
}

/**
 * A run's events, each once and in order, across as many connections as it takes. Returns after the
 * last event of a turn; throws when the server refuses, or stays away for about a minute.
 */
export async function* streamEvents(transport: Transport, target: Target): AsyncGenerator<RunEvent | UnknownEvent, void> {
  const { maxRetries, retryDelayMs, baseUrl } = transport.config;
  const progress: Progress = { after: target.after ?? 0, barren: 0, reached: false };
  for (;;) {
    const openedAt = performance.now();
    let broken: unknown;
    try {
      if (yield* eventsOf(transport, target, progress)) return;
      broken = connectionError(baseUrl, { code: "ECONNRESET" });
    } catch (error) {
      target.signal?.throwIfAborted();
      if (!mayRepeat(error)) throw error;
      broken = error;
    }
    if (performance.now() - openedAt >= GOOD_CONNECTION_MS) progress.barren = 0;
    progress.barren += 1;
    if (progress.barren > (progress.reached ? MAX_BARREN_CONNECTIONS : maxRetries)) throw broken;
    await sleep(waitBefore(broken, progress.barren, retryDelayMs), target.signal);
  }
}

/** The new events of one connection; returns true when the server has said that they were the last. */
async function* eventsOf(transport: Transport, target: Target, progress: Progress): AsyncGenerator<RunEvent | UnknownEvent, boolean> {
  for await (const message of messagesOf(transport, target, progress.after)) {
    progress.reached = true;
    const event = envelopeOf(message);
    if (event === "done") return true;
    if (event === undefined || event.seq <= progress.after) continue;
    progress.barren = 0;
    progress.after = event.seq;
    yield event;
  }
  return false;
}

/** The messages of one connection, until it ends, breaks or falls silent. */
async function* messagesOf(transport: Transport, target: Target, after: number): AsyncGenerator<SseMessage, void> {
  const { path, follow, idleMs, signal } = target;
  const deadline = startDeadline(idleMs, signal);
  const query = { after, ...(follow === true ? { follow: 1 } : {}) };
  try {
    const response = await transport.open({ method: "GET", path, query, accept: "text/event-stream", repeatable: true }, deadline);
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
    if (!isStream || response.body === null) throw foreignAnswer(response);
    yield* parsed(response.body.getReader(), deadline);
  } catch (error) {
    if (RunyardApiError.is(error) || signal?.aborted) throw error;
    throw connectionError(transport.config.baseUrl, error, deadline.expired() ? idleMs : undefined);
  } finally {
    deadline.end();
  }
}

async function* parsed(reader: ReadableStreamDefaultReader<Uint8Array>, deadline: Deadline): AsyncGenerator<SseMessage, void> {
  const parser = createSseParser();
  for (;;) {
    deadline.touch();
    const { done, value } = await reader.read();
    if (done) return;
    // The time that the caller takes for its events is not silence of the server.
    deadline.hold();
    yield* parser.push(value);
  }
}

/** Only what every event has is looked at: newer servers may send more types, fields and values. */
function envelopeOf(message: SseMessage): RunEvent | UnknownEvent | "done" | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message.data);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { seq, type } = value as { seq?: unknown; type?: unknown };
  if (typeof type !== "string") return undefined;
  if (typeof seq === "number" && Number.isSafeInteger(seq) && seq > 0) return value as RunEvent | UnknownEvent;
  return type === "stream.done" ? "done" : undefined;
}
