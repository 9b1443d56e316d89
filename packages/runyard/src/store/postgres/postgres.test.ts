import { chownSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Home } from "../../home.ts";
import { dataDirOf } from "./cluster.ts";
import { pidFileOf } from "./postmaster.ts";
import { ensurePostgres, postgresPid, stopPostgres, type RunningPostgres } from "./postgres.ts";
import { nameProcess, processesServing } from "./process.ts";
import { installPrograms } from "./programs.ts";
import { firstLineOf, moduleUrl, outputOf, scratchHome, startNode, type Scratch } from "./testing.ts";

// Several cold starts in one test, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** A program that ensures the server of a home, tells about it in one line, and lives on unless told otherwise. */
function starter(home: Home, then = "setInterval(() => {}, 1000)"): string {
  return `
    import { homeAt } from ${JSON.stringify(moduleUrl("../../home.ts"))};
    import { ensurePostgres } from ${JSON.stringify(moduleUrl("postgres.ts"))};
    const { pid, adopted } = await ensurePostgres({ home: homeAt(${JSON.stringify(home.root)}) });
    console.log(JSON.stringify({ pid, adopted }));
    ${then};`;
}

async function sql(connectionString: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(5);
}

function killAll(home: Home): Promise<void> {
  for (const pid of processesServing(dataDirOf(home))) process.kill(pid, "SIGKILL");
  return until(() => processesServing(dataDirOf(home)).length === 0);
}

describe("one home, from its first start on", () => {
  let scratch: Scratch;
  let home: Home;
  let first: RunningPostgres;
  let url: string;
  const progress: string[] = [];

  beforeAll(async () => {
    scratch = scratchHome();
    home = scratch.home;
    // What killed starters left: half a data directory and half a copy.
    mkdirSync(path.join(home.postgresDir, "draft-half", "data"), { recursive: true });
    mkdirSync(path.join(home.runtimeDir, "draft-postgres-half"), { recursive: true });
    process.env["RUNYARD_TEST_PROVIDER_KEY"] = "sk-very-secret";
    first = await ensurePostgres({ home, onProgress: (message) => progress.push(message) });
    url = first.connectionString;
    await sql(url, "create table kept (n int); insert into kept values (1)");
  });
  afterAll(() => scratch.clear());

  async function keptRows(): Promise<number> {
    const rows = await sql((await ensurePostgres({ home })).connectionString, "select count(*)::int as n from kept");
    return Number(rows[0]?.["n"]);
  }

  test("it was started, what was long was told, and half-made things of killed starters are gone", () => {
    expect(first).toMatchObject({ adopted: false, pid: postgresPid(home) });
    // On a slow machine a second line says what is waited for.
    expect(progress[0]).toBe("Making the database (only at the first start)");
    expect(readdirSync(home.postgresDir).sort()).toEqual(["data", "lock", "password"]);
    expect(readdirSync(home.runtimeDir)).toHaveLength(1);
  });

  test("it listens on a private socket only, wants the password, and writes safely", async () => {
    const rows = await sql(url, "select name, setting from pg_settings where name in ('listen_addresses', 'fsync', 'password_encryption')");
    expect(Object.fromEntries(rows.map((row) => [row["name"], row["setting"]]))).toEqual({
      fsync: "on",
      listen_addresses: "",
      password_encryption: "scram-sha-256",
    });
    expect(statSync(home.postgresSocketDir).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(home.postgresDir, "password")).mode & 0o777).toBe(0o600);
    await expect(sql(url.replace(/:[0-9a-f]{48}@/, ":wrong@"), "select 1")).rejects.toMatchObject({ code: "28P01" });
    await expect(sql(url.replace(/:[0-9a-f]{48}@/, "@"), "select 1")).rejects.toThrow(/password/);
    expect(await sql(url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test.skipIf(process.platform !== "linux")("it has nothing of our environment", () => {
    expect(process.env["RUNYARD_TEST_PROVIDER_KEY"]).toBe("sk-very-secret");
    const environment = readFileSync(`/proc/${postgresPid(home)}/environ`, "utf8");
    expect(environment).toContain("LC_ALL=C");
    expect(environment).not.toContain("sk-very-secret");
  });

  test.skipIf(process.platform !== "linux")("it has a session of its own, so that no terminal ends it", () => {
    const pid = postgresPid(home);
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    expect(session).toBe(String(pid));
  });

  test("a second caller adopts it", async () => {
    expect(await ensurePostgres({ home })).toEqual({ connectionString: url, pid: postgresPid(home), adopted: true });
  });

  test("it ends with a fast shutdown, twice stopped is once stopped, and a start finds the data", async () => {
    const connection = new pg.Client({ connectionString: url });
    connection.on("error", () => undefined);
    await connection.connect();
    expect(await stopPostgres(home)).toBe(true);
    expect(await stopPostgres(home)).toBe(false);
    expect(postgresPid(home)).toBeNull();
    expect(processesServing(dataDirOf(home))).toEqual([]);
    expect(await keptRows()).toBe(1);
  });

  test("it outlives a starter that is killed, and is adopted", async () => {
    await stopPostgres(home);
    const child = startNode(starter(home));
    const started: { pid: number; adopted: boolean } = JSON.parse(await firstLineOf(child));
    child.kill("SIGKILL");
    await until(() => child.signalCode !== null);
    expect(started.adopted).toBe(false);
    expect(await ensurePostgres({ home })).toMatchObject({ pid: started.pid, adopted: true });
  });

  test("of starters at once, one starts it and the others adopt", async () => {
    await stopPostgres(home);
    const outputs = await Promise.all([1, 2, 3].map(() => outputOf(startNode(starter(home, "process.exit()")))));
    const answers = outputs.map((output): { pid: number; adopted: boolean } => JSON.parse(output));
    expect(answers.filter((answer) => !answer.adopted)).toHaveLength(1);
    expect(new Set(answers.map((answer) => answer.pid))).toEqual(new Set([postgresPid(home)]));
  });

  test("callers at once in one process get one server", async () => {
    await stopPostgres(home);
    const answers = await Promise.all([1, 2, 3].map(() => ensurePostgres({ home })));
    expect(answers.filter((answer) => !answer.adopted)).toHaveLength(1);
    expect(new Set(answers.map((answer) => answer.pid)).size).toBe(1);
  });

  test("after kill -9 of all its processes it recovers with every committed row", async () => {
    await sql(url, "insert into kept values (2)");
    const before = postgresPid(home);
    await killAll(home);
    expect(existsSync(pidFileOf(dataDirOf(home)))).toBe(true);
    expect(postgresPid(home)).toBeNull();
    expect(await keptRows()).toBe(2);
    expect(postgresPid(home)).not.toBe(before);
  });

  test.skipIf(process.platform !== "linux")("after kill -9 of the server alone its orphans are cleared away", async () => {
    const connection = new pg.Client({ connectionString: url });
    connection.on("error", () => undefined);
    await connection.connect();
    // A backend that does not look whether its server lives: stopped, it cannot.
    const [row] = (await connection.query<{ pid: number }>("select pg_backend_pid() as pid")).rows;
    process.kill(row?.pid ?? 0, "SIGSTOP");
    process.kill(postgresPid(home) ?? 0, "SIGKILL");
    await until(() => postgresPid(home) === null);
    expect(processesServing(dataDirOf(home))).toContain(row?.pid);
    expect(await keptRows()).toBe(2);
    expect(processesServing(dataDirOf(home))).not.toContain(row?.pid);
    await connection.end().catch(() => undefined);
  });

  test.skipIf(process.platform !== "linux").each(["a stranger", "a zombie"])(
    "lock files of a dead server whose pid now is that of %s do no harm",
    async (kind) => {
      await killAll(home);
      // The shell's child ends and is never waited for: what is left of a server in a container whose first process waits for nobody.
      const [background, state] = kind === "a zombie" ? ["sleep 0.3", "Z"] : ["sleep 1000", "S"];
      const parent = spawn("sh", ["-c", `${background} & echo $!; exec sleep 1000`], { stdio: ["ignore", "pipe", "inherit"] });
      const pid = await firstLineOf(parent);
      await until(() => /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] === state);
      for (const file of [pidFileOf(dataDirOf(home)), path.join(home.postgresSocketDir, ".s.PGSQL.5432.lock")]) {
        writeFileSync(file, readFileSync(file, "utf8").replace(/^\d+/, pid));
      }
      expect(postgresPid(home)).toBeNull();
      expect(await keptRows()).toBe(2);
      if (kind === "a stranger") process.kill(Number(pid), "SIGKILL");
      parent.kill("SIGKILL");
    },
  );

  test.skipIf(process.platform !== "linux")("a stopped (SIGSTOP) server is still ended", async () => {
    const { pid } = await ensurePostgres({ home });
    const identity = nameProcess(pid);
    expect(identity).not.toBeNull();
    process.kill(pid, "SIGSTOP");
    expect(await stopPostgres(home)).toBe(true);
    expect(nameProcess(pid)).not.toBe(identity);
    expect(await keptRows()).toBe(2);
  });

  test.skipIf(process.platform !== "linux")("a copy of a home is not taken for the home that lives", async () => {
    const { pid } = await ensurePostgres({ home });
    await sql(url, "checkpoint");
    const copy = scratchHome({ programsOf: home });
    cpSync(home.postgresDir, copy.home.postgresDir, { recursive: true, filter: (file) => !file.endsWith("lock") });
    expect(postgresPid(copy.home)).toBeNull();
    const other = await ensurePostgres({ home: copy.home });
    expect(other).toMatchObject({ adopted: false });
    expect(other.pid).not.toBe(pid);
    expect(await sql(other.connectionString, "select count(*)::int as n from kept")).toEqual([{ n: 2 }]);
    expect(postgresPid(home)).toBe(pid);
    await copy.clear();
  });

  test("a lost password file is explained", async () => {
    const file = path.join(home.postgresDir, "password");
    renameSync(file, `${file}.kept`);
    writeFileSync(file, "another\n");
    await expect(ensurePostgres({ home })).rejects.toThrow(/password in .* does not open the database/);
    renameSync(`${file}.kept`, file);
    expect(await keptRows()).toBe(2);
  });

  test("a data directory of another major version is refused and left alone", async () => {
    await stopPostgres(home);
    const version = path.join(dataDirOf(home), "PG_VERSION");
    writeFileSync(version, "17\n");
    await expect(ensurePostgres({ home })).rejects.toThrow(
      /was made by PostgreSQL 17, and this Runyard brings PostgreSQL 18.*DATABASE_URL/,
    );
    expect(postgresPid(home)).toBeNull();
    writeFileSync(version, "18\n");
    expect(await keptRows()).toBe(2);
  });

  test("a server that cannot start says why", async () => {
    await stopPostgres(home);
    await expect(ensurePostgres({ home, settings: { shared_buffers: "lots" } })).rejects.toThrow(/did not start.*[\s\S]*shared_buffers/);
    expect(await keptRows()).toBe(2);
  });
});

describe("other homes", () => {
  let lender: Scratch;
  let scratch: Scratch | undefined;

  beforeAll(async () => {
    lender = scratchHome();
    mkdirSync(lender.home.runtimeDir, { recursive: true });
    await installPrograms(lender.home);
  });
  afterEach(async () => {
    await scratch?.clear();
    scratch = undefined;
  });
  afterAll(() => lender.clear());

  function another(below = "home"): Home {
    scratch = scratchHome({ below, programsOf: lender.home });
    return scratch.home;
  }

  test("a starter that is killed while the data directory is made leaves nothing that hinders", async () => {
    const home = another();
    const child = startNode(starter(home));
    const closed = new Promise((resolve) => child.once("close", resolve));
    await until(() => existsSync(home.postgresDir) && readdirSync(home.postgresDir).some((name) => isHalfMade(home, name)));
    child.kill("SIGKILL");
    await closed;
    expect(existsSync(dataDirOf(home))).toBe(false);
    expect(await ensurePostgres({ home })).toMatchObject({ adopted: false });
  });

  test("initdb's own words are shown, and nothing half made is kept", async () => {
    scratch = scratchHome();
    const { home } = scratch;
    mkdirSync(home.runtimeDir, { recursive: true, mode: 0o700 });
    const programs = await installPrograms(home);
    rmSync(path.resolve(programs.initdb, "../../share/postgresql/postgres.bki"));
    await expect(ensurePostgres({ home })).rejects.toThrow(/initdb failed \(1\)[\s\S]*postgres\.bki/);
    expect(existsSync(dataDirOf(home))).toBe(false);
  });

  test("a directory that is no data directory is refused", async () => {
    const home = another();
    mkdirSync(dataDirOf(home), { recursive: true });
    await expect(ensurePostgres({ home })).rejects.toThrow(/is not a PostgreSQL data directory: move it away/);
  });

  test("a path longer than a socket's may be, with odd characters, works", async () => {
    const home = another(`${"long ".repeat(25)}, 'quoted' 100% ünïcode`);
    expect(Buffer.byteLength(dataDirOf(home))).toBeGreaterThan(108);
    const { connectionString } = await ensurePostgres({ home });
    expect(await sql(connectionString, "select current_setting('data_directory') as dir")).toEqual([{ dir: dataDirOf(home) }]);
    expect(await ensurePostgres({ home })).toMatchObject({ adopted: true });
  });

  test("a path that a shell would read as a command is refused, and nothing is run", async () => {
    const home = another("home $(touch ran)");
    await expect(ensurePostgres({ home })).rejects.toThrow(/set RUNYARD_HOME to a path without/);
    expect(existsSync(dataDirOf(home))).toBe(false);
  });

  test.skipIf(process.getuid?.() !== 0)("a socket directory of somebody else is neither used nor trusted", async () => {
    const home = another("long ".repeat(25));
    mkdirSync(home.postgresSocketDir, { mode: 0o777 });
    chownSync(home.postgresSocketDir, 12_345, 12_345);
    await expect(ensurePostgres({ home })).rejects.toThrow(/belongs to somebody else/);
    expect(postgresPid(home)).toBeNull();
  });
});

function isHalfMade(home: Home, name: string): boolean {
  return name.startsWith("draft-") && existsSync(path.join(home.postgresDir, name, "data", "PG_VERSION"));
}
