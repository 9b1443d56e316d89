import type { Scope } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";

export interface TokenOwner {
  readonly tokenId: string;
  readonly orgId: string;
  readonly userId: string;
  readonly scopes: readonly Scope[];
}

/** Who holds the token with this hash (SHA-256); undefined for an unknown or a revoked one. */
export async function findToken(db: Database, hash: Buffer): Promise<TokenOwner | undefined> {
  const rows = await db.query<OwnerRow>("select * from runyard.find_token($1)", [hash]);
  return rows[0] && ownerOf(rows[0]);
}

/** A token's holder, as the functions that look for one give it. */
export interface OwnerRow {
  readonly token_id: string;
  readonly org_id: string;
  readonly user_id: string;
  readonly scopes: readonly Scope[];
}

export function ownerOf(row: OwnerRow): TokenOwner {
  return { tokenId: row.token_id, orgId: row.org_id, userId: row.user_id, scopes: row.scopes };
}

/** Makes sure that the organization and its administrator exist and that the token with this hash is the administrator's. */
export async function ensureAdministrator(
  db: Database,
  options: {
    orgId: string;
    orgName: string;
    userId: string;
    userName: string;
    tokenId: string;
    tokenHash: Buffer;
    scopes: readonly Scope[];
  },
): Promise<void> {
  await db.inOrganization(options.orgId, async (tx) => {
    await tx.query("insert into runyard.organizations (org_id, name) values ($1, $2) on conflict do nothing", [
      options.orgId,
      options.orgName,
    ]);
    await tx.query("insert into runyard.org_slots (org_id) values ($1) on conflict do nothing", [options.orgId]);
    await tx.query("insert into runyard.users (id, org_id, name) values ($1, $2, $3) on conflict do nothing", [
      options.userId,
      options.orgId,
      options.userName,
    ]);
    await tx.query(
      `insert into runyard.tokens (id, org_id, user_id, hash, scopes) values ($1, $2, $3, $4, $5)
       on conflict (hash) do nothing`,
      [options.tokenId, options.orgId, options.userId, options.tokenHash, options.scopes],
    );
  });
}
