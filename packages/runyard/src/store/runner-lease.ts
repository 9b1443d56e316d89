import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { clientConfig } from "./database/connection.ts";

export interface RunnerLeaseOptions {
  readonly connectionString: string;
  readonly runnerId: string;
  /** This process: whoever holds the lease of a runner takes it from its processes before. */
  readonly owner: string;
  readonly leaseMs: number;
  /** What runs can have here; kept as JSON. */
  readonly offers: () => Promise<unknown>;
  readonly onLog: (level: "info" | "warn", message: string) => void;
}

/** A runner's word that it lives, kept up on a connection of its own. */
export interface RunnerLease {
  /** Whether the last word that was taken is younger than the lease, by this process's monotonic clock. */
  isHeld(): boolean;
  /** Resolves as soon as it is held, or `signal` was aborted. */
  whenHeld(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Renewals in one lease: two may fail. */
const RENEWALS = 3;
const FIRST_RETRY_MS = 50;

/** Takes the lease of a runner, and renews it until it is closed. Rejects where the first time fails. */
export async function holdRunnerLease(options: RunnerLeaseOptions): Promise<RunnerLease> {
  const { leaseMs, onLog } = options;
  const everyMs = leaseMs / RENEWALS;
  const closing = new AbortController();
  let client: pg.Client | null = null;
  let heldSinceMs = Number.NEGATIVE_INFINITY;
  let wasHeld = true;
  let waiting: (() => void)[] = [];

  const isHeld = (): boolean => performance.now() - heldSinceMs < leaseMs;

  const renew = async (take: boolean): Promise<void> => {
    // Counted from before the question: the answer may have been long on its way.
    const askedMs = performance.now();
    const offers = JSON.stringify(await options.offers());
    client ??= await connectTo(options);
    const values = [options.runnerId, options.owner, leaseMs, offers, take];
    const { rows } = await client.query<{ held: boolean }>("select runyard.renew_runner($1, $2, $3, $4, $5) as held", values);
    if (rows[0]?.held !== true) throw new Error("another process works for this runner now");
    heldSinceMs = askedMs;
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };

  /** One renewal; how long to wait for the next, in milliseconds. */
  const tryRenew = async (): Promise<number> => {
    let problem = "";
    const wasLate = !isHeld();
    try {
      await renew(false);
    } catch (error) {
      problem = String(error);
      void client?.end().catch(() => undefined);
      client = null;
    }
    if (wasLate && problem === "") onLog("info", "The lease of this runner is held again");
    if (wasHeld && !isHeld()) onLog("warn", `The lease of this runner could not be renewed in time, so it takes up nothing: ${problem}`);
    wasHeld = isHeld();
    return problem === "" ? everyMs : Math.min(FIRST_RETRY_MS, everyMs);
  };

  await renew(true);
  const renewing = (async () => {
    for (let pauseMs = everyMs; ; pauseMs = await tryRenew()) {
      await sleep(pauseMs, undefined, { signal: closing.signal }).catch(() => undefined);
      if (closing.signal.aborted) return;
    }
  })();

  return {
    isHeld,
    whenHeld: (signal) =>
      new Promise((resolve) => {
        if (isHeld() || signal.aborted) return resolve();
        waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      }),
    async close() {
      closing.abort();
      await renewing;
      await client?.end().catch(() => undefined);
    },
  };
}

async function connectTo({ connectionString, leaseMs }: RunnerLeaseOptions): Promise<pg.Client> {
  const config = clientConfig({ connectionString, applicationName: "runyard-lease" });
  // An answer that comes later than the lease is worth nothing.
  const client = new pg.Client({ ...config, connectionTimeoutMillis: leaseMs, query_timeout: leaseMs });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}
