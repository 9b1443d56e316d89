import { RequestError } from "@hono/node-server";
import { ROUTES, RunyardError } from "@runyard/sdk/contract";
import { Hono, type MiddlewareHandler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { agentHandlers } from "./agents.ts";
import type { ApiContext, ApiEnv, ApiLog, ApiLogEntry, Authenticate, Logins } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { credentialHandlers } from "./credentials.ts";
import { createOpenStreams, eventsHandler, type EventsOptions } from "./events.ts";
import { createLogFeeds } from "./feed.ts";
import { checkHostAndOrigin, loopbackHosts } from "./guard.ts";
import { docsHandlers } from "./docs.ts";
import type { Credentials } from "./identify.ts";
import { loginHandlers } from "./login.ts";
import { logsHandler } from "./logs.ts";
import { planHandlers } from "./plans.ts";
import { recordingHandlers } from "./recordings.ts";
import { resultHandlers } from "./results.ts";
import { serverHandlers } from "./server.ts";
import { secretHandlers } from "./secrets.ts";
import { snapshotHandlers } from "./snapshots.ts";
import { settingsHandlers } from "./settings.ts";
import { listen, type ListenAddress, type Listening } from "./listen.ts";
import { newRequestId, notUnderstood, problemOf, PROBLEM_TYPE, SECURITY_HEADERS } from "./problem.ts";
import { sayRetryAfter } from "./rate-limit.ts";
import { mountRoutes } from "./routes.ts";
import { runHandlers } from "./runs.ts";
import { socketHandler } from "./socket.ts";
import { workspaceHandlers } from "./workspaces.ts";

export interface ApiOptions {
  readonly engine: ApiEngine;
  readonly authenticate: Authenticate;
  readonly logins: Logins;
  /** Further `host:port` names (lower case; no port where it is the scheme's own) beside the loopback ones. */
  readonly allowedHosts: () => readonly string[];
  readonly log?: ApiLog;
  /** True for an error which says that the database is away for the moment: it is answered 503, to be tried again. */
  readonly isAway?: (error: unknown) => boolean;
  readonly version: string;
  /** Shorter waits, for tests. */
  readonly timings?: Partial<ApiTimings>;
}

export interface ApiTimings {
  /** Streams look for new events at least this often. */
  readonly pollMs: number;
  /** A stream on which nothing was sent for so long sends a comment. */
  readonly heartbeatMs: number;
  /** A stream's token is looked at again this often. */
  readonly recheckMs: number;
  /** How long open requests may take to finish when the server closes. */
  readonly closeMs: number;
}
/** Most characters of a path in the log. */
const MAX_LOGGED_CHARS = 300;

/** Where a request may become a WebSocket. */
const SOCKET_PATH = new RegExp(`^${ROUTES.runStream.path.replace("{id}", "[^/]+")}$`);

const TIMINGS: ApiTimings = { pollMs: 1_000, heartbeatMs: 15_000, recheckMs: 30_000, closeMs: 5_000 };

export interface Api {
  fetch(request: Request): Response | Promise<Response>;
  /** Serves on a port (0: a free one), once. Rejects with a plain sentence where that is not possible. */
  listen(address: ListenAddress): Promise<Listening>;
}

/** The door: every route of the table behind its policy, on one app. */
export function createApi(options: ApiOptions): Api {
  const timings = { ...TIMINGS, ...options.timings };
  const log = options.log ?? ((): void => undefined);
  const ports = new Set<number>();
  const openStreams = createOpenStreams();
  let closing = false;

  const app = new Hono<ApiEnv>();
  app.use(
    "*",
    stampAnswers(log, () => closing),
  );
  app.use("*", async (c, next) => {
    // A client that keeps its connection must not begin anything new on it.
    if (closing) throw new RunyardError("unavailable", "The server is closing.");
    checkHostAndOrigin(c, [...options.allowedHosts(), ...[...ports].flatMap(loopbackHosts)]);
    await next();
  });
  app.onError((error, c) => answerError(c, error, { log, isAway: options.isAway ?? (() => false) }));
  app.notFound(() => {
    throw new RunyardError("not_found", "The API has no such path.");
  });
  const { engine, authenticate, logins, version } = options;
  const credentials: Credentials = { authenticate, logins };
  const events: EventsOptions = {
    engine,
    feeds: createLogFeeds(engine, timings.pollMs),
    authenticate: async (secret) => (await authenticate(secret)) ?? logins.find(secret),
    openStreams,
    heartbeatMs: timings.heartbeatMs,
    recheckMs: timings.recheckMs,
    onStreamError: (c, error) => log(failure(c, error, 200)),
  };
  mountRoutes(app, ROUTES, {
    credentials,
    handlers: {
      ...runHandlers(engine),
      ...planHandlers(engine),
      ...recordingHandlers(engine),
      ...settingsHandlers(engine),
      ...agentHandlers(engine),
      ...secretHandlers(engine),
      ...credentialHandlers(engine),
      ...snapshotHandlers(engine),
      ...resultHandlers(engine),
      ...workspaceHandlers(engine),
      ...loginHandlers(logins),
      ...docsHandlers({ credentials, version }),
      ...serverHandlers(engine, version),
      runLogs: logsHandler(engine),
      runEvents: eventsHandler(events),
      runStream: socketHandler(events),
    },
  });
  const onClosing = (): void => {
    closing = true;
    openStreams.endAll();
  };
  return {
    fetch: (request) => app.fetch(request),
    listen: (address) =>
      listen(address, {
        fetch: (request, bindings) => app.fetch(request, bindings),
        onError: (error) => answerOutside(error, log),
        isSocketPath: (path) => SOCKET_PATH.test(path),
        onListening: (port) => void ports.add(port),
        onClosing,
        closeMs: timings.closeMs,
      }),
  };
}

/** Gives every answer its request id and the security headers, and logs it. */
function stampAnswers(log: ApiLog, isClosing: () => boolean): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const startedAt = performance.now();
    const requestId = newRequestId();
    c.set("requestId", requestId);
    c.header("x-request-id", requestId);
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.header(name, value);
    await next();
    if (isClosing()) c.header("connection", "close");
    log({
      level: "info",
      requestId,
      method: c.req.method,
      path: c.req.path.slice(0, MAX_LOGGED_CHARS),
      status: c.res.status,
      durationMs: performance.now() - startedAt,
    });
  };
}

function failure(c: ApiContext, error: unknown, status: number): ApiLogEntry {
  return {
    level: "error",
    requestId: c.var.requestId,
    method: c.req.method,
    path: c.req.path.slice(0, MAX_LOGGED_CHARS),
    status,
    durationMs: 0,
    error,
  };
}

interface Answering {
  readonly log: ApiLog;
  readonly isAway: (error: unknown) => boolean;
}

function answerError(c: ApiContext, error: unknown, { log, isAway }: Answering): Response {
  // What exactly is wrong with the database is for the log: whoever asks may be anybody.
  const away = isAway(error) ? new RunyardError("unavailable", "The database cannot be used at the moment. Try again.") : undefined;
  const answer = problemOf(away ?? (RunyardError.is(error) ? error : undefined), c.var.requestId);
  if (answer.status >= 500) log(failure(c, error, answer.status));
  if (answer.status === 503) c.header("Retry-After", "1");
  if (RunyardError.is(error) && error.rate !== undefined) sayRetryAfter(c, error.rate);
  return c.body(JSON.stringify(answer), answer.status as ContentfulStatusCode, { "Content-Type": PROBLEM_TYPE });
}

/** For what breaks before the app has a request, or past its own error handler. */
function answerOutside(error: unknown, log: ApiLog): Response {
  const requestId = newRequestId();
  const isRequest = error instanceof RequestError;
  if (!isRequest) log({ level: "error", requestId, method: "", path: "", status: 500, durationMs: 0, error });
  const answer = isRequest ? notUnderstood(requestId, 400) : problemOf(undefined, requestId);
  const headers = { ...SECURITY_HEADERS, "content-type": PROBLEM_TYPE, "x-request-id": requestId };
  return new Response(JSON.stringify(answer), { status: answer.status, headers });
}
