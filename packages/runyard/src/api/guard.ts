import { RunyardError, type Scope } from "@runyard/sdk/contract";
import type { ApiContext, ApiHandler } from "./context.ts";
import { type Credentials, identify } from "./identify.ts";

/** The names under which this machine reaches itself at a port. */
export function loopbackHosts(port: number): string[] {
  const names = ["127.0.0.1", "localhost", "[::1]"];
  return [...names.map((name) => `${name}:${port}`), ...(port === 80 ? names : [])];
}

/**
 * Refuses a request that was made for another host or comes from another site's page: a name that
 * somebody points at this machine (DNS rebinding) carries its own Host, a foreign page its own Origin.
 * @param hosts `host:port` in lower case, without a port where it is the scheme's own
 */
export function checkHostAndOrigin(c: ApiContext, hosts: readonly string[]): void {
  const allowed = (host: string): boolean => hosts.includes(host.toLowerCase());
  const target = new URL(c.req.url).host;
  const host = c.req.header("host") ?? target;
  if (!allowed(host) || !allowed(target)) {
    throw new RunyardError(
      "foreign_origin",
      "This host name is not one of the server's. Use the address that it printed, or start it with the name in RUNYARD_ALLOWED_HOSTS.",
    );
  }
  const origin = c.req.header("origin");
  if (origin !== undefined && !isWebOrigin(origin, allowed)) {
    throw new RunyardError("foreign_origin", "Pages of this origin may not use the server.");
  }
}

function isWebOrigin(origin: string, allowed: (host: string) => boolean): boolean {
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  return (url.protocol === "http:" || url.protocol === "https:") && allowed(url.host);
}

/** The handler behind a token (or a browser's session) that holds the scope. */
export function requireScope(scope: Scope, credentials: Credentials, handler: ApiHandler): ApiHandler {
  return async (c) => {
    const { principal, secret, session } = await identify(c, credentials);
    if (!principal.scopes.includes(scope)) {
      c.header("WWW-Authenticate", `Bearer realm="runyard", error="insufficient_scope", scope="${scope}"`);
      throw new RunyardError("forbidden", `This needs a token with the scope ${scope}.`);
    }
    c.set("principal", principal);
    c.set("bearer", secret);
    c.set("session", session);
    return handler(c);
  };
}
