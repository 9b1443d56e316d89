import type { Database } from "../store/database.ts";
import { endSession, findSession, insertLoginLink, redeemLoginLink } from "../store/logins.ts";
import { hashToken, newToken, type Principal } from "./identity.ts";

/** How long a link and a session are good, in milliseconds. */
const LINK_MS = 10 * 60_000;
const SESSION_MS = 12 * 3_600_000;

/** Signing in with a browser: whoever has a token makes a link, and the link begins one session as that token. */
export function createLogins(db: Database) {
  return {
    /** A code that is worth one session, for ten minutes. */
    async createLink({ orgId, tokenId }: Principal): Promise<{ code: string; expiresAt: string }> {
      const code = newToken("link");
      return { code, expiresAt: await insertLoginLink(db, { hash: hashToken(code), orgId, tokenId, lifetimeMs: LINK_MS }) };
    },

    /** The secret of a new session, or null for a code that is worth nothing (any more). */
    async redeem(code: string): Promise<{ session: string; lifetimeMs: number } | null> {
      const session = newToken("session");
      const login = { linkHash: hashToken(code), sessionHash: hashToken(session), lifetimeMs: SESSION_MS };
      return (await redeemLoginLink(db, login)) ? { session, lifetimeMs: SESSION_MS } : null;
    },

    async find(session: string): Promise<Principal | null> {
      return (await findSession(db, hashToken(session))) ?? null;
    },

    async end({ orgId }: Principal, session: string): Promise<void> {
      await endSession(db, { hash: hashToken(session), orgId });
    },
  };
}
