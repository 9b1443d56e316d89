import pg from "pg";

/** How long a start waits for a killed server's connection to be noticed, in milliseconds. */
const PATIENCE_MS = 3_000;

/**
 * Makes sure that one server at a time works for a runner: an advisory lock on a connection of its own,
 * which PostgreSQL gives back when the process dies. Returns null when another server holds it.
 */
export async function lockServer(options: { connectionString: string; runnerId: string }): Promise<{ close(): Promise<void> } | null> {
  const client = new pg.Client({ connectionString: options.connectionString, application_name: "runyard-lock" });
  // The lock goes with the connection; fencing by owner still holds then.
  client.on("error", () => {});
  await client.connect();
  const giveUpAt = Date.now() + PATIENCE_MS;
  for (;;) {
    const { rows } = await client.query<{ got: boolean }>("select pg_try_advisory_lock(hashtextextended($1, 4600)) as got", [
      options.runnerId,
    ]);
    if (rows[0]?.got === true) return { close: () => client.end() };
    if (Date.now() > giveUpAt) {
      await client.end();
      return null;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
