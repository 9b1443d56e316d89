import type { SecretUseLine } from "./exchange-journal.ts";

export type SecretUse = Pick<SecretUseLine, "secret" | "host">;

/**
 * Counts the requests that secrets were put into. The first is written down at once, those after it together: when a
 * connection ends, and every few seconds.
 */
export interface SecretUses {
  count(runId: string, use: SecretUse): void;
  /** A connection of the run has ended: writes down what was counted for it. */
  settle(runId: string): void;
}

const GATHERED_MS = 5_000;
/** A program that makes a thousand connections must not fill the log: behind so many lines only time writes. */
const MAX_SETTLED = 50;

export function createSecretUses(write: (runId: string, line: Omit<SecretUseLine, "type" | "at">) => void): SecretUses {
  interface Counter {
    readonly runId: string;
    readonly use: SecretUse;
    requests: number;
    settled: number;
    readonly timer: NodeJS.Timeout;
  }
  const counters = new Map<string, Counter>();
  const put = (counter: Counter): boolean => {
    const { runId, use, requests } = counter;
    if (requests > 0) write(runId, { ...use, requests });
    counter.requests = 0;
    return requests > 0;
  };
  return {
    count(runId, use) {
      const key = [runId, use.secret, use.host].join(" ");
      const known = counters.get(key);
      if (known !== undefined) return void (known.requests += 1);
      const timer = setInterval(() => {
        // It is forgotten when nothing was counted for a while.
        if (put(counter)) return;
        clearInterval(timer);
        counters.delete(key);
      }, GATHERED_MS);
      const counter: Counter = { runId, use, requests: 1, settled: 0, timer };
      counters.set(key, counter);
      put(counter);
    },
    settle(runId) {
      for (const counter of counters.values())
        if (counter.runId === runId && counter.settled < MAX_SETTLED && put(counter)) counter.settled += 1;
    },
  };
}
