import { connect, type Socket } from "node:net";
import { SCOPES } from "@runyard/sdk/contract";
import { type Api, type ApiOptions, createApi } from "../api.ts";
import type { ApiLogEntry, Logins } from "../context.ts";
import type { Principal } from "../engine.ts";
import type { Listening } from "../listen.ts";
import { createLogEngine, type LogEngine } from "./log-engine.ts";

export interface Door extends Listening {
  readonly api: Api;
  readonly engine: LogEngine;
  readonly log: ApiLogEntry[];
  /** Bearer tokens that are valid now. */
  readonly tokens: Map<string, Principal>;
  /** A request with the owner's token. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

export const OWNER: Principal = { orgId: "org_a", tokenId: "token_a", userId: "user_a", scopes: SCOPES };

/** A door on a free port of the loopback address, over an engine in memory. */
export async function openDoor(options: Partial<ApiOptions> = {}, port = 0): Promise<Door> {
  const engine = createLogEngine();
  const log: ApiLogEntry[] = [];
  const tokens = new Map<string, Principal>([["owner", OWNER]]);
  const api = createApi({
    engine,
    authenticate: async (bearer) => tokens.get(bearer) ?? null,
    logins: createMemoryLogins(),
    allowedHosts: () => [],
    log: (entry) => void log.push(entry),
    version: "1.2.3",
    ...options,
  });
  const listening = await api.listen({ host: "127.0.0.1", port });
  const request = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${listening.url}${path}`, { ...init, headers: { authorization: "Bearer owner", ...(init.headers as Record<string, string>) } });
  return { ...listening, api, engine, log, tokens, fetch: request };
}

/** Links and sessions in memory; none of them expires. */
function createMemoryLogins(): Logins {
  const links = new Map<string, Principal>();
  const sessions = new Map<string, Principal>();
  let count = 0;
  return {
    createLink: async (principal) => {
      const code = `code-${(count += 1)}`;
      links.set(code, principal);
      return { code, expiresAt: "2026-11-20T10:10:00.000Z" };
    },
    redeem: async (code) => {
      const principal = links.get(code);
      if (principal === undefined) return null;
      links.delete(code);
      const session = `session-${code}`;
      sessions.set(session, principal);
      return { session, lifetimeMs: 43_200_000 };
    },
    find: async (session) => sessions.get(session) ?? null,
    end: async (_, session) => void sessions.delete(session),
  };
}

/** Sends bytes as they are and resolves with everything that came back until the server closed. */
export async function sendBytes(port: number, bytes: string | Uint8Array): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.end(bytes);
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(chunks).toString("latin1");
}

/** An open request for a run's events, over a socket of its own. */
export function openEvents(port: number, path: string, headers: Record<string, string | undefined> = {}): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const all = { host: `127.0.0.1:${port}`, authorization: "Bearer owner", accept: "text/event-stream", ...headers };
  const lines = Object.entries(all).map(([name, value]) => (value === undefined ? "" : `${name}: ${value}\r\n`));
  // HTTP/1.0 spares the test the frames of a chunked body: what comes is what was written.
  socket.write(`GET ${path} HTTP/1.0\r\n${lines.join("")}\r\n`);
  return socket;
}

/** Resolves once `holds`, looking again every few milliseconds; the test's own time limit ends it otherwise. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
