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
  readonly key_id: string;
  readonly sealed: Buffer;
  readonly created_at: string;
  readonly updated_at: string;
}

const SELECT = `select s.*, a.name as agent from runyard.secrets s left join runyard.agents a on a.id = s.agent_id and a.org_id = s.org_id
  where s.org_id = runyard.current_org()`;

function sealedAs(orgId: string, name: string, { repositoryId, agentId }: SecretOwner): SealedAs {
  return [orgId, "secret", name, repositoryId ?? "", agentId ?? ""];
}

/** Stores a secret, in place of the one of this name and owner that there was. */
export async function setSecret(
  db: Database,
  vault: Vault,
  secret: { readonly orgId: string; readonly id: string; readonly name: string; readonly value: string; readonly owner: SecretOwner },
): Promise<SecretRow> {
  const { orgId, id, name, value, owner } = secret;
  const { keyId, bytes } = vault.seal(value, sealedAs(orgId, name, owner));
  return db.inOrganization(orgId, async (tx) => {
    const [stored] = await tx.query<{ id: string }>(
      `insert into runyard.secrets (id, org_id, name, repository_id, agent_id, key_id, sealed) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (org_id, name, repository_id, agent_id)
         do update set key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now() returning id`,
      [id, orgId, name, owner.repositoryId, owner.agentId, keyId, bytes],
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

/** The value of a secret. Throws as Vault does. */
export function openSecret(vault: Vault, row: SecretRow): string {
  const owner = { repositoryId: row.repository_id, agentId: row.agent_id };
  return vault.open({ keyId: row.key_id, bytes: row.sealed }, sealedAs(row.org_id, row.name, owner));
}

/** A value that a run was given as a secret; the last one of a name is in force, and those before it may still be told. */
export interface GivenSecret {
  readonly name: string;
  readonly value: string;
}

const givenAs = (run: Pick<RunRow, "id" | "org_id">, name: string): SealedAs => [run.org_id, "given", run.id, name];

/** All values that a run was ever given, in order. Throws as Vault does. */
export async function givenSecrets(db: Database, vault: Vault, run: Pick<RunRow, "id" | "org_id">): Promise<GivenSecret[]> {
  const rows = await db.queryInOrganization<{ name: string; key_id: string; sealed: Buffer }>(
    run.org_id,
    "select name, key_id, sealed from runyard.run_secrets where run_id = $1 and org_id = runyard.current_org() order by num",
    [run.id],
  );
  return rows.map(({ name, key_id: keyId, sealed: bytes }) => ({ name, value: vault.open({ keyId, bytes }, givenAs(run, name)) }));
}

/** Notes what a run is given from here on; false: somebody else owns it now, or it has ended. */
export async function noteGiven(
  db: Database,
  vault: Vault,
  { run, secrets }: { readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">; readonly secrets: readonly GivenSecret[] },
): Promise<boolean> {
  const sealed: Sealed[] = secrets.map(({ name, value }) => vault.seal(value, givenAs(run, name)));
  const rows = await db.queryInOrganization(
    run.org_id,
    `insert into runyard.run_secrets (run_id, org_id, name, key_id, sealed)
       select r.id, r.org_id, n, k, s from runyard.runs r, unnest($4::text[], $5::text[], $6::bytea[]) e(n, k, s)
       where r.id = $1 and r.org_id = runyard.current_org() and r.owner = $2 and r.attempt = $3 and not runyard.is_terminal(r.status)
     returning num`,
    [run.id, run.owner, run.attempt, secrets.map(({ name }) => name), sealed.map(({ keyId }) => keyId), sealed.map(({ bytes }) => bytes)],
  );
  return rows.length === secrets.length;
}
