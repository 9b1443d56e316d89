// `runyard up` with a DATABASE_URL that leads nowhere good: each says what is wrong within seconds, and leaves
// nothing. The rows stand in docs/acceptance.md.
import { createServer, type AddressInfo, type Socket } from "node:net";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, databaseIn, withDatabase, type TestDatabase } from "../../src/testing/database.ts";
import { type CliResult, makeTestHome, type TestHome } from "../../src/testing/server.ts";
import { expectServes, processesOf, refusedStart, removeHome, run, serve } from "./place.ts";

const NO_URL =
  "DATABASE_URL must be the URL of a PostgreSQL database, for example postgres://user:password@host:5432/database (odd characters in the password as %23 and the like)";
const CHECK = "check that PostgreSQL runs and that DATABASE_URL, where it is set, is right; `runyard up` starts the built-in one again";

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(process.platform !== "linux" || isShort)(isShort ? "DATABASE_URL (npm run test:full)" : "DATABASE_URL", () => {
  let database: TestDatabase;
  let home: TestHome;
  /** Ten seconds until it is refused: it goes on, in a home of its own, while the others are. */
  let silent: Promise<CliResult>;
  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome();
    silent = startAtSilence();
    silent.catch(() => undefined);
  });
  afterAll(async () => {
    // After all that was refused in it, the home works with the right one.
    await expectServes(home, [], { env: { DATABASE_URL: database.connectionString } });
    await removeHome(home);
    await database.drop();
  });

  const startWith = (url: string) => refusedStart(home, [], { env: { DATABASE_URL: url } });

  /** The same user's URL, another password. */
  const withPassword = (password: string): string => database.connectionString.replace(/(:\/\/[^:]+):[^@]*@/, `$1:${password}@`);

  test.each(["nonsense", "mysql://me:decoy@127.0.0.1/mine", "postgres://me:de/coy@127.0.0.1/mine"])(
    "that is no URL of a PostgreSQL: %s",
    async (url) => {
      const refused = await startWith(url);
      expect(refused).toEqual({
        code: 2,
        stdout: "",
        stderr: `error: ${NO_URL}\n  Correct it, or leave it out to use the built-in PostgreSQL.\n`,
      });
    },
  );

  test("that is no URL, for the doctor: told without the password", async () => {
    const { code, stdout } = await run(home, ["doctor"], { env: { DATABASE_URL: "postgres://me:de/coy@127.0.0.1/mine" } });
    expect(code).toBe(1);
    expect(stdout.replaceAll(/\n +/g, " ")).toContain(`DATABASE_URL is not usable ${NO_URL}`);
    expect(stdout).not.toContain("coy@127");
  });

  test("where nothing listens", async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    expect(await startWith(`postgres://me:decoy@127.0.0.1:${port}/mine`)).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: The database cannot be reached (connect ECONNREFUSED 127.0.0.1:${port}): ${CHECK}.\n`,
    });
  });

  test("of a host that is not known", async () => {
    const { code, stderr } = await startWith("postgres://me:decoy@runyard.invalid/mine");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: The database cannot be reached \(getaddrinfo (ENOTFOUND|EAI_AGAIN) runyard\.invalid\): check /);
  });

  test("where something ends every connection", async () => {
    const rude = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => rude.listen(0, "127.0.0.1", resolve));
    const { code, stderr } = await startWith(`postgres://me:decoy@127.0.0.1:${(rude.address() as AddressInfo).port}/mine`);
    rude.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: The database cannot be reached \((Connection terminated unexpectedly|read ECONNRESET)\): check /);
  });

  test("with a wrong password", async () => {
    expect(await startWith(withPassword("decoy"))).toEqual({
      code: 1,
      stdout: "",
      stderr:
        'error: The database cannot be reached (password authentication failed for user "runyard"): the password in DATABASE_URL is wrong.\n',
    });
  });

  test("of a database that does not exist", async () => {
    expect(await startWith(withDatabase(database.connectionString, "runyard_absent"))).toEqual({
      code: 1,
      stdout: "",
      stderr:
        'error: The database cannot be reached (database "runyard_absent" does not exist): create that database, or correct DATABASE_URL.\n',
    });
  });

  test("of a user without rights: the statements that an administrator must run are told", async () => {
    const name = `${databaseIn(database.connectionString)}_plain`;
    await withAdmin(async (admin) => {
      await admin.query(`create role ${name} login password 'decoy'`);
      await admin.query(`create database ${name} template template0`);
    });
    const url = withDatabase(withPassword("decoy").replace("//runyard:", `//${name}:`), name);
    const { code, stderr } = await startWith(url);
    await withAdmin(async (admin) => {
      await admin.query(`drop database ${name}`);
      await admin.query(`drop role ${name}`);
    });
    expect(code).toBe(1);
    expect(stderr).toBe(
      [
        `error: The migration 0001_roles.sql failed and was rolled back: permission denied for database ${name}. The user ${name} lacks rights. As an administrator of this PostgreSQL server, run`,
        "  create role runyard_app nologin; -- unless it exists",
        "  create role runyard_system nologin; -- unless it exists",
        `  grant runyard_app, runyard_system to ${name};`,
        `  grant create on database ${name} to ${name};`,
        "and start again.",
        "",
      ].join("\n"),
    );
  });

  test("of a PostgreSQL that is too old", async () => {
    const old = await startOldServer();
    const refused = await startWith(`postgres://me@127.0.0.1:${old.port}/mine`);
    const { stdout } = await run(home, ["doctor", "--json"], { env: { DATABASE_URL: `postgres://me@127.0.0.1:${old.port}/mine` } });
    old.close();
    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "error: This PostgreSQL server is version 14, and Runyard needs 15 or newer: upgrade it, or leave out DATABASE_URL to use the built-in one.\n",
    });
    expect(stdout).toContain("This PostgreSQL server is version 14");
  });

  test("of a database that is newer than this Runyard, or was changed", async () => {
    const newer = await createTestDatabase();
    const change = (statement: string) => withAdmin((admin) => admin.query(statement), newer.connectionString);
    await change("insert into runyard.migrations (name, hash) values ('9999_future.sql', 'x')");
    expect(await startWith(newer.connectionString)).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "error: The database is newer than this Runyard (it has the migration 9999_future.sql): start the Runyard that it was last used with, or a newer one.\n",
    });
    await change("delete from runyard.migrations where name = '9999_future.sql'");
    await change("update runyard.migrations set hash = 'x' where name = '0001_roles.sql'");
    const { code, stderr } = await startWith(newer.connectionString);
    await newer.drop();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: The database was migrated by other files than this Runyard has: 0001_roles\.sql was changed after it had been applied\.\n {2}Start the Runyard/,
    );
  });

  test("that is gone under a server that serves: down says what it could not do, and ends everything", async () => {
    const lost = await createTestDatabase();
    await serve(home, ["--simulate"], { env: { DATABASE_URL: lost.connectionString } });
    await lost.drop();
    expect(await run(home, ["runs"])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("error: The database cannot be used at the moment."),
    });
    const { code, stderr } = await run(home, ["down"]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(
        /^The server could not cancel its runs, so they are killed\. It said: The database cannot be used .+\nStopped\. Logs and results stay in /,
      ) as string,
    });
    expect(processesOf(home)).toEqual([]);
  }, 60_000);

  test("where something accepts and says nothing", async () => {
    expect(await silent).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: The database cannot be reached (timeout expired): ${CHECK}.\n`,
    });
  }, 60_000);

  async function withAdmin<T>(work: (admin: pg.Client) => Promise<T>, connectionString = database.connectionString): Promise<T> {
    const admin = new pg.Client({ connectionString });
    await admin.connect();
    try {
      return await work(admin);
    } finally {
      await admin.end();
    }
  }
});

/** What a start says whose database accepts and says nothing. */
async function startAtSilence(): Promise<CliResult> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const home = makeTestHome();
  try {
    return await refusedStart(home, [], { env: { DATABASE_URL: `postgres://me:decoy@127.0.0.1:${port}/mine` } });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await removeHome(home);
  }
}

/** Speaks as much of PostgreSQL's protocol as it takes to be asked for a version, and names an old one. */
async function startOldServer(): Promise<{ port: number; close(): void }> {
  const message = (type: string, ...parts: Buffer[]): Buffer => {
    const body = Buffer.concat(parts);
    const head = Buffer.alloc(5);
    head.write(type);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };
  const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
  const int32 = (value: number): Buffer => Buffer.from([value >> 24, value >> 16, value >> 8, value]);
  const ready = message("Z", Buffer.from("I"));
  const column = (name: string, type: number): Buffer =>
    Buffer.concat([Buffer.from(`${name}\0`), int32(0), int16(0), int32(type), int16(-1 & 0xffff), int32(-1), int16(0)]);
  const value = (text: string): Buffer => Buffer.concat([int32(text.length), Buffer.from(text)]);
  const answer = Buffer.concat([
    message("T", int16(2), column("version", 23), column("encoding", 25)),
    message("D", int16(2), value("140005"), value("UTF8")),
    message("C", Buffer.from("SELECT 1\0")),
    ready,
  ]);
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(Buffer.concat([message("R", int32(0)), ready]));
      socket.on("data", (asked) => void (asked.toString("latin1").startsWith("Q") && socket.write(answer)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}
