import { existsSync, readdirSync, renameSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Kept, type Retention, whatToRemove } from "../core/retention.ts";
import { SNAPSHOTS, type Wakes } from "../engine/wakes.ts";
import type { Home } from "../home.ts";
import { diskUsage } from "../sandbox/disk-usage.ts";
import { isShimAlive } from "../sandbox/run-directory.ts";
import type { Database } from "../store/database.ts";
import { type EndedRun, endedRuns, whileEnded } from "../store/ended-runs.ts";
import { stepsOf } from "./directories.ts";
import { removeUnused, sweepBases } from "./base-checkout.ts";
import { lowersInUse } from "./layers.ts";
import { leaveOverlay } from "./overlay-workspace.ts";
import { ASIDE, removeSlowly } from "./snapshot-disk.ts";
import { expireSnapshot, type SnapshotRetention, sweepSnapshots } from "./snapshot-retention.ts";

/** How often what ended runs left is looked through. */
const EVERY_MS = 3_600_000;
/** Runs that are asked about at a time. */
const BATCH = 500;

export interface RetentionOptions extends SnapshotRetention {
  readonly home: Pick<Home, "runsDir" | "snapshotsDir" | "basesDir">;
  readonly retention: Retention;
  /** What the gateway has recorded here. */
  readonly recordings: { runs(): string[]; files(runId: string): string[]; remove(runId: string): Promise<void> };
}

/** Removes what ended runs left on this machine, and snapshots that nobody uses, once it is too old or too much, until `leaving`. Never rejects. */
export async function watchRetention(options: RetentionOptions & { readonly wakes: Wakes }, leaving: AbortSignal): Promise<void> {
  const unsubscribe = options.wakes.subscribe(SNAPSHOTS, () => {
    sweepSnapshots(options).catch((error: unknown) => options.log("error", "Snapshots could not be removed", { error: String(error) }));
  });
  while (!leaving.aborted) {
    await removeOld(options, leaving).catch((error: unknown) => {
      if (!leaving.aborted) options.log("error", "What ended runs left could not be looked through", { error: String(error) });
    });
    await sleep(EVERY_MS, undefined, { signal: leaving, ref: false }).catch(() => undefined);
  }
  unsubscribe();
}

/** Looks through it once. */
export async function removeOld(options: RetentionOptions, leaving: AbortSignal): Promise<void> {
  const { db, home, retention, recordings, now, log } = options;
  for (const name of namesIn(home.runsDir).filter((one) => one.startsWith(ASIDE))) await removeAside(path.join(home.runsDir, name), log);
  const places = [
    ...namesIn(home.runsDir).map((id) => ({ id, kind: "workspace" as const, paths: [path.join(home.runsDir, id)] })),
    ...recordings.runs().map((id) => ({ id, kind: "recording" as const, paths: recordings.files(id) })),
  ];
  const ended = await endedAmong(db, [...new Set(places.map(({ id }) => id))]);
  const kept: Kept[] = [];
  for (const { id, kind, paths } of places) {
    const run = ended.get(id);
    if (run === undefined) continue;
    if (kind === "workspace")
      for (const attempt of namesIn(path.join(home.runsDir, id))) await leaveOverlay(path.join(home.runsDir, id, attempt));
    const bytes = retention.diskBytes === null ? null : (await diskUsage({ paths, signal: leaving })).bytes;
    kept.push({ id, kind, endedMs: Date.parse(run.finished_at), bytes });
  }
  const used = lowersInUse(home);
  /** What workspaces lie upon goes behind them, however old it is. */
  const lastUse = (dir: string, id: string, ms: number): number =>
    used.some((lower) => lower.startsWith(`${path.basename(dir)}/${id}/`)) ? now() : ms;
  const snapshots = await sweepSnapshots(options);
  for (const { id, bytes, last_used_at: at } of snapshots)
    kept.push({ id, kind: "snapshot", endedMs: lastUse(home.snapshotsDir, id, Date.parse(at)), bytes });
  for (const { id, usedMs, bytes } of await sweepBases(home, { signal: leaving, measures: retention.diskBytes !== null }))
    kept.push({ id, kind: "base", endedMs: lastUse(home.basesDir, id, usedMs), bytes });
  for (const { id, kind } of whatToRemove(kept, retention, now())) {
    if (kind === "base") await removeUnused(home, id);
    const snapshot = kind === "snapshot" ? snapshots.find((one) => one.id === id) : undefined;
    if (snapshot !== undefined) await expireSnapshot(options, snapshot);
    const run = ended.get(id);
    if (run === undefined) continue;
    if (kind === "recording") await recordings.remove(id);
    else if (!(await removeWorkspaces({ db, log }, run, path.join(home.runsDir, id)))) continue;
    log("info", "What an ended run left was removed", { run: id, what: kind });
  }
}

async function endedAmong(db: Database, ids: readonly string[]): Promise<Map<string, EndedRun>> {
  const found: EndedRun[] = [];
  for (let at = 0; at < ids.length; at += BATCH) found.push(...(await endedRuns(db, ids.slice(at, at + BATCH))));
  return new Map(found.map((run) => [run.id, run]));
}

/** Removes the workspaces, homes and journals of a run; false where it is continued, or something of it is alive. */
async function removeWorkspaces({ db, log }: Pick<RetentionOptions, "db" | "log">, run: EndedRun, dir: string): Promise<boolean> {
  const aside = path.join(path.dirname(dir), `${ASIDE}${run.id}`);
  const isAlive = (): boolean => namesIn(dir).some((attempt) => stepsOf(path.join(dir, attempt)).some(isShimAlive));
  // Whoever continues the run waits for this, and finds the workspace whole or not at all.
  const held = await whileEnded(db, run, () => {
    if (existsSync(dir) && !isAlive()) renameSync(dir, aside);
  });
  if (!held || !existsSync(aside)) return false;
  return removeAside(aside, log);
}

/** False where it cannot be removed now: that is tried again, and keeps nothing else from going. */
async function removeAside(dir: string, log: RetentionOptions["log"]): Promise<boolean> {
  try {
    await removeSlowly(dir);
    return true;
  } catch (error) {
    log("warn", "What an ended run left could not be removed; it is tried again", { place: dir, error: String(error).slice(0, 300) });
    return false;
  }
}

function namesIn(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}
