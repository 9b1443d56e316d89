import type { Principal, StoredEvent } from "./engine.ts";
import type { Framing, LogFeed, LogPage } from "./feed.ts";

/** How a log is written to a stream: bytes before, between and after its events. */
export interface StreamFormat {
  readonly contentType: string;
  readonly opening: string;
  readonly event: Framing;
  /** Sent where nothing else was for a while; empty: nothing is sent. */
  readonly heartbeat: string;
  /** Sent after the last event of a run that has ended. */
  readonly closing: string;
}

/** Server-sent events. No event name: a named event never reaches `onmessage`. */
export const SSE: StreamFormat = {
  contentType: "text/event-stream; charset=utf-8",
  opening: "retry: 2000\n\n",
  event: (event: StoredEvent) => `id: ${event.seq}\ndata: ${event.json}\n\n`,
  heartbeat: ":\n\n",
  closing: 'data: {"type":"stream.done"}\n\n',
};

/** One envelope a line, and nothing else. */
export const NDJSON: StreamFormat = {
  contentType: "application/x-ndjson; charset=utf-8",
  opening: "",
  event: (event: StoredEvent) => `${event.json}\n`,
  heartbeat: "",
  closing: "",
};

export interface StreamSource {
  readonly feed: LogFeed;
  readonly principal: Principal;
  /** The place before the first event to send; `first` is the page behind it, read at `version`. */
  readonly after: number;
  readonly first: LogPage;
  readonly version: number;
  readonly format: StreamFormat;
  /** Stay after the end of a turn, for those to come. */
  readonly follow: boolean;
  readonly heartbeatMs: number;
  /** Ends the stream without its closing bytes, so that the client comes back for the rest. */
  readonly signal: AbortSignal;
  /** A read that failed ended the stream. */
  onError(error: unknown): void;
}

/**
 * A run's log as a stream of bytes that is pulled: a page is read when the one before has been taken,
 * so that a reader who does not read costs one page. `onEnd` is called once, however it ends.
 */
export function streamLog(source: StreamSource, onEnd: () => void): ReadableStream<Uint8Array> {
  const chunks = logChunks(source);
  let open = true;
  const end = (): void => {
    if (open) onEnd();
    open = false;
  };
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = await chunks.next().catch((error: unknown) => {
          source.onError(error);
          return { done: true as const, value: undefined };
        });
        if (!open) return;
        if (!next.done) return controller.enqueue(next.value);
        end();
        controller.close();
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

async function* logChunks(source: StreamSource): AsyncGenerator<Uint8Array, void> {
  const { feed, format, principal, signal } = source;
  let { after, version, first: page } = source;
  let sentAt = performance.now();
  if (format.opening !== "") yield Buffer.from(format.opening);
  for (;;) {
    const last = page.events.at(-1);
    if (last !== undefined) {
      after = last.seq;
      yield page.framed(format.event);
      sentAt = performance.now();
    } else if (format.heartbeat !== "" && performance.now() - sentAt >= source.heartbeatMs) {
      yield Buffer.from(format.heartbeat);
      sentAt = performance.now();
    }
    if (page.ended && !page.more && !source.follow) {
      if (format.closing !== "") yield Buffer.from(format.closing);
      return;
    }
    if (!page.more) await feed.changed(version, signal);
    if (signal.aborted) return;
    version = feed.version();
    page = await feed.read(principal, after);
  }
}
