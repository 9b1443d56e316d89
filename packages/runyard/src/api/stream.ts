import type { LogForm, Principal } from "./engine.ts";
import type { LogFeed } from "./feed.ts";
import type { LogPage } from "./pages.ts";

/** How a log is written to a stream: bytes before, between and after its events. */
export interface StreamFormat {
  readonly contentType: string;
  readonly opening: Uint8Array;
  readonly event: LogForm;
  /** Sent where nothing else was for a while; empty: nothing is sent. */
  readonly heartbeat: Uint8Array;
  /** Sent after the last event of a run that has ended. */
  readonly closing: Uint8Array;
}

/** Server-sent events. No event name: a named event never reaches `onmessage`. */
export const SSE: StreamFormat = {
  contentType: "text/event-stream; charset=utf-8",
  opening: Buffer.from("retry: 2000\n\n"),
  event: "sse",
  heartbeat: Buffer.from(":\n\n"),
  closing: Buffer.from('data: {"type":"stream.done"}\n\n'),
};

const NOTHING = new Uint8Array(0);

/** One envelope a line, and nothing else. */
export const NDJSON: StreamFormat = {
  contentType: "application/x-ndjson; charset=utf-8",
  opening: NOTHING,
  event: "ndjson",
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
  /** Called once, however the stream ends; with an error when a read failed. */
  onEnd(error?: unknown): void;
}

export interface LogStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Ends it without its closing bytes, so that the client comes back for the rest. */
  stop(): void;
}

/** A page that was asked for before it was needed. */
interface Ahead {
  readonly version: number;
  readonly page: Promise<LogPage>;
}

/**
 * A run's log as a stream of bytes that is pulled: where there is more behind a page, the next one is read while that
 * one is sent, and no further one, so that a reader who does not read costs two pages.
 */
export function streamLog(source: StreamSource): LogStream {
  const { feed, format, principal } = source;
  let { version, first: page } = source;
  let begun: "nothing" | "opening" | "all" = "nothing";
  let ahead: Ahead | null = null;
  let isStopped = false;
  let isOver = false;
  let sentAt = performance.now();
  let wake = (): void => undefined;

  const end = (error?: unknown): void => {
    if (isOver) return;
    isOver = true;
    source.onEnd(error);
  };
  const send = (controller: Controller, bytes: Uint8Array): boolean => {
    // A chunk of no bytes would end a chunked body.
    if (bytes.byteLength === 0) return false;
    controller.enqueue(bytes);
    sentAt = performance.now();
    return true;
  };
  const isLast = (): boolean => page.ended && !page.more && !source.follow;
  const finish = (controller: Controller): void => {
    if (!isStopped) send(controller, format.closing);
    controller.close();
    end();
  };
  const ask = (): Ahead => ({ version: feed.version(), page: feed.read({ principal, after: page.last, form: format.event }) });
  /** Sends what the page has to give; false: nothing. */
  const offer = (controller: Controller): boolean => {
    if (page.more && !isStopped) {
      ahead = ask();
      // Thrown to whoever takes it.
      ahead.page.catch(() => undefined);
    }
    if (!page.isEmpty) return send(controller, page.bytes);
    return performance.now() - sentAt >= source.heartbeatMs && send(controller, format.heartbeat);
  };
  const readOn = async (controller: Controller): Promise<void> => {
    for (;;) {
      if (isLast()) return finish(controller);
      if (!page.more && !isStopped) await new Promise<void>((resolve) => feed.onceChanged(version, (wake = resolve)));
      if (isOver) return;
      if (isStopped) return finish(controller);
      const next: Ahead = ahead ?? ask();
      ahead = null;
      version = next.version;
      page = await next.page;
      if (isOver || offer(controller)) return;
    }
  };
  const pull = (controller: Controller): Promise<void> | undefined => {
    if (begun === "nothing") {
      begun = "opening";
      if (send(controller, format.opening)) return undefined;
    }
    if (begun === "opening") {
      begun = "all";
      if (offer(controller)) return undefined;
    }
    return readOn(controller).catch((error: unknown) => {
      if (isOver) return;
      end(error);
      controller.close();
    });
  };
  const stop = (): void => {
    isStopped = true;
    wake();
  };
  const cancel = (): void => {
    end();
    wake();
  };
  return { body: new ReadableStream<Uint8Array>({ pull, cancel }, { highWaterMark: 0 }), stop };
}

type Controller = ReadableStreamDefaultController<Uint8Array>;
