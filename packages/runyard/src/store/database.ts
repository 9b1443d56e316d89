import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { clientConfig } from "./database/connection.ts";
import { connectError, isUnusableAfter, isWorthRepeating, statementError } from "./database/errors.ts";
import { listen, type Subscription } from "./database/listen.ts";

export { DatabaseUnavailableError } from "./database/errors.ts";
export type { Subscription } from "./database/listen.ts";

/**
 * Runs one statement and gives its rows. Values are bound, never pasted in; an array is bound as a
 * PostgreSQL array, so JSON goes in as text (`JSON.stringify`). How values come back: `valueTypes`.
 */
export type RunStatement = <Row extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** A transaction of one organization; it ends with the work that was given it. */
export interface Tx {
  readonly query: RunStatement;
}

/**
 * The database as the role `runyard_app` sees it. All calls reject with a `DatabaseUnavailableError`
 * where the database does not answer, and otherwise with what PostgreSQL said (`pg.DatabaseError`).
 * Deadlocks and serialization failures are tried again a few times first.
 */
export interface Database {
  /** One transaction with the organization set: its rows are all that it sees. `work` may run several times. */
  inOrganization<T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** One statement with the organization set, in one round trip. */
  queryInOrganization<Row extends object = Record<string, unknown>>(
    orgId: string,
    text: string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
  /** One statement with no organization set: no row of any table is seen, so only functions make sense. */
  readonly query: RunStatement;
  /** Reports notifications of a channel, and null when some may have been missed. */
  listen(channel: string, onNotify: (payload: string | null) => void): Promise<Subscription>;
  /** Waits for running work, then closes all connections. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly connectionString: string;
  /** Shown by the server's `pg_stat_activity`. */
  readonly applicationName: string;
  /** Most connections at once, those of `listen` aside; 10 unless told otherwise. */
  readonly maxConnections?: number;
}

const DEFAULT_MAX_CONNECTIONS = 10;
const MAX_TRIES = 6;
const MAX_PREPARED = 300;

/** Opens the database. Connects at first use. */
export function openDatabase(options: DatabaseOptions): Database {
  const pool = openPool(options);
  const subscriptions = new Set<Subscription>();
  let closed: Promise<void> | undefined;

  return {
    inOrganization: (orgId, work) => repeat(() => withClient(pool, (client) => transact(client, orgId, work))),
    queryInOrganization: (orgId, text, values) =>
      repeat(() => withClient(pool, (client) => fencedQuery(client, orgId, statement(text, values)))),
    query: (text, values) => repeat(() => withClient(pool, (client) => plainQuery(client, statement(text, values)))),
    async listen(channel, onNotify) {
      const subscription = await listen(options, channel, onNotify);
      subscriptions.add(subscription);
      return subscription;
    },
    close() {
      closed ??= Promise.all([pool.end(), ...[...subscriptions].map((one) => one.close())]).then(() => undefined);
      return closed;
    },
  };
}

function openPool(options: DatabaseOptions): pg.Pool {
  const pool = new pg.Pool({
    ...clientConfig(options),
    max: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
    // Statements go out as they are given, without waiting for the answers of earlier ones.
    pipeline: true,
  });
  // A connection that is lost is dropped by the pool, or by the work that it was lent to.
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", () => undefined);
  return pool;
}

/** Lends a connection to `work`; one that was lost or left in the middle of a transaction is not used again. */
async function withClient<T>(pool: pg.Pool, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
  if (pool.ending) throw new Error("The database was closed");
  const client = await pool.connect().catch((error: unknown) => {
    throw connectError(error);
  });
  let failure: unknown;
  try {
    return await work(client);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    client.release(isUnusableAfter(failure) || client.getTransactionStatus() !== "I");
  }
}

/** Begins, does the work and commits. Opening goes out together with the first statement of `work`. */
async function transact<T>(client: pg.ClientBase, orgId: string, work: (tx: Tx) => Promise<T>): Promise<T> {
  let open = true;
  const organization = setOrganization(orgId);
  const opening = Promise.all([client.query("begin"), client.query(organization)]);
  opening.catch(() => undefined);
  const query: RunStatement = async (text, values) => {
    if (!open) throw new Error("This transaction has ended: await its statements inside it");
    return (await client.query(statement(text, values))).rows;
  };
  let result: T;
  try {
    result = await work({ query });
    await opening;
  } catch (error) {
    open = false;
    await client.query("rollback").catch(() => undefined);
    throw statementError(error, false);
  }
  open = false;
  await commit(client);
  return result;
}

/** One batch, one round trip: the organization is set in the same transaction as the statement. */
async function fencedQuery<Row extends object>(client: pg.ClientBase, orgId: string, config: pg.QueryConfig): Promise<Row[]> {
  const organization = setOrganization(orgId);
  const answers = [client.query("begin"), client.query(organization), client.query<Row>(config), commit(client)] as const;
  const settled = await Promise.allSettled(answers);
  // The first failure is the cause of those behind it, but a connection lost anywhere may have committed.
  const failed = settled.find((answer) => answer.status === "rejected");
  if (failed !== undefined) throw statementError(failed.reason, true);
  return (await answers[2]).rows;
}

async function plainQuery<Row extends object>(client: pg.ClientBase, config: pg.QueryConfig): Promise<Row[]> {
  try {
    return (await client.query<Row>(config)).rows;
  } catch (error) {
    throw statementError(error, true);
  }
}

async function commit(client: pg.ClientBase): Promise<void> {
  const answer = await client.query("commit").catch((error: unknown) => {
    throw statementError(error, true);
  });
  // PostgreSQL answers a commit of a failed transaction with a friendly ROLLBACK.
  if (answer.command === "COMMIT") return;
  throw new Error("The transaction was rolled back because one of its statements had failed");
}

function setOrganization(orgId: string): pg.QueryConfig {
  if (orgId === "") throw new Error("An organization has a name: the empty one would see nothing");
  return { name: "set_organization", text: "select set_config('runyard.org', $1, true)", values: [orgId] };
}

const names = new Map<string, string>();

/** Gives a statement with values a name, under which each connection prepares it once: a third less time for small ones. */
function statement(text: string, values: readonly unknown[] = []): pg.QueryConfig {
  if (values.length === 0) return { text };
  let name = names.get(text);
  if (name === undefined && names.size < MAX_PREPARED) {
    name = `s${names.size + 1}`;
    names.set(text, name);
  }
  return { text, values: [...values], ...(name === undefined ? {} : { name }) };
}

async function repeat<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === MAX_TRIES || !isWorthRepeating(error)) throw error;
      await wait(Math.random() * 5 * 2 ** tries);
    }
  }
}
