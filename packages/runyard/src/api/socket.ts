import { RunyardError } from "@runyard/sdk/contract";
import type { WebSocket } from "ws";
import { z } from "zod";
import type { ApiHandler } from "./context.ts";
import type { Principal } from "./engine.ts";
import { type EventsOptions, seqSchema, watchToken } from "./events.ts";
import type { LogFeed } from "./feed.ts";
import type { LogPage } from "./pages.ts";
import { runIdOf } from "./runs.ts";
import { NDJSON } from "./stream.ts";
import { queryOf, validate } from "./validate.ts";

const querySchema = z.strictObject({ after: seqSchema.optional(), follow: z.enum(["0", "1"]).optional() });

/** Why a socket is closed, as RFC 6455 numbers it. */
const CLOSE = { done: 1000, leaving: 1001, unauthorized: 1008, failed: 1011 } as const;
/** A client that has answered none of so many pings is gone, or does not read. */
const MAX_MISSED_PINGS = 3;
/** How long a client may take to agree to a close. */
const CLOSE_MS = 1_000;
const DONE = '{"type":"stream.done"}';

/** `GET /v1/agent-runs/{id}/stream`: a run's log over a WebSocket, one event a message, from `after` on. */
export function socketHandler(options: EventsOptions): ApiHandler {
  return async (c) => {
    const id = runIdOf(c);
    const { after = 0, follow } = validate(querySchema, queryOf(c.req.url));
    const { principal } = c.var;
    const { feed, release } = options.feeds.open(principal.orgId, id);
    const version = feed.version();
    const first = await feed.read({ principal, after, form: NDJSON.event }).catch((error: unknown) => {
      release();
      throw error;
    });
    const { upgrade } = c.env;
    if (upgrade === undefined) {
      release();
      c.header("Upgrade", "websocket");
      throw new RunyardError("upgrade_required", "This path speaks WebSocket. Without one, read the same log at /events.");
    }
    const isOpen = upgrade((socket) => {
      const close = closer(socket);
      const leave = (): void => close(CLOSE.leaving, "The server is closing.");
      const unwatch = watchToken(c, options, () => close(CLOSE.unauthorized, "This token is not valid any more."));
      const stopPings = keepAlive(socket, options.heartbeatMs);
      socket.once("close", () => {
        unwatch();
        stopPings();
        options.openStreams.remove(leave);
        release();
      });
      socket.on("error", () => undefined);
      options.openStreams.add(leave);
      sendLog({ socket, feed, principal, first, version, follow: follow === "1" }).then(
        () => close(CLOSE.done, "The turn is over."),
        (error: unknown) => {
          options.onStreamError(c, error);
          close(CLOSE.failed, "The log could not be read. Come back with after=<the last seq>.");
        },
      );
    });
    if (!isOpen) release();
    return c.body(null);
  };
}

interface SocketSource {
  readonly socket: WebSocket;
  readonly feed: LogFeed;
  readonly principal: Principal;
  readonly first: LogPage;
  readonly version: number;
  readonly follow: boolean;
}

/** Sends page after page, each when the one before has been taken; resolves when there is no more, or nobody to send it to. */
async function sendLog(source: SocketSource): Promise<void> {
  const { socket, feed, principal, follow } = source;
  let { version, first: page } = source;
  let wake = (): void => undefined;
  socket.once("close", () => wake());
  while (socket.readyState === socket.OPEN) {
    await sendPage(socket, page);
    if (page.ended && !page.more && !follow) return send(socket, DONE);
    if (!page.more) await new Promise<void>((resolve) => feed.onceChanged(version, (wake = resolve)));
    if (socket.readyState !== socket.OPEN) return;
    version = feed.version();
    page = await feed.read({ principal, after: page.last, form: NDJSON.event });
  }
}

/** The page's bytes are those of everybody who reads NDJSON: an event a line. */
async function sendPage(socket: WebSocket, page: LogPage): Promise<void> {
  if (page.isEmpty) return;
  const lines = Buffer.from(page.bytes).toString().split("\n").slice(0, -1);
  const last = lines.pop() ?? "";
  for (const line of lines) socket.send(line, () => undefined);
  await send(socket, last);
}

/** Resolves when the socket has taken it, or is gone. */
function send(socket: WebSocket, text: string): Promise<void> {
  return new Promise((resolve) => socket.send(text, () => resolve()));
}

/** Closes it once, and cuts it off where the client does not agree to that. */
function closer(socket: WebSocket): (code: number, reason: string) => void {
  return (code, reason) => {
    if (socket.readyState !== socket.OPEN) return;
    socket.close(code, reason);
    setTimeout(() => socket.terminate(), CLOSE_MS).unref();
  };
}

/** Pings, and cuts off a client that does not answer. */
function keepAlive(socket: WebSocket, everyMs: number): () => void {
  let missed = 0;
  socket.on("pong", () => (missed = 0));
  const timer = setInterval(() => {
    missed += 1;
    if (missed > MAX_MISSED_PINGS) socket.terminate();
    else socket.ping();
  }, everyMs).unref();
  return () => clearInterval(timer);
}
