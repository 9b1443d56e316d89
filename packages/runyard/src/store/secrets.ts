import type { HeaderPlace } from "../core/header-secrets.ts";
import type { Database } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import type { Sealed, SealedAs, Vault } from "./vault.ts";

/** Whose a secret is, beside the organization: one of both, or neither. */
export interface SecretOwner {
  readonly repositoryId: string | null;
  readonly agentId: string | null;
}

/** A row of `secrets`, as PostgreSQL gives it; `agent` is the name of its saved agent. */
export interface SecretRow {
  readonly id: string;
  readonly num: number;
  readonly org_id: string;
  readonly name: string;
  readonly repository_id: string | null;
  readonly agent_id: string | null;
  readonly agent: string | null;
  /** Both, where it is put into a header; null: it is a variable. */
  readonly host: string | null;
  readonly header: string | null;
  readonly key_id: string;
  readonly sealed: Buffer;
  readonly created_at: string;
  readonly updated_at: string;
}

const SELECT = `select s.*, a.name as agent from runyard.secrets s left join runyard.agents a on a.id = s.agent_id and a.org_id = s.org_id
  where s.org_id = runyard.current_org()`;

/** The place is authenticated too: whoever changes the host of a secret in the database gets nothing sent there. */
function placeWords(place: HeaderPlace | null): string[] {
  return place === null ? [] : ["header", place.host, place.header];
}

function sealedAs(orgId: string, name: string, { repositoryId, agentId }: SecretOwner, place: HeaderPlace | null): SealedAs {
  return [orgId, "secret", name, repositoryId ?? "", agentId ?? "", ...placeWords(place)];
}

/** Where the gateway puts a secret; null: it is a variable. */
export function placeOf({ host, header }: Pick<SecretRow, "host" | "header">): HeaderPlace | null {
  return host === null || header === null ? null : { host, header };
}

/** Stores a secret, in place of the one of this name and owner that there was. */
export async function setSecret(
  db: Database,
  vault: Vault,
  secret: { readonly orgId: string; readonly id: string; readonly owner: SecretOwner } & GivenSecret,
): Promise<SecretRow> {
  const { orgId, id, name, value, owner, place } = secret;
  const { keyId, bytes } = vault.seal(value, sealedAs(orgId, name, owner, place));
  return db.inOrganization(orgId, async (tx) => {
    const [stored] = await tx.query<{ id: string }>(
      `insert into runyard.secrets (id, org_id, name, repository_id, agent_id, host, header, key_id, sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
       on conflict (org_id, name, repository_id, agent_id) do update
         set host = excluded.host, header = excluded.header, key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now()
       returning id`,
      [id, orgId, name, owner.repositoryId, owner.agentId, place?.host ?? null, place?.header ?? null, keyId, bytes],
    );
    const [row] = await tx.query<SecretRow>(`${SELECT} and s.id = $1`, [stored?.id]);
    if (row === undefined) throw new Error(`The secret ${name} was not stored`);
    return row;
  });
}

/** Secrets of an organization, the newest first. */
export async function listSecrets(
  db: Database,
  page: { readonly orgId: string; readonly before: number | null; readonly limit: number },
): Promise<SecretRow[]> {
  return db.queryInOrganization(page.orgId, `${SELECT} and ($1::bigint is null or s.num < $1) order by s.num desc limit $2`, [
    page.before,
    page.limit,
  ]);
}

/** False where there is no such secret; that of another organization is not there. */
export async function deleteSecret(db: Database, orgId: string, id: string): Promise<boolean> {
  const sql = "delete from runyard.secrets s where s.org_id = runyard.current_org() and s.id = $1 returning s.id";
  return (await db.queryInOrganization(orgId, sql, [id])).length > 0;
}

/** The secrets of these names that runs of a repository and a saved agent may have: of two with one name the agent's, then the repository's. */
export async function findSecrets(
  db: Database,
  wanted: {
    readonly orgId: string;
    readonly names: readonly string[];
    /** The root of the repository. */
    readonly repositoryUrl: string;
    readonly agentId: string | null;
  },
): Promise<SecretRow[]> {
  return db.queryInOrganization(
    wanted.orgId,
    `select distinct on (f.name) f.* from (${SELECT} and s.name = any($1)) f
     where (f.repository_id is null or f.repository_id in (select p.id from runyard.repositories p where p.org_id = runyard.current_org() and p.url = $2))
       and (f.agent_id is null or f.agent_id = $3)
     order by f.name, f.agent_id nulls last, f.repository_id nulls last`,
    [wanted.names, wanted.repositoryUrl, wanted.agentId],
  );
}

/** A secret with its value. Throws as Vault does. */
export function openSecret(vault: Vault, row: SecretRow): GivenSecret {
  const owner = { repositoryId: row.repository_id, agentId: row.agent_id };
  const place = placeOf(row);
  const value = vault.open({ keyId: row.key_id, bytes: row.sealed }, sealedAs(row.org_id, row.name, owner, place));
  return { name: row.name, value, place };
}

/** A value that a run was given as a secret; the last one of a name is in force, and those before it may still be told. */
export interface GivenSecret {
  readonly name: string;
  readonly value: string;
  /** Where the gateway puts it; null: it is in the environment of the run. */
  readonly place: HeaderPlace | null;
}

const givenAs = (run: Pick<RunRow, "id" | "org_id">, { name, place }: Pick<GivenSecret, "name" | "place">): SealedAs => [
  run.org_id,
  "given",
  run.id,
  name,
  ...placeWords(place),
];

/** All values that a run was ever given, in order. Throws as Vault does. */
export async function givenSecrets(db: Database, vault: Vault, run: Pick<RunRow, "id" | "org_id">): Promise<GivenSecret[]> {
  const rows = await db.queryInOrganization<Pick<SecretRow, "name" | "host" | "header" | "key_id" | "sealed">>(
    run.org_id,
    "select name, host, header, key_id, sealed from runyard.run_secrets where run_id = $1 and org_id = runyard.current_org() order by num",
    [run.id],
  );
  return rows.map(({ name, key_id: keyId, sealed: bytes, ...row }) => {
    const place = placeOf(row);
    return { name, value: vault.open({ keyId, bytes }, givenAs(run, { name, place })), place };
  });
}

/** Notes what a run is given from here on; false: somebody else owns it now, or it has ended. */
export async function noteGiven(
  db: Database,
  vault: Vault,
  { run, secrets }: { readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">; readonly secrets: readonly GivenSecret[] },
): Promise<boolean> {
  const sealed: Sealed[] = secrets.map((secret) => vault.seal(secret.value, givenAs(run, secret)));
  const rows = await db.queryInOrganization(
    run.org_id,
    `insert into runyard.run_secrets (run_id, org_id, name, host, header, key_id, sealed)
       select r.id, r.org_id, n, t, h, k, s
       from runyard.runs r, unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[]) e(n, t, h, k, s)
       where r.id = $1 and r.org_id = runyard.current_org() and r.owner = $2 and r.attempt = $3 and not runyard.is_terminal(r.status)
     returning num`,
    [
      run.id,
      run.owner,
      run.attempt,
      secrets.map(({ name }) => name),
      secrets.map(({ place }) => place?.host ?? null),
      secrets.map(({ place }) => place?.header ?? null),
      sealed.map(({ keyId }) => keyId),
      sealed.map(({ bytes }) => bytes),
    ],
  );
  return rows.length === secrets.length;
}
