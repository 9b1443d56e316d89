import type { NewEvent, RunError } from "@runyard/sdk/contract";
import type { RunnerSeen } from "../core/leases.ts";
import type { Database } from "./database.ts";
import type { Resume, RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

/** A row of `runners`. */
export interface RunnerRow {
  readonly id: string;
  readonly owner: string;
  readonly beat: number;
  readonly lease_ms: number;
  /** What its engine wrote, for the engines of processes that run nothing themselves. */
  readonly offers: unknown;
  readonly seen_at: string;
  readonly lost_at: string | null;
}

/** Every runner of the database, also lost ones, by id. */
export async function allRunners(db: Database): Promise<RunnerRow[]> {
  return db.query<RunnerRow>("select * from runyard.all_runners()", []);
}

/** Takes a runner out of the table, as long as this process works for it: it has nothing in hand and is not coming back soon. */
export async function retireRunner(db: Database, runner: { readonly runnerId: string; readonly owner: string }): Promise<void> {
  await db.query("select runyard.retire_runner($1, $2)", [runner.runnerId, runner.owner]);
}

/** Declares a runner lost; false: it has renewed since it was looked at, or somebody else was faster. */
export async function markRunnerLost(db: Database, { id, owner, beat }: RunnerSeen): Promise<boolean> {
  const rows = await db.query<{ marked: boolean }>("select runyard.mark_runner_lost($1, $2, $3) as marked", [id, owner, beat]);
  return rows[0]?.marked === true;
}

/** A run that a lost runner had in hand; `active_now_ms` by the database's clock. */
export type LostRunRow = RunRow & { readonly active_now_ms: number };

/** Such runs of every organization, the oldest first. */
export async function lostRuns(db: Database, limit: number): Promise<LostRunRow[]> {
  return db.query<LostRunRow>("select (l.run).*, l.active_now_ms from runyard.lost_runs($1) l", [limit]);
}

export interface LostAttempt {
  /** The run as it was read: owner and attempt must still be these, and its runner lost. */
  readonly run: Pick<RunRow, "id" | "org_id" | "runner_id" | "owner" | "attempt">;
  readonly status: "pending" | "failed" | "cancelled" | "timeout";
  readonly events: readonly NewEvent[];
  /** What the next attempt goes on from; null: there is none. */
  readonly resume: Resume | null;
  readonly error: RunError | null;
}

/** Queues a lost runner's run again, or ends it; undefined: it is somebody's again, or was cancelled meanwhile. */
export async function endLostAttempt(db: Database, { run, status, events, resume, error }: LostAttempt): Promise<RunRow | undefined> {
  const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));
  const place = [run.org_id, run.id, run.runner_id, run.owner, run.attempt];
  const what = [status, ...eventArrays(events), json(resume), json(error)];
  const rows = await db.query<RunRow>("select * from runyard.end_lost_attempt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", [
    ...place,
    ...what,
  ]);
  return rows[0];
}

/** The runs that each runner has in hand, of one organization. */
export async function countRunsByRunner(db: Database, orgId: string): Promise<Map<string, number>> {
  const rows = await db.queryInOrganization<{ runner_id: string; runs: number }>(
    orgId,
    `select runner_id, count(*)::int as runs from runyard.runs
     where status in ('running', 'awaiting_input', 'awaiting_plan') and owner is not null group by runner_id`,
    [],
  );
  return new Map(rows.map((row) => [row.runner_id, row.runs]));
}
