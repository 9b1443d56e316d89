import type { NewEvent, RunError, RunResult } from "@runyard/sdk/contract";
import { CHECKS_EFFECT, type ChecksEffect } from "../core/checks.ts";
import type { Database, Tx } from "./database.ts";
import type { Carry, RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

/** Takes a run out of its runner's hands until its checks have ended; undefined: somebody else owns it now, it has ended, or is to be cancelled. */
export async function awaitChecks(
  db: Database,
  wait: {
    readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
    readonly events: readonly NewEvent[];
    readonly effectId: string;
    readonly effect: ChecksEffect;
  },
): Promise<RunRow | undefined> {
  const { run, events, effectId, effect } = wait;
  const rows = await db.queryInOrganization<RunRow>(run.org_id, "select * from runyard.await_checks($1, $2, $3, $4, $5, $6, $7, $8)", [
    run.id,
    run.owner,
    run.attempt,
    ...eventArrays(events),
    effectId,
    CHECKS_EFFECT,
    JSON.stringify(effect),
  ]);
  return rows[0];
}

/** The run, where this attempt of it waits for checks. */
export async function findAwaiting(
  tx: Pick<Tx, "query">,
  run: { readonly id: string; readonly attempt: number },
): Promise<RunRow | undefined> {
  const rows = await tx.query<RunRow>(
    "select * from runyard.runs where id = $1 and org_id = runyard.current_org() and attempt = $2 and status = 'running' and owner is null",
    [run.id, run.attempt],
  );
  return rows[0];
}

/** How the wait for checks ends. */
export interface ChecksEnd {
  readonly status: "completed" | "failed" | "pending";
  readonly events: readonly NewEvent[];
  /** What the run goes on from, where it does. */
  readonly goesOn: { readonly carry: Carry; readonly state: unknown } | null;
  readonly result: RunResult | null;
  readonly error: RunError | null;
}

/** Ends the wait; undefined: the run does not wait any more. */
export async function endChecks(tx: Pick<Tx, "query">, run: Pick<RunRow, "id" | "attempt">, end: ChecksEnd): Promise<RunRow | undefined> {
  const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));
  const rows = await tx.query<RunRow>("select * from runyard.end_checks($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
    run.id,
    run.attempt,
    end.status,
    ...eventArrays(end.events),
    json(end.goesOn?.carry ?? null),
    json(end.goesOn?.state ?? null),
    json(end.result),
    json(end.error),
  ]);
  return rows[0];
}
