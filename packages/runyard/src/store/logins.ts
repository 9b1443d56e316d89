import type { Database } from "./database.ts";
import { ownerOf, type OwnerRow, type TokenOwner } from "./identities.ts";

/** Stores a one-time link (by its hash) that signs in as a token; gives its end as ISO 8601. */
export async function insertLoginLink(
  db: Database,
  link: { readonly hash: Buffer; readonly orgId: string; readonly tokenId: string; readonly lifetimeMs: number },
): Promise<string> {
  const rows = await db.queryInOrganization<{ expires_at: string }>(
    link.orgId,
    `insert into runyard.logins (hash, org_id, token_id, kind, expires_at)
     values ($1, $2, $3, 'link', now() + $4 * interval '1 millisecond') returning expires_at`,
    [link.hash, link.orgId, link.tokenId, link.lifetimeMs],
  );
  const row = rows[0];
  if (row === undefined) throw new Error("The link was not stored");
  return row.expires_at;
}

/** Uses a link up and begins a session; false when the link is not worth anything (any more). */
export async function redeemLoginLink(
  db: Database,
  login: { readonly linkHash: Buffer; readonly sessionHash: Buffer; readonly lifetimeMs: number },
): Promise<boolean> {
  const rows = await db.query("select * from runyard.redeem_login($1, $2, $3 * interval '1 millisecond')", [
    login.linkHash,
    login.sessionHash,
    login.lifetimeMs,
  ]);
  return rows.length > 0;
}

/** For whom the session with this hash stands; undefined for an unknown, ended or expired one. */
export async function findSession(db: Database, hash: Buffer): Promise<TokenOwner | undefined> {
  const rows = await db.query<OwnerRow>("select * from runyard.find_session($1)", [hash]);
  return rows[0] && ownerOf(rows[0]);
}

/** Ends a session. Does nothing where there is none. */
export async function endSession(db: Database, session: { readonly hash: Buffer; readonly orgId: string }): Promise<void> {
  await db.queryInOrganization(session.orgId, "delete from runyard.logins where hash = $1 and kind = 'session'", [session.hash]);
}
