import { createHash } from "node:crypto";
import { hostname } from "node:os";
import pg from "pg";
import { openDatabase, type Database } from "../store/database.ts";
import { migrate, readMigrations } from "../store/migrate.ts";
import { nameProcess } from "../store/postgres/process.ts";
import { testServerUrl } from "./test-server.ts";

/** A database of its own for one test file, with all migrations applied. */
export interface TestDatabase {
  /** For a superuser: what row-level security hides from `db`, this sees. */
  readonly connectionString: string;
  readonly db: Database;
  /** Closes `db`, ends all other connections and removes the database. */
  drop(): Promise<void>;
}

const TEMPLATES_KEPT = 4;
const TEMPLATE_LOCK_KEY = 7_246_909_154;

let template: Promise<string> | undefined;
let made = 0;

/** Makes a database for tests: a clone of a template that is migrated once for each set of migrations. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = await testServerUrl();
  template ??= withClient(server, async (admin) => {
    await dropLeftovers(admin);
    return ensureTemplate(admin, server);
  });
  const source = await template;
  made += 1;
  const name = `${prefixOf(process.pid)}${made}`;
  await withClient(server, (admin) => admin.query(`create database ${name} template ${source}`));
  const connectionString = withDatabase(server, name);
  const db = openDatabase({ connectionString, applicationName: "runyard-test" });
  return {
    connectionString,
    db,
    async drop() {
      await db.close();
      await withClient(server, (admin) => admin.query(`drop database if exists ${name} with (force)`));
    },
  };
}

/** The same server and user, another database. */
export function withDatabase(url: string, name: string): string {
  return url.replace(/\/[^/?]*(?=\?|$)/, `/${name}`);
}

/** The name of the database that a URL points at. */
export function databaseIn(url: string): string {
  return /\/([^/?]*)(?:\?|$)/.exec(url)?.[1] ?? "";
}

/** Of any number of test processes at once, one migrates it. The template has its name only when it is complete. */
async function ensureTemplate(admin: pg.Client, server: string): Promise<string> {
  const hashes = readMigrations().map((migration) => migration.hash);
  const name = `runyard_template_${digest(hashes.join())}`;
  await admin.query("select pg_advisory_lock($1)", [TEMPLATE_LOCK_KEY]);
  const found = await admin.query("select from pg_database where datname = $1", [name]);
  if (found.rowCount === 0) {
    await admin.query(`drop database if exists ${name}_draft with (force)`);
    await admin.query(`create database ${name}_draft encoding 'UTF8' template template0`);
    await migrate({ connectionString: withDatabase(server, `${name}_draft`) });
    await admin.query(`alter database ${name}_draft rename to ${name}`);
    await dropOldTemplates(admin);
  }
  await admin.query("select pg_advisory_unlock($1)", [TEMPLATE_LOCK_KEY]);
  return name;
}

async function dropOldTemplates(admin: pg.Client): Promise<void> {
  const old = await admin.query<{ datname: string }>(
    "select datname from pg_database where datname ~ '^runyard_template_[0-9a-f]+$' order by oid desc offset $1",
    [TEMPLATES_KEPT],
  );
  // One that is being cloned this moment stays until the next time.
  for (const { datname } of old.rows) await admin.query(`drop database if exists ${datname}`).catch(() => undefined);
}

/** Removes the databases of test processes of this machine that died before they could. */
async function dropLeftovers(admin: pg.Client): Promise<void> {
  const ours = `runyard_test_${digest(hostname())}_`;
  const all = await admin.query<{ datname: string }>("select datname from pg_database where starts_with(datname, $1)", [ours]);
  for (const { datname } of all.rows) {
    const pid = Number(datname.slice(ours.length).split("_")[0]);
    if (!datname.startsWith(prefixOf(pid))) await admin.query(`drop database if exists ${datname} with (force)`);
  }
}

/** How the names of a living process's databases begin. */
function prefixOf(pid: number): string {
  return `runyard_test_${digest(hostname())}_${pid}_${digest(nameProcess(pid) ?? "dead")}_`;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString, application_name: "runyard-test-admin" });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
