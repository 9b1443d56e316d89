import type { Principal, StoredEvent } from "./engine.ts";
import type { LogFeed } from "./feed.ts";
import type { Framing, LogPage } from "./pages.ts";

/** How a log is written to a stream: bytes before, between and after its events. */
export interface StreamFormat {
  readonly contentType: string;
  readonly opening: Uint8Array;
  readonly event: Framing;
  /** Sent where nothing else was for a while; empty: nothing is sent. */
  readonly heartbeat: Uint8Array;
  /** Sent after the last event of a run that has ended. */
  readonly closing: Uint8Array;
}

/** Server-sent events. No event name: a named event never reaches `onmessage`. */
export const SSE: StreamFormat = {
  contentType: "text/event-stream; charset=utf-8",
  opening: Buffer.from("retry: 2000\n\n"),
  event: (event: StoredEvent) => `id: ${event.seq}\ndata: ${event.json}\n\n`,
  heartbeat: Buffer.from(":\n\n"),
  closing: Buffer.from('data: {"type":"stream.done"}\n\n'),
};

const NOTHING = new Uint8Array(0);

/** One envelope a line, and nothing else. */
export const NDJSON: StreamFormat = {
  contentType: "application/x-ndjson; charset=utf-8",
  opening: NOTHING,
  event: (event: StoredEvent) => `${event.json}\n`,
  heartbeat: NOTHING,
  closing: NOTHING,
};

export interface StreamSource {
  readonly feed: LogFeed;
  readonly principal: Principal;
  /** The page with which the stream begins, read at `version`. */
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
  let { version, first: page } = source;
  let sentAt = performance.now();
  yield* nonEmpty(format.opening);
  for (;;) {
    const isSilent = performance.now() - sentAt >= source.heartbeatMs;
    if (!page.isEmpty || isSilent) {
      yield* nonEmpty(page.isEmpty ? format.heartbeat : page.bytes);
      sentAt = performance.now();
    }
    if (page.ended && !page.more && !source.follow) return yield* nonEmpty(format.closing);
    if (!page.more) await feed.changed(version, signal);
    if (signal.aborted) return;
    version = feed.version();
    page = await feed.read({ principal, after: page.last, framing: format.event });
  }
}

/** A chunk of no bytes would end a chunked body. */
function* nonEmpty(bytes: Uint8Array): Generator<Uint8Array, void> {
  if (bytes.byteLength > 0) yield bytes;
}
