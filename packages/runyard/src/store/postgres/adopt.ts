import { existsSync, realpathSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import type { Home } from "../../home.ts";
import { checkMajor, dataDirOf, readPassword, SUPERUSER } from "./cluster.ts";
import { postgresPid } from "./postmaster.ts";
import { isSocketDirOurs } from "./socket-dir.ts";

const DATABASE = "runyard";
/** SQLSTATE of a connection to a database that is not there. */
const NO_DATABASE = "3D000";
const CONNECT_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 120_000;
const UNSEEN_TIMEOUT_MS = 2_000;
const POLL_MS = 20;
const SAY_SO_AFTER_MS = 1_000;

/** A server that was found and checked. */
export interface Adopted {
  readonly connectionString: string;
  readonly pid: number;
}

export interface AdoptOptions {
  readonly home: Home;
  readonly major: number;
  readonly onProgress?: (message: string) => void;
}

type Reply =
  | { readonly state: "ready"; readonly dataDir: string }
  /** Starting, recovering, stopping, or full. */
  | { readonly state: "busy"; readonly reason: string }
  | { readonly state: "absent" };

/**
 * Looks for the home's living server. One that starts or recovers is waited for; one that answers is
 * checked to be the one of this data directory and major version. Null when none lives.
 */
export async function adopt(options: AdoptOptions): Promise<Adopted | null> {
  const { home } = options;
  if (!existsSync(dataDirOf(home))) return null;
  checkMajor(dataDirOf(home), options.major);
  const password = readPassword(home);
  if (password === null || !isSocketDirOurs(home.postgresSocketDir)) return null;
  const found = await waitForServer(options, password);
  if (found === null) return null;
  check(home, found.dataDir);
  return { connectionString: connectionString(home, password, DATABASE), pid: found.pid };
}

async function waitForServer(options: AdoptOptions, password: string): Promise<{ dataDir: string; pid: number } | null> {
  const { home, onProgress } = options;
  const startedAt = Date.now();
  let said = false;
  for (;;) {
    const reply = await ask(home, password);
    const pid = postgresPid(home);
    if (reply.state === "ready" && pid !== null) return { dataDir: reply.dataDir, pid };
    if (reply.state === "absent" && pid === null) return null;
    const waitedMs = Date.now() - startedAt;
    // For a moment, an answer without a process is that of a server that was killed behind it.
    if (reply.state === "ready" && waitedMs > UNSEEN_TIMEOUT_MS) throw new Error(unseenMessage(home));
    if (waitedMs > READY_TIMEOUT_MS) throw new Error(silentMessage(pid, reply));
    if (waitedMs > SAY_SO_AFTER_MS && !said) {
      onProgress?.("Waiting for PostgreSQL, which is starting or recovering");
      said = true;
    }
    await wait(POLL_MS);
  }
}

async function ask(home: Home, password: string): Promise<Reply> {
  try {
    return await withClient(connectionString(home, password, DATABASE), async (client) => {
      const answer = await client.query<{ dir: string }>("select current_setting('data_directory') as dir");
      const row = answer.rows[0];
      if (row === undefined) return { state: "busy", reason: "an empty answer" };
      return { state: "ready", dataDir: row.dir };
    });
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    if (code === "ENOENT" || code === "ECONNREFUSED") return { state: "absent" };
    if (code === NO_DATABASE) return makeDatabase(home, password);
    if (code === "28P01") throw new Error(passwordMessage(home), { cause: error });
    return { state: "busy", reason: String(error) };
  }
}

function check(home: Home, dataDir: string): void {
  const wanted = realpathSync(dataDirOf(home));
  if (resolved(dataDir) !== wanted) {
    throw new Error(
      `The PostgreSQL server that answers in ${home.postgresSocketDir} serves ${dataDir}, not ${wanted}: ` +
        `stop it, or set RUNYARD_HOME to another place.`,
    );
  }
}

/** Makes Runyard's database in a new cluster; of two that try at once, one meets an error and asks again like the other. */
async function makeDatabase(home: Home, password: string): Promise<Reply> {
  const create = withClient(connectionString(home, password, "postgres"), (client) => client.query(`create database ${DATABASE}`));
  return create.then(
    () => ({ state: "busy", reason: "the database was just made" }),
    (error: unknown) => ({ state: "busy", reason: `the database cannot be made: ${String(error)}` }),
  );
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The port and sslmode are named so that PGPORT and PGSSLMODE of the environment do not matter. */
function connectionString(home: Home, password: string, database: string): string {
  const host = encodeURIComponent(home.postgresSocketDir);
  return `postgresql://${SUPERUSER}:${password}@${host}:5432/${database}?sslmode=disable`;
}

function resolved(dir: string): string {
  try {
    return realpathSync(dir);
  } catch {
    return dir;
  }
}

function passwordMessage(home: Home): string {
  return (
    `The password in ${home.postgresDir}/password does not open the database beside it. Put back the file that ` +
    `belongs to it, or move ${home.postgresDir} away to start with an empty database.`
  );
}

function silentMessage(pid: number | null, reply: Reply): string {
  const reason = reply.state === "busy" ? reply.reason : "nothing listens";
  return (
    `PostgreSQL${pid === null ? "" : ` (process ${pid})`} has not become ready within ${READY_TIMEOUT_MS / 1000} ` +
    `seconds (${reason}). Look into logs/postgres.log, or end that process and start again.`
  );
}

function unseenMessage(home: Home): string {
  return (
    `A PostgreSQL server that cannot be seen from here (another container?) already serves ${dataDirOf(home)}: ` +
    `two must never share a data directory. Stop it first.`
  );
}
