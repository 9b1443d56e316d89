import pg from "pg";
import { clientConfig, type ConnectionOptions } from "./database/connection.ts";

export interface Notifier {
  /** Sends payloads (each below 8,000 bytes) in one statement; rejects where they did not go out for certain. */
  send(payloads: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/** Notifies on a channel, over a connection of its own that is made when it is first needed, and again after it was lost. */
export function openNotifier(options: ConnectionOptions, channel: string): Notifier {
  let client: Promise<pg.Client> | null = null;
  const forget = async (): Promise<void> => {
    const lost = client;
    client = null;
    await (await lost?.catch(() => undefined))?.end().catch(() => undefined);
  };
  return {
    async send(payloads) {
      client ??= connect(options);
      try {
        await (
          await client
        ).query({ name: "notify", text: "select pg_notify($1, p) from unnest($2::text[]) p", values: [channel, payloads] });
      } catch (error) {
        await forget();
        throw error;
      }
    },
    close: forget,
  };
}

async function connect(options: ConnectionOptions): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(options));
  client.on("error", () => undefined);
  await client.connect();
  // Nobody loses anything with a wake-up that a power cut took: it need not wait for a disk.
  await client.query("set synchronous_commit = off");
  return client;
}
