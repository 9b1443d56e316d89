import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { Carry, RequestRow, RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

export interface Release {
  /** The run as its runner last saw it: owner and attempt must still be these. */
  readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
  readonly events: readonly NewEvent[];
  readonly carry: Carry;
  readonly state: unknown;
}

/** Takes a run out of its runner's hands, with its requests still open; undefined: somebody else owns it now, it has ended, or is to be cancelled. */
export async function releaseRun(db: Database, { run, events, carry, state }: Release): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(run.org_id, "select * from runyard.release_run($1, $2, $3, $4, $5, $6, $7)", [
    run.id,
    run.owner,
    run.attempt,
    ...eventArrays(events),
    JSON.stringify(carry),
    JSON.stringify(state),
  ]);
  return rows[0];
}

/** What people answered to an attempt of a run, in the order in which it asked. */
export async function readAnswers(
  db: Database,
  options: { run: Pick<RunRow, "id" | "org_id">; attempt: number },
): Promise<Pick<RequestRow, "kind" | "request" | "answer">[]> {
  const { run, attempt } = options;
  return db.queryInOrganization(
    run.org_id,
    "select kind, request, answer from runyard.requests where run_id = $1 and attempt = $2 and answer is not null order by off",
    [run.id, attempt],
  );
}
