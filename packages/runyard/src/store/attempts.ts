import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { Carry, RunRow } from "./run-row.ts";

export interface NextAttempt {
  /** The run as its runner last saw it: owner and attempt must still be these. */
  readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
  /** The last events of the attempt that ends. */
  readonly events: readonly NewEvent[];
  readonly state: unknown;
  /** Until the next attempt begins, and its clock with it. */
  readonly delayMs: number;
  /** What it goes on from, where it does not begin afresh. */
  readonly carry: Carry | null;
}

/** Ends a run's attempt and begins the next one, all in one commit; undefined: somebody else owns the run now, or it has ended. */
export async function nextAttempt(db: Database, { run, events, state, delayMs, carry }: NextAttempt): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(run.org_id, "select * from runyard.next_attempt($1, $2, $3, $4, $5, $6, $7, $8)", [
    run.id,
    run.owner,
    run.attempt,
    events.map((event) => event.type),
    events.map((event) => JSON.stringify(event.data)),
    JSON.stringify(state),
    delayMs,
    carry === null ? null : JSON.stringify(carry),
  ]);
  return rows[0];
}
