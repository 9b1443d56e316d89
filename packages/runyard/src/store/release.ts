import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { Carry, RequestRow, RunRow } from "./run-row.ts";
import { eventArrays, requestArrays, type StepCommit } from "./runs.ts";

export interface Release {
  /** The run as its runner last saw it: owner and attempt must still be these. */
  readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
  readonly events: readonly NewEvent[];
  /** What the agent has left to be answered, beside what is open already. */
  readonly requests: NonNullable<StepCommit["requests"]>;
  readonly carry: Carry;
  readonly state: unknown;
}

const RELEASE_RUN = `select * from runyard.release_run(${Array.from({ length: 11 }, (_, i) => `$${i + 1}`).join(", ")})`;

/** Takes a run out of its runner's hands, with its requests open; undefined: somebody else owns it now, it has ended, or is to be cancelled. */
export async function releaseRun(db: Database, { run, events, requests, carry, state }: Release): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(run.org_id, RELEASE_RUN, [
    run.id,
    run.owner,
    run.attempt,
    ...eventArrays(events),
    ...requestArrays(requests),
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
    "select kind, request, answer from runyard.requests where run_id = $1 and org_id = runyard.current_org() and attempt = $2 and answer is not null and kind <> 'approval' order by off",
    [run.id, attempt],
  );
}
