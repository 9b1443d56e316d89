import { RunyardError } from "@runyard/sdk/contract";
import { getCookie } from "hono/cookie";
import type { ApiContext, Authenticate, Logins } from "./context.ts";
import type { Principal } from "./engine.ts";

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;
const SESSION = /^[\x21-\x7e]{1,512}$/;

/** Whom a token or a session stands for. */
export interface Credentials {
  readonly authenticate: Authenticate;
  readonly logins: Pick<Logins, "find">;
}

export interface Identity {
  readonly principal: Principal;
  /** The token, or the session's secret. */
  readonly secret: string;
  readonly session: string | null;
}

/**
 * Who asks. A token is taken from its header alone; where there is no such header, a browser's session
 * counts. Throws `unauthorized`, and `foreign_origin` for a session that another page makes use of.
 */
export async function identify(c: ApiContext, credentials: Credentials): Promise<Identity> {
  const header = c.req.header("authorization");
  if (header === undefined) return identifySession(c, credentials);
  const bearer = BEARER.exec(header)?.[1];
  if (bearer === undefined) throw unauthorized(c, "Send a token: Authorization: Bearer <token>.");
  const principal = await credentials.authenticate(bearer);
  if (principal === null) throw unauthorized(c, "This token is not valid (any more).", "invalid_token");
  return { principal, secret: bearer, session: null };
}

async function identifySession(c: ApiContext, credentials: Credentials): Promise<Identity> {
  const session = getCookie(c, sessionCookie(c));
  if (session === undefined || !SESSION.test(session)) throw unauthorized(c, "Send a token: Authorization: Bearer <token>.");
  requireOwnPage(c);
  const principal = await credentials.logins.find(session);
  if (principal === null) throw unauthorized(c, "You are not signed in any more. Run `runyard open` for a new link.");
  return { principal, secret: session, session };
}

/**
 * Browsers send cookies for whoever asks them to, also for pages of other programs on this machine. They
 * say which page it was; what changes something must say so for certain. (A foreign `Origin` does not come
 * this far.) A link from elsewhere may be followed: what it leads to is shown to nobody but the person.
 */
function requireOwnPage(c: ApiContext): void {
  const site = c.req.header("sec-fetch-site") ?? "none";
  const isOwn = site === "none" || site === "same-origin";
  const isRead = c.req.method === "GET" || c.req.method === "HEAD";
  if (isRead ? isOwn || c.req.header("sec-fetch-dest") === "document" : isOwn && c.req.header("origin") !== undefined) return;
  throw new RunyardError("foreign_origin", "A signed-in browser may do this from the server's own pages only. Programs send a token.");
}

/** The name of the session's cookie. Cookies are shared by all ports of a host, so it holds the port. */
export function sessionCookie(c: ApiContext): string {
  const { port, protocol } = new URL(c.req.url);
  return `runyard-${port || (protocol === "https:" ? "443" : "80")}`;
}

function unauthorized(c: ApiContext, detail: string, error?: string): RunyardError {
  c.header("WWW-Authenticate", error === undefined ? 'Bearer realm="runyard"' : `Bearer realm="runyard", error="${error}"`);
  return new RunyardError("unauthorized", detail);
}
