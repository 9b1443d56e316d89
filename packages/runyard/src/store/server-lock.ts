import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";

/** How long a start waits for a killed server's connection to be noticed, in milliseconds. */
const PATIENCE_MS = 3_000;
const CONNECT_TIMEOUT_MS = 10_000;
const POLL_MS = 50;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

export interface ServerLockOptions {
  /** Where the database is. Asked again whenever the connection was lost: a database of our own it may have to start. */
  readonly connect: () => Promise<string>;
  readonly runnerId: string;
  readonly onLog: (message: string) => void;
}

export interface ServerLock {
  close(): Promise<void>;
}

/**
 * Makes sure that one server at a time works for a runner: an advisory lock on a connection of its own,
 * which PostgreSQL gives back when the process dies. Returns null when another server holds it. With a
 * lost connection the lock is lost too: it is taken again as soon as the database is back (meanwhile, and
 * should another server be faster, the fencing of every write by its owner holds).
 */
export async function lockServer(options: ServerLockOptions): Promise<ServerLock | null> {
  const first = await take(options);
  if (first === null) return null;
  const closing = new AbortController();
  let held = first;
  let retaking: Promise<void> = Promise.resolve();

  const watch = (): void => {
    held.once("end", () => {
      if (!closing.signal.aborted) retaking = retake();
    });
  };
  const retake = async (): Promise<void> => {
    options.onLog("The connection to the database was lost");
    for (let retryMs = FIRST_RETRY_MS; !closing.signal.aborted; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      const next = await take(options).catch((error: unknown) => options.onLog(`The database is not back: ${String(error)}`));
      if (next === null) options.onLog("Another server works for this runner now");
      if (next) {
        held = next;
        if (!closing.signal.aborted) watch();
        return options.onLog("The database is back");
      }
      await wait(retryMs, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  };

  watch();
  return {
    async close() {
      closing.abort();
      await retaking;
      await held.end();
    },
  };
}

/** A connection that holds the lock, or null when another one keeps it. */
async function take({ connect, runnerId }: ServerLockOptions): Promise<pg.Client | null> {
  const client = new pg.Client({
    connectionString: await connect(),
    application_name: "runyard-lock",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    for (const giveUpAt = Date.now() + PATIENCE_MS; Date.now() < giveUpAt; await wait(POLL_MS)) {
      const { rows } = await client.query<{ got: boolean }>("select pg_try_advisory_lock(hashtextextended($1, 4600)) as got", [runnerId]);
      if (rows[0]?.got === true) return client;
    }
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
  await client.end();
  return null;
}
