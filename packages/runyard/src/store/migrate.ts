import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { connectError } from "./database/errors.ts";
import { checkServerVersion, explainRefusal, requireRoles } from "./migrate/requirements.ts";

export interface MigrateOptions {
  readonly connectionString: string;
  /** The folder with the numbered `.sql` files: the one beside this file, unless a test says otherwise. */
  readonly directory?: string;
}

export interface Migration {
  /** For example `0001_roles.sql`. */
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text, in hex; line endings do not count. */
  readonly hash: string;
}

const OURS = fileURLToPath(new URL("./migrations", import.meta.url));
const CONNECT_TIMEOUT_MS = 10_000;
const LOCK_KEY = 7_246_909_153;
/** Asks for the right to make a schema only where there is none. */
const MAKE_LEDGER = `
  do $$ begin
    if to_regnamespace('runyard') is null then create schema runyard; end if;
    create table if not exists runyard.migrations (
      name text primary key, hash text not null, applied_at timestamptz not null default now()
    );
  end $$`;

/**
 * Brings the database to this program's state: applies the missing migrations in order, each in a
 * transaction of its own, and names them. Any number of servers may do this at once. Works as the
 * user of the connection string, who owns the tables from then on. Rejects, without having changed
 * anything, where the database is too old, newer than this program, or was migrated by other files.
 */
export async function migrate(options: MigrateOptions): Promise<{ applied: string[] }> {
  const migrations = readMigrations(options.directory);
  const client = new pg.Client({
    connectionString: options.connectionString,
    application_name: "runyard-migrate",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  client.on("error", () => undefined);
  try {
    await client.connect().catch((error: unknown) => {
      throw connectError(error);
    });
    await checkServerVersion(client);
    // Held by the connection, so it is given back however this ends.
    await client.query("select pg_advisory_lock($1)", [LOCK_KEY]);
    return { applied: await applyMissing(client, migrations) };
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The migrations of a folder, in order. */
export function readMigrations(directory: string = OURS): Migration[] {
  const names = readdirSync(directory)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  for (const [index, name] of names.entries()) {
    if (!/^\d{4}_[a-z0-9_]+\.sql$/.test(name)) throw new Error(`${name} must look like 0002_runs.sql`);
    if (names[index - 1]?.slice(0, 4) === name.slice(0, 4)) throw new Error(`Two migrations have the number of ${name}`);
  }
  return names.map((name) => {
    const text = readFileSync(`${directory}/${name}`, "utf8").replaceAll("\r\n", "\n");
    return { name, text, hash: createHash("sha256").update(text).digest("hex") };
  });
}

async function applyMissing(client: pg.Client, migrations: readonly Migration[]): Promise<string[]> {
  const done = await readLedger(client);
  const missing = missingAfter(done, migrations);
  for (const migration of missing) {
    await applyOne(client, migration).catch(async (error: unknown) => {
      await client.query("rollback").catch(() => undefined);
      throw await explainRefusal(client, migration.name, error);
    });
  }
  await requireRoles(client);
  return missing.map((migration) => migration.name);
}

interface LedgerRow {
  readonly name: string;
  readonly hash: string;
}

async function readLedger(client: pg.Client): Promise<LedgerRow[]> {
  const found = await client.query<{ known: boolean }>("select to_regclass('runyard.migrations') is not null as known");
  if (found.rows[0]?.known !== true) return [];
  return (await client.query<LedgerRow>("select name, hash from runyard.migrations order by name")).rows;
}

/** What is still to do; throws where what was done is not the beginning of what this program has. */
function missingAfter(done: readonly LedgerRow[], migrations: readonly Migration[]): Migration[] {
  const last = migrations.at(-1)?.name ?? "";
  for (const [index, row] of done.entries()) {
    const ours = migrations[index];
    if (row.name > last) throw new Error(newerMessage(row.name));
    if (ours?.name !== row.name) throw new Error(otherMessage(`${row.name} was applied but is not what comes next here`));
    if (ours.hash !== row.hash) throw new Error(otherMessage(`${row.name} was changed after it had been applied`));
  }
  return migrations.slice(done.length);
}

async function applyOne(client: pg.Client, migration: Migration): Promise<void> {
  await client.query("begin");
  await client.query(MAKE_LEDGER);
  await client.query("set local search_path = runyard, pg_temp");
  await client.query(migration.text);
  if (client.getTransactionStatus() !== "T") throw new Error(`${migration.name} must not end its own transaction`);
  await client.query("insert into runyard.migrations (name, hash) values ($1, $2)", [migration.name, migration.hash]);
  await client.query("commit");
}

function newerMessage(name: string): string {
  return `The database is newer than this Runyard (it has the migration ${name}): start the Runyard that it was last used with, or a newer one.`;
}

function otherMessage(what: string): string {
  return (
    `The database was migrated by other files than this Runyard has: ${what}. ` +
    `Start the Runyard that it was last used with; an applied migration is never edited, a new one is added.`
  );
}
