import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { clientConfig, type ConnectionOptions } from "./connection.ts";
import { connectError } from "./errors.ts";

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

export interface Subscription {
  /** Ends the subscription and its connection; nothing is reported afterwards. */
  close(): Promise<void>;
}

/**
 * Listens on a channel over a connection of its own and connects again whenever that is lost.
 * `onNotify` gets each payload, and null after each reconnection: then anything may have been missed.
 * Rejects with a `DatabaseUnavailableError` when the first connection fails.
 */
export async function listen(
  options: ConnectionOptions,
  channel: string,
  onNotify: (payload: string | null) => void,
): Promise<Subscription> {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(channel)) throw new Error(`"${channel}" cannot name a channel`);
  const closing = new AbortController();
  let client = await connect().catch((error: unknown) => {
    throw connectError(error);
  });

  async function connect(): Promise<pg.Client> {
    const next = new pg.Client(clientConfig(options));
    next.on("error", () => undefined);
    next.on("notification", (message) => {
      if (!closing.signal.aborted) onNotify(message.payload ?? "");
    });
    try {
      await next.connect();
      await next.query(`listen ${channel}`);
    } catch (error) {
      await next.end().catch(() => undefined);
      throw error;
    }
    next.once("end", () => void reconnect());
    return next;
  }

  async function reconnect(): Promise<void> {
    for (let delayMs = FIRST_RETRY_MS; !closing.signal.aborted; delayMs = Math.min(delayMs * 2, LAST_RETRY_MS)) {
      await wait(delayMs, undefined, { signal: closing.signal }).catch(() => undefined);
      if (closing.signal.aborted) return;
      const next = await connect().catch(() => null);
      if (next === null) continue;
      client = next;
      if (closing.signal.aborted) await client.end();
      else onNotify(null);
      return;
    }
  }

  return {
    async close() {
      closing.abort();
      await client.end().catch(() => undefined);
    },
  };
}
