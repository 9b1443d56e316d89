import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDatabase } from "./database.ts";
import { migrate } from "./migrate.ts";
import { chooseAccount, giveTo, openPathTo, underAccount } from "./postgres/account.ts";
import { dataDirOf, ensureCluster, readPassword, serverEnvironment } from "./postgres/cluster.ts";
import { saysReady } from "./postgres/postmaster.ts";
import { ensurePostgres } from "./postgres/postgres.ts";
import { programsAt } from "./postgres/programs.ts";
import { scratchHome, type Scratch } from "./postgres/testing.ts";

/** The oldest version that Runyard takes, where Debian's package of it is installed. */
const BIN_DIR = "/usr/lib/postgresql/15/bin";
const reason = existsSync(`${BIN_DIR}/postgres`) ? "" : ` (skipped: no PostgreSQL 15 in ${BIN_DIR})`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(reason !== "")(`a PostgreSQL 15 server of one's own, over TCP${reason}`, () => {
  let scratch: Scratch;
  let child: ChildProcess;
  let port: number;
  let administrator: pg.Client;

  beforeAll(async () => {
    scratch = scratchHome({ mode: 0o755 });
    const { home } = scratch;
    const account = await chooseAccount();
    for (const dir of [home.postgresDir, home.postgresSocketDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
    openPathTo(account, home.root, [home.root, home.postgresDir]);
    giveTo(account, home.postgresSocketDir);
    const programs = programsAt(BIN_DIR, 15);
    await ensureCluster({ home, programs, account });
    port = await freePort();
    const settings = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${home.postgresSocketDir}`, "fsync=off"];
    const words = [programs.postgres, "-D", dataDirOf(home), ...settings.flatMap((setting) => ["-c", setting])];
    const { file, args, ...owner } = underAccount(account, words as [string, ...string[]]);
    child = spawn(file, args, { ...owner, env: serverEnvironment(), cwd: "/", stdio: "ignore" });
    while (!saysReady(dataDirOf(home), child.pid ?? 0)) await wait(10);
    administrator = new pg.Client({ connectionString: url("runyard", readPassword(home) ?? "", "postgres") });
    await administrator.connect();
  });
  afterAll(async () => {
    await administrator.end();
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGINT");
    await ended;
    await scratch.clear();
  });

  function url(user: string, password: string, database: string): string {
    return `postgresql://${user}:${password}@127.0.0.1:${port}/${database}`;
  }

  /** A database and the user that owns it. */
  async function ownerOf(name: string, attributes = ""): Promise<string> {
    await administrator.query(`create role ${name} login password 'pw' ${attributes}`);
    await administrator.query(`create database ${name} owner ${name} template template0`);
    return url(name, "pw", name);
  }

  async function expectFenced(connectionString: string): Promise<void> {
    const db = openDatabase({ connectionString, applicationName: "other-server" });
    await db.queryInOrganization("org_a", "insert into organizations (org_id, name) values ($1, 'A')", ["org_a"]);
    expect(await db.queryInOrganization("org_a", "select org_id from organizations")).toEqual([{ org_id: "org_a" }]);
    expect(await db.queryInOrganization("org_b", "select org_id from organizations")).toEqual([]);
    expect(await db.query("select org_id from organizations")).toEqual([]);
    await expect(db.queryInOrganization("org_b", "insert into organizations (org_id, name) values ('org_c', 'C')")).rejects.toMatchObject({
      code: "42501",
    });
    // A function that crosses organizations, owned by runyard_system.
    expect(await db.query("select * from runyard.living_runs('nobody')")).toEqual([]);
    await db.close();
  }

  // The order matters: the roles belong to the whole server, and so exist from the second test on.
  test("users without rights are told which statements an administrator must run, and those are enough", async () => {
    const connectionString = await ownerOf("plain");
    const refusal: unknown = await migrate({ connectionString }).catch((thrown: unknown) => thrown);
    expect(String(refusal)).toMatch(/0001_roles.sql failed.*permission denied.*As an administrator of this PostgreSQL server, run/);
    const statements = String(refusal)
      .split("\n")
      .filter((line) => line.endsWith(";") || line.includes("-- unless"));
    expect(statements).toHaveLength(4);
    for (const statement of statements) await administrator.query(statement);
    expect((await migrate({ connectionString })).applied[0]).toBe("0001_roles.sql");
    await expectFenced(connectionString);
    for (const text of [
      "drop database plain",
      "drop owned by runyard_app, runyard_system, plain",
      "drop role plain, runyard_app, runyard_system",
    ]) {
      await administrator.query(text);
    }
  });

  test("users who may create roles need no administrator, also when two databases are made at once", async () => {
    const urls = [await ownerOf("first", "createrole"), await ownerOf("second", "createrole"), await ownerOf("third", "createrole")];
    const answers = await Promise.all(urls.map((connectionString) => migrate({ connectionString })));
    expect(new Set(answers.map((answer) => answer.applied[0]))).toEqual(new Set(["0001_roles.sql"]));
    for (const connectionString of urls) await expectFenced(connectionString);
  });

  test("a user that may not act as the roles is refused before anything is served", async () => {
    await administrator.query("create role guest login password 'pw'");
    const connectionString = url("guest", "pw", "first");
    const db = openDatabase({ connectionString, applicationName: "guest" });
    await expect(db.query("select 1")).rejects.toThrow(/cannot be reached .*grant runyard_app to/);
    await db.close();
  });

  test("an administrator's URL works too", async () => {
    await administrator.query("create database adminsown template template0");
    const connectionString = url("runyard", readPassword(scratch.home) ?? "", "adminsown");
    await migrate({ connectionString });
    await expectFenced(connectionString);
  });

  test("its data directory is not taken for one of the built-in server, which is newer", async () => {
    await expect(ensurePostgres({ home: scratch.home })).rejects.toThrow(
      /was made by PostgreSQL 15, and this Runyard brings PostgreSQL 18/,
    );
    expect(child.exitCode).toBeNull();
  });
});
