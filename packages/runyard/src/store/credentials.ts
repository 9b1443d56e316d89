import type { Database } from "./database.ts";
import type { SealedAs, Vault } from "./vault.ts";

/** A row of `credentials`, as PostgreSQL gives it. */
export interface CredentialRow {
  readonly id: string;
  readonly num: number;
  readonly org_id: string;
  readonly url: string;
  readonly kind: "token" | "ssh-key" | "github-app";
  /** Of a token: the user whose password it is. Of an app: its id. */
  readonly username: string | null;
  readonly known_hosts: string | null;
  readonly key_id: string;
  readonly sealed: Buffer;
  readonly created_at: string;
  readonly updated_at: string;
}

export interface NewCredential extends Pick<CredentialRow, "id" | "url" | "kind" | "username"> {
  readonly orgId: string;
  readonly knownHosts: string | null;
  readonly value: string;
}

/** Whoever changes the URL of a credential in the database gets nothing sent there. */
function sealedAs({ orgId, kind, url, username }: Pick<NewCredential, "orgId" | "kind" | "url" | "username">): SealedAs {
  return [orgId, "credential", kind, url, username ?? ""];
}

/** Stores a credential, in place of the one of this URL that there was. */
export async function setCredential(db: Database, vault: Vault, credential: NewCredential): Promise<CredentialRow> {
  const { orgId, id, url, kind, username, knownHosts, value } = credential;
  const { keyId, bytes } = vault.seal(value, sealedAs(credential));
  const [row] = await db.queryInOrganization<CredentialRow>(
    orgId,
    `insert into runyard.credentials (id, org_id, url, kind, username, known_hosts, key_id, sealed)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (org_id, url) do update
       set kind = excluded.kind, username = excluded.username, known_hosts = excluded.known_hosts,
           key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now()
     returning *`,
    [id, orgId, url, kind, username, knownHosts, keyId, bytes],
  );
  if (row === undefined) throw new Error(`The credential of ${url} was not stored`);
  return row;
}

/** Credentials of an organization, the newest first. */
export async function listCredentials(
  db: Database,
  page: { readonly orgId: string; readonly before: number | null; readonly limit: number },
): Promise<CredentialRow[]> {
  return db.queryInOrganization(
    page.orgId,
    `select * from runyard.credentials c
      where c.org_id = runyard.current_org() and ($1::bigint is null or c.num < $1) order by c.num desc limit $2`,
    [page.before, page.limit],
  );
}

/** All of an organization, of which there are a few. */
export async function allCredentials(db: Database, orgId: string): Promise<CredentialRow[]> {
  return db.queryInOrganization(orgId, "select * from runyard.credentials c where c.org_id = runyard.current_org() order by c.num", []);
}

/** False where there is no such credential; that of another organization is not there. */
export async function deleteCredential(db: Database, orgId: string, id: string): Promise<boolean> {
  const sql = "delete from runyard.credentials c where c.org_id = runyard.current_org() and c.id = $1 returning c.id";
  return (await db.queryInOrganization(orgId, sql, [id])).length > 0;
}

/** The value of a credential. Throws as Vault does. */
export function openCredential(vault: Vault, row: CredentialRow): string {
  return vault.open({ keyId: row.key_id, bytes: row.sealed }, sealedAs({ ...row, orgId: row.org_id }));
}

/** Keeps the keys by which the host of a credential showed itself; the first ones stay. */
export async function pinHost(
  db: Database,
  orgId: string,
  { id, knownHosts }: { readonly id: string; readonly knownHosts: string },
): Promise<void> {
  const sql =
    "update runyard.credentials c set known_hosts = $2 where c.org_id = runyard.current_org() and c.id = $1 and c.known_hosts is null";
  await db.queryInOrganization(orgId, sql, [id, knownHosts]);
}
