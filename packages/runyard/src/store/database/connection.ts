import type pg from "pg";
import { valueTypes } from "./values.ts";

/** The role that all work is done as: not a superuser, and row-level security is real for it. */
export const APP_ROLE = "runyard_app";

const SESSION: Readonly<Record<string, string>> = {
  role: APP_ROLE,
  search_path: "runyard",
  TimeZone: "UTC",
  DateStyle: "ISO",
  statement_timeout: "60s",
  // A process that was stopped in the middle of a transaction must not hold its locks for long: its runs are waited for.
  idle_in_transaction_session_timeout: "4s",
};
const CONNECT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_DELAY_MS = 10_000;

export interface ConnectionOptions {
  readonly connectionString: string;
  readonly applicationName: string;
}

/** What a connection of the running server is made with: everything that is set for a session comes in its first message. */
export function clientConfig(options: ConnectionOptions): pg.ClientConfig {
  return {
    connectionString: withSession(options.connectionString),
    application_name: options.applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    types: valueTypes,
  };
}

/** Adds the session's settings to the `options` of a URL (`pg` prefers those of the URL to any others). */
function withSession(url: string): string {
  const cut = url.indexOf("?");
  const base = cut === -1 ? url : url.slice(0, cut);
  const params = new URLSearchParams(cut === -1 ? "" : url.slice(cut + 1));
  const ours = Object.entries(SESSION).map(([name, value]) => `-c ${name}=${value}`);
  // Ours come last, so that they win.
  const options = [...params.getAll("options"), ...ours].join(" ");
  params.delete("options");
  params.set("options", options);
  // pg decodes with URLSearchParams, libpq does not know "+" for a blank: "%20" is right for both.
  return `${base}?${params.toString().replaceAll("+", "%20")}`;
}
