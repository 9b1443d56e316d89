import { accepts } from "hono/accepts";
import { z } from "zod";
import type { ApiContext, ApiHandler, Authenticate } from "./context.ts";
import type { ApiEngine, StoredEvent } from "./engine.ts";
import type { LogFeeds } from "./feed.ts";
import { runIdOf } from "./runs.ts";
import { NDJSON, SSE, streamLog, type StreamFormat } from "./stream.ts";
import { invalid, queryOf, validate } from "./validate.ts";

/** Most bytes of events in one JSON page, but for a single longer event. */
const JSON_PAGE_BYTES = 4 * 1024 * 1024;
const MAX_JSON_EVENTS = 1_000;

export const seqSchema = z
  .string()
  .regex(/^\d{1,10}$/, "must be a whole number from 0 on")
  .transform(Number)
  .refine((seq) => seq <= 2_147_483_647, "is past the end of any log");

const eventsQuerySchema = z.strictObject({
  after: seqSchema.optional(),
  follow: z.enum(["0", "1"]).optional(),
  limit: z
    .string()
    .regex(/^\d{1,4}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(1).max(MAX_JSON_EVENTS))
    .optional(),
});
type EventsQuery = z.output<typeof eventsQuerySchema>;

const TYPES = { json: "application/json", sse: "text/event-stream", ndjson: "application/x-ndjson" } as const;

export interface EventsOptions {
  readonly engine: ApiEngine;
  readonly feeds: LogFeeds;
  readonly authenticate: Authenticate;
  readonly openStreams: OpenStreams;
  readonly heartbeatMs: number;
  readonly recheckMs: number;
  onStreamError(c: ApiContext, error: unknown): void;
}

/** How to end the streams that are open, for the server's own end. */
export interface OpenStreams {
  /** After `endAll` a stream ends as soon as it is added. */
  add(end: () => void): void;
  remove(end: () => void): void;
  endAll(): void;
}

export function createOpenStreams(): OpenStreams {
  const ends = new Set<() => void>();
  let isOver = false;
  return {
    add: (end) => {
      if (isOver) end();
      else ends.add(end);
    },
    remove: (end) => void ends.delete(end),
    endAll: () => {
      isOver = true;
      for (const end of ends) end();
    },
  };
}

/** `GET /v1/agent-runs/{id}/events`: a page as JSON, or a live stream, by Accept. */
export function eventsHandler(options: EventsOptions): ApiHandler {
  return async (c) => {
    const id = runIdOf(c);
    const query = validate(eventsQuerySchema, queryOf(c.req.url));
    c.header("Vary", "Accept");
    const type = accepts(c, { header: "Accept", supports: Object.values(TYPES), default: TYPES.json });
    if (type === TYPES.json) return answerPage(c, options.engine, { id, query });
    return answerStream(c, options, { id, query, format: type === TYPES.sse ? SSE : NDJSON });
  };
}

async function answerPage(c: ApiContext, engine: ApiEngine, asked: { id: string; query: EventsQuery }): Promise<Response> {
  if (asked.query.follow === "1") {
    throw invalid([{ path: "follow", message: `needs a live stream: send Accept: ${TYPES.sse} or ${TYPES.ndjson}` }]);
  }
  const { after = 0, limit = 100 } = asked.query;
  // One more than asked for tells whether there is more.
  const { events } = await engine.readEvents(c.var.principal, asked.id, { after, limit: limit + 1 });
  const page = fitting(events.slice(0, limit));
  const body = `{"data":[${page.map((event) => event.json).join(",")}],"has_more":${page.length < events.length},"next_after":${page.at(-1)?.seq ?? after}}`;
  return c.body(body, 200, { "Content-Type": "application/json" });
}

function fitting(events: readonly StoredEvent[]): readonly StoredEvent[] {
  let bytes = 0;
  const end = events.findIndex((event, index) => (bytes += event.json.length) > JSON_PAGE_BYTES && index > 0);
  return end === -1 ? events : events.slice(0, end);
}

async function answerStream(
  c: ApiContext,
  options: EventsOptions,
  asked: { id: string; query: EventsQuery; format: StreamFormat },
): Promise<Response> {
  if (asked.query.limit !== undefined) throw invalid([{ path: "limit", message: "is for pages: a stream has none" }]);
  const after = placeOf(c, asked.query);
  const { principal } = c.var;
  const { feed, release } = options.feeds.open(principal.orgId, asked.id);
  const version = feed.version();
  const first = await feed.read({ principal, after, form: asked.format.event }).catch((error: unknown) => {
    release();
    throw error;
  });
  const headers = { "Content-Type": asked.format.contentType, "X-Accel-Buffering": "no" };
  if (c.req.method === "HEAD") {
    release();
    return c.body(null, 200, headers);
  }
  const follow = asked.query.follow === "1";
  const onEnd = (error?: unknown): void => {
    if (error !== undefined) options.onStreamError(c, error);
    unwatch();
    options.openStreams.remove(stop);
    release();
  };
  const { body, stop } = streamLog({
    feed,
    principal,
    first,
    version,
    format: asked.format,
    follow,
    heartbeatMs: options.heartbeatMs,
    onEnd,
  });
  const unwatch = watchToken(c, options, stop);
  options.openStreams.add(stop);
  return c.body(body, 200, headers);
}

/** A client that comes back says in its header how far it got; the URL still says where it began. */
function placeOf(c: ApiContext, query: EventsQuery): number {
  const header = c.req.header("last-event-id");
  if (header === undefined) return query.after ?? 0;
  const seq = seqSchema.safeParse(header);
  if (!seq.success) throw invalid([{ path: "Last-Event-ID", message: "must be the seq of an event" }]);
  return seq.data;
}

/** Ends a stream whose token was revoked; one whose reader does not read is cut. */
export function watchToken(c: ApiContext, options: EventsOptions, stop: () => void): () => void {
  const { bearer, principal } = c.var;
  let cut: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    void options
      .authenticate(bearer)
      // A database that is away says nothing about the token: the next look will.
      .catch(() => undefined)
      .then((now) => {
        if (now === undefined) return;
        if (now !== null && now.orgId === principal.orgId && now.scopes.includes("agent:read")) return;
        clearInterval(timer);
        stop();
        cut = setTimeout(() => c.env.outgoing?.destroy(), 1_000).unref();
      });
  }, options.recheckMs).unref();
  return () => {
    clearInterval(timer);
    clearTimeout(cut);
  };
}
