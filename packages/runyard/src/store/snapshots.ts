import type { Snapshot } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";

/** What a snapshot is found by. */
export interface SnapshotKey {
  readonly orgId: string;
  readonly repositoryUrl: string;
  readonly cacheKey: string;
  readonly driver: string;
  readonly commandsHash: string;
  readonly runnerId: string;
}

export interface NewSnapshot extends SnapshotKey {
  readonly id: string;
  readonly commands: readonly string[];
  readonly runId: string;
  readonly bytes: number;
  readonly files: number;
  readonly fingerprint: string;
}

/** A row of `snapshots`, as PostgreSQL gives it. */
export interface SnapshotRow {
  readonly id: string;
  readonly num: number;
  readonly repository_url: string;
  readonly cache_key: string;
  readonly driver: string;
  readonly commands: readonly string[];
  readonly runner_id: string;
  readonly run_id: string;
  readonly bytes: number;
  readonly files: number;
  readonly fingerprint: string;
  readonly hits: number;
  readonly created_at: string;
  readonly last_used_at: string;
}

/** What a runner's disk holds, of any organization. */
export interface HeldSnapshot {
  readonly id: string;
  readonly org_id: string;
  readonly bytes: number;
  readonly last_used_at: string;
  /** Null: runs may still begin with it. */
  readonly removed_at: string | null;
}

const LIVING = "org_id = runyard.current_org() and removed_at is null";

/** The snapshot of a key, which counts as used from here on; undefined: there is none. */
export async function useSnapshot(db: Database, key: SnapshotKey): Promise<SnapshotRow | undefined> {
  const rows = await db.queryInOrganization<SnapshotRow>(
    key.orgId,
    `update runyard.snapshots set hits = hits + 1, last_used_at = now()
     where ${LIVING} and repository_url = $1 and cache_key = $2 and driver = $3 and commands_hash = $4 and runner_id = $5 returning *`,
    [key.repositoryUrl, key.cacheKey, key.driver, key.commandsHash, key.runnerId],
  );
  return rows[0];
}

/** Makes a snapshot known, once; false: another one of its key was there first. */
export async function addSnapshot(db: Database, snapshot: NewSnapshot): Promise<boolean> {
  const { orgId, ...s } = snapshot;
  return db.inOrganization(orgId, async (tx) => {
    await tx.query(
      `insert into runyard.snapshots
         (id, org_id, repository_url, cache_key, driver, commands, commands_hash, runner_id, run_id, bytes, files, fingerprint)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing`,
      [
        s.id,
        orgId,
        s.repositoryUrl,
        s.cacheKey,
        s.driver,
        JSON.stringify(s.commands),
        s.commandsHash,
        s.runnerId,
        s.runId,
        s.bytes,
        s.files,
        s.fingerprint,
      ],
    );
    // Also where it was stored before, without an answer.
    return (await tx.query(`select 1 from runyard.snapshots where id = $1 and ${LIVING}`, [s.id])).length > 0;
  });
}

/** Snapshots of an organization, the newest first. */
export async function listSnapshots(
  db: Database,
  page: { readonly orgId: string; readonly before: number | null; readonly limit: number },
): Promise<SnapshotRow[]> {
  return db.queryInOrganization(
    page.orgId,
    `select * from runyard.snapshots where ${LIVING} and ($1::bigint is null or num < $1) order by num desc limit $2`,
    [page.before, page.limit],
  );
}

/** The snapshot, or undefined; that of another organization is not there. */
export async function findSnapshot(db: Database, orgId: string, id: string): Promise<SnapshotRow | undefined> {
  const rows = await db.queryInOrganization<SnapshotRow>(orgId, `select * from runyard.snapshots where id = $1 and ${LIVING}`, [id]);
  return rows[0];
}

/** Lets nobody find a snapshot any more; false: there is none. `unusedSince`: only where nobody used it since then. */
export async function removeSnapshot(db: Database, orgId: string, id: string, unusedSince: string | null = null): Promise<boolean> {
  const rows = await db.queryInOrganization(
    orgId,
    `update runyard.snapshots set removed_at = now()
     where id = $1 and ${LIVING} and ($2::timestamptz is null or last_used_at <= $2) returning 1`,
    [id, unusedSince],
  );
  return rows.length > 0;
}

/** What a runner's disk holds, or is to be rid of. */
export async function snapshotsOf(db: Database, runnerId: string): Promise<HeldSnapshot[]> {
  return db.query<HeldSnapshot>("select * from runyard.snapshots_of($1)", [runnerId]);
}

/** Forgets a snapshot that is on no disk any more. */
export async function forgetSnapshot(db: Database, orgId: string, id: string): Promise<void> {
  await db.queryInOrganization(
    orgId,
    "delete from runyard.snapshots where id = $1 and org_id = runyard.current_org() and removed_at is not null",
    [id],
  );
}

/** The snapshot as the API shows it. */
export function toSnapshot(row: SnapshotRow): Snapshot {
  return {
    id: row.id,
    repositoryUrl: row.repository_url,
    cacheKey: row.cache_key,
    commands: [...row.commands],
    sandboxDriver: row.driver,
    runnerId: row.runner_id,
    runId: row.run_id,
    bytes: row.bytes,
    files: row.files,
    hits: row.hits,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  };
}
