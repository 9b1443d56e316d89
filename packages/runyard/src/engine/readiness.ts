import type { ReadinessCheck } from "@runyard/sdk/contract";
import { clockCheck, diskCheck } from "../core/readiness.ts";
import type { Database } from "../store/database.ts";

/** How to look at what a server stands on; main wires it. */
export interface ReadinessSources {
  /** On the fullest of the disks that the home lies on. */
  readonly freeBytes: () => number;
  /** Rejects where the gateway does not answer. */
  readonly askGateway: () => Promise<unknown>;
  readonly isDraining: () => boolean;
}

interface ReadinessOptions {
  readonly db: Database;
  readonly now: () => number;
  readonly readiness: ReadinessSources;
}

/** What does not answer within this time does not answer. */
const PATIENCE_MS = 2_000;

/** Looks at everything that taking work needs. Never rejects; whoever asks may be anybody, so addresses are not told. */
export async function lookAtReadiness({ db, now, readiness }: ReadinessOptions): Promise<readonly ReadinessCheck[]> {
  const [database, gateway] = await Promise.all([lookAtDatabase(db, now), lookAtGateway(readiness)]);
  return [...database, lookAtDisk(readiness), gateway, lookAtServer(readiness)];
}

async function lookAtDatabase(db: Database, now: () => number): Promise<ReadinessCheck[]> {
  try {
    const asked = "select (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms";
    const [row] = await inTime(db.query<{ now_ms: number }>(asked, []));
    return [{ name: "database", state: "ok", reason: null }, ...(row === undefined ? [] : [clockCheck(row.now_ms, now())])];
  } catch {
    return [{ name: "database", state: "failed", reason: "The database does not answer." }];
  }
}

async function lookAtGateway({ askGateway }: ReadinessSources): Promise<ReadinessCheck> {
  try {
    await inTime(askGateway());
    return { name: "gateway", state: "ok", reason: null };
  } catch {
    return { name: "gateway", state: "failed", reason: "The gateway does not answer." };
  }
}

function lookAtDisk({ freeBytes }: ReadinessSources): ReadinessCheck {
  try {
    return diskCheck(freeBytes());
  } catch {
    return { name: "disk", state: "failed", reason: "The disk of the home cannot be looked at." };
  }
}

function lookAtServer({ isDraining }: ReadinessSources): ReadinessCheck {
  if (!isDraining()) return { name: "server", state: "ok", reason: null };
  return { name: "server", state: "failed", reason: "The server is draining: runs in hand go on, new ones are queued for its successor." };
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
