import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { WebSocket } from "ws";
import type { Principal } from "./engine.ts";

/** What a handler finds in its context; the bindings are empty where no socket is behind the request. */
export interface ApiEnv {
  Bindings: Partial<HttpBindings> & {
    /**
     * Takes the connection over as a WebSocket; there where one was asked for. False for a handshake that is none,
     * which is refused. The answer then counts for nothing.
     */
    readonly upgrade?: (onOpen: (socket: WebSocket) => void) => boolean;
  };
  Variables: {
    requestId: string;
    principal: Principal;
    /** The secret that the principal was found by. */
    bearer: string;
    /** The same where it is a browser's session, else null. */
    session: string | null;
  };
}
export type ApiContext = Context<ApiEnv>;
export type ApiHandler = (c: ApiContext) => Response | Promise<Response>;

/** Who a bearer token stands for, or null for one that is not valid (any more). */
export type Authenticate = (bearer: string) => Promise<Principal | null>;

/** Signing in with a browser. */
export interface Logins {
  /** A code that is worth one session. */
  createLink(principal: Principal): Promise<{ readonly code: string; readonly expiresAt: string }>;
  /** The secret of a new session, or null for a code that is not worth one (any more). */
  redeem(code: string): Promise<{ readonly session: string; readonly lifetimeMs: number } | null>;
  /** Who a session's secret stands for, or null. */
  find: Authenticate;
  end(principal: Principal, session: string): Promise<void>;
}

/** One line of the door's log: an answer (for a stream: its start), or what went wrong inside. */
export interface ApiLogEntry {
  readonly level: "info" | "error";
  readonly requestId: string;
  readonly method: string;
  /** Without the query: it is the client's and may hold what does not belong into a log. */
  readonly path: string;
  readonly status: number;
  readonly durationMs: number;
  readonly error?: unknown;
}
export type ApiLog = (entry: ApiLogEntry) => void;
