import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, beforeEach, expect, test } from "vitest";
import { createTestDatabase, databaseIn, withDatabase, type TestDatabase } from "../testing/database.ts";
import { migrate, readMigrations } from "./migrate.ts";
import { refuseServer } from "./migrate/requirements.ts";

const ROLES_FILE = fileURLToPath(new URL("./migrations/0001_roles.sql", import.meta.url));
const root = mkdtempSync(path.join(tmpdir(), "runyard-migrate-"));
const host: TestDatabase = await createTestDatabase();
const superuser = new pg.Client({ connectionString: host.connectionString });
await superuser.connect();
const name = databaseIn(host.connectionString);

let directory: string;
let made = 0;
beforeEach(() => {
  directory = mkdtempSync(path.join(root, "sql-"));
  copyFileSync(ROLES_FILE, path.join(directory, "0001_roles.sql"));
});
afterAll(async () => {
  for (let n = 1; n <= made; n += 1) await superuser.query(`drop database if exists ${name}_${n} with (force)`);
  await superuser.end();
  await host.drop();
  rmSync(root, { recursive: true, force: true });
});

/** An empty database. */
async function emptyDatabase(encoding = "UTF8"): Promise<string> {
  made += 1;
  await superuser.query(`create database ${name}_${made} encoding '${encoding}' template template0`);
  return withDatabase(host.connectionString, `${name}_${made}`);
}

function write(file: string, text: string): void {
  writeFileSync(path.join(directory, file), text);
}

async function rows(connectionString: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

test("all migrations are applied in order, once", async () => {
  const connectionString = await emptyDatabase();
  const names = readMigrations().map((migration) => migration.name);
  expect(names[0]).toBe("0001_roles.sql");
  expect(await migrate({ connectionString })).toEqual({ applied: names });
  expect(await migrate({ connectionString })).toEqual({ applied: [] });
});

test("what crosses organizations belongs to the role that may, whoever migrates", async () => {
  const connectionString = await emptyDatabase();
  await migrate({ connectionString });
  const others = await rows(
    connectionString,
    "select proname from pg_proc where pronamespace = 'runyard'::regnamespace and prosecdef and proowner <> 'runyard_system'::regrole",
  );
  expect(others).toEqual([]);
});

test("of several servers at once, each migration is applied by one", async () => {
  const connectionString = await emptyDatabase();
  write("0002_slow.sql", "create table slow (n int); select pg_sleep(0.1); insert into slow values (1);");
  const answers = await Promise.all([1, 2, 3].map(() => migrate({ connectionString, directory })));
  expect(answers.flatMap((answer) => answer.applied).sort((a, b) => a.localeCompare(b))).toEqual(["0001_roles.sql", "0002_slow.sql"]);
  expect(await rows(connectionString, "select n from runyard.slow")).toEqual([{ n: 1 }]);
});

test("a failing migration leaves nothing of itself, and the earlier ones stay", async () => {
  const connectionString = await emptyDatabase();
  write("0002_good.sql", "create table good (n int);");
  write("0003_bad.sql", "create table half (n int); select nonsense();");
  await expect(migrate({ connectionString, directory })).rejects.toThrow(
    /0003_bad.sql failed at character \d+ and was rolled back: .*nonsense/,
  );
  const found = await rows(
    connectionString,
    "select to_regclass('runyard.good') is not null as good, to_regclass('runyard.half') is not null as half",
  );
  expect(found).toEqual([{ good: true, half: false }]);
  write("0003_bad.sql", "create table whole (n int);");
  expect(await migrate({ connectionString, directory })).toEqual({ applied: ["0003_bad.sql"] });
});

test("a migration must not end its transaction", async () => {
  const connectionString = await emptyDatabase();
  write("0002_ends.sql", "create table ends (n int); commit;");
  await expect(migrate({ connectionString, directory })).rejects.toThrow(/0002_ends.sql must not end its own transaction/);
});

test("a changed, a missing and an unknown newer migration are refused", async () => {
  const connectionString = await emptyDatabase();
  write("0002_one.sql", "create table one (n int);\n");
  write("0003_two.sql", "create table two (n int);\n");
  await migrate({ connectionString, directory });
  write("0002_one.sql", "create table one (n int);\r\n");
  expect(await migrate({ connectionString, directory })).toEqual({ applied: [] });
  write("0002_one.sql", "create table one (n bigint);\n");
  await expect(migrate({ connectionString, directory })).rejects.toThrow(/0002_one.sql was changed after it had been applied/);
  rmSync(path.join(directory, "0002_one.sql"));
  await expect(migrate({ connectionString, directory })).rejects.toThrow(
    /other files.*0002_one.sql was applied but is not what comes next here/,
  );
  write("0002_one.sql", "create table one (n int);\n");
  rmSync(path.join(directory, "0003_two.sql"));
  await expect(migrate({ connectionString, directory })).rejects.toThrow(/newer than this Runyard \(it has the migration 0003_two.sql\)/);
  write("0003_two.sql", "create table two (n int);\n");
  write("0002_also.sql", "");
  await expect(migrate({ connectionString, directory })).rejects.toThrow(/Two migrations have the number of/);
});

test("a file with another name is refused", () => {
  write("2_runs.sql", "");
  expect(() => readMigrations(directory)).toThrow("2_runs.sql must look like 0002_runs.sql");
  expect(readdirSync(directory)).toContain("0001_roles.sql");
});

test("two databases of one server may be made at the same time", async () => {
  const urls = [await emptyDatabase(), await emptyDatabase(), await emptyDatabase()];
  const answers = await Promise.all(urls.map((connectionString) => migrate({ connectionString, directory })));
  expect(answers).toEqual(urls.map(() => ({ applied: ["0001_roles.sql"] })));
});

test("a role that would see everything is refused", async () => {
  const connectionString = await emptyDatabase();
  await superuser.query("begin");
  // Roles belong to the whole server, where other tests need this one: the change is seen here only.
  await superuser.query("alter role runyard_app bypassrls");
  const { requireRoles } = await import("./migrate/requirements.ts");
  await expect(requireRoles(superuser)).rejects.toThrow(/runyard_app is a superuser or bypasses row-level security[\s\S]*nobypassrls/);
  await superuser.query("rollback");
  await expect(requireRoles(superuser)).resolves.toBeUndefined();
  await migrate({ connectionString, directory });
});

test("a server that is too old or not in UTF8 is refused", async () => {
  expect(refuseServer(140_013, "UTF8")).toMatch(/is version 14, and Runyard needs 15 or newer/);
  expect(refuseServer(150_000, "UTF8")).toBeNull();
  const connectionString = await emptyDatabase("LATIN1");
  await expect(migrate({ connectionString })).rejects.toThrow(/has the encoding LATIN1, and Runyard needs UTF8/);
});

test("a server that is not there is told plainly", async () => {
  await expect(migrate({ connectionString: "postgresql://me@127.0.0.1:1/runyard" })).rejects.toThrow(/The database cannot be reached/);
});

test("what 0039 finds settles nothing for runs, and keeps what it settles already", async () => {
  const connectionString = await emptyDatabase();
  for (const { name: file, text } of readMigrations()) if (file < "0039") write(file, text);
  await migrate({ connectionString, directory });
  await rows(
    connectionString,
    `insert into runyard.organizations (org_id, name) values ('o', 'o');
     insert into runyard.repositories (id, org_id, url, plan_first, publish) values ('r', 'o', '/r', true, 'branch');`,
  );
  expect((await migrate({ connectionString })).applied[0]).toBe("0039_run_defaults.sql");
  expect(await rows(connectionString, "select plan_first, publish, branch, verify, agent from runyard.repositories")).toEqual([
    { plan_first: true, publish: "branch", branch: null, verify: null, agent: null },
  ]);
});

test("what 0021 finds with headers of MCP servers is marked for the servers to encrypt, and nothing else", async () => {
  const connectionString = await emptyDatabase();
  for (const { name: file, text } of readMigrations()) if (file < "0021") write(file, text);
  await migrate({ connectionString, directory });
  const servers = (more: object): string => JSON.stringify({ mcpServers: [{ name: "docs", url: "http://docs.test", ...more }] });
  const run = (id: string, spec: string): string =>
    `insert into runyard.runs (id, org_id, repository_id, created_by, task, repository_url, base_commit, spec, simulated, status, phase, usage)
     values ('${id}', 'o', 'r', 'u', 't', '/r', 'c', '${spec}', false, 'completed', 'publishing', '{}');`;
  await rows(
    connectionString,
    `insert into runyard.organizations (org_id, name) values ('o', 'o'); insert into runyard.users (id, org_id, name) values ('u', 'o', 'u');
     insert into runyard.repositories (id, org_id, url) values ('r', 'o', '/r');
     insert into runyard.agents (id, org_id, name, definition) values
       ('with', 'o', 'with', '${servers({ headers: { a: "b" } })}'), ('without', 'o', 'without', '${servers({})}');
     ${run("run_with", servers({ headers: { a: "b" } }))} ${run("run_without", servers({}))}`,
  );
  for (const { name: file, text } of readMigrations()) if (file >= "0021") write(file, text);
  await migrate({ connectionString, directory });
  const marked = "select id from runyard.agents where plain_headers union all select id from runyard.runs where plain_headers order by id";
  expect(await rows(connectionString, marked)).toEqual([{ id: "run_with" }, { id: "with" }]);
});
