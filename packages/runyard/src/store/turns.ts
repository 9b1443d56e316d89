import type { NewEvent, RunError } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { Carry, NewApproval, RunRow, RunSpec } from "./run-row.ts";
import { allowPullRequestsOf } from "./pull-request-stops.ts";
import { eventArrays } from "./runs.ts";

export interface NextTurn {
  /** The run as it was read once its turn had ended. */
  readonly run: Pick<RunRow, "id" | "org_id" | "turn">;
  readonly prompt: string;
  readonly spec: RunSpec;
  readonly carry: Carry;
  /** Whether it makes a plan first. */
  readonly plans: boolean;
  /** Why the turn fails before anybody takes it up; null: it is queued. */
  readonly error: RunError | null;
  /** What it waits for before it begins. */
  readonly approval?: NewApproval;
  /** Whether agents may go on with its pull requests again, where they were stopped. */
  readonly allowsPullRequest?: boolean;
  readonly events: readonly NewEvent[];
}

const CONTINUE_RUN = "select * from runyard.continue_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/** Begins the next turn of a run; undefined: its turn is not over, somebody else has continued it, or its pull request is stopped. */
export async function continueRun(db: Database, next: NextTurn): Promise<RunRow | undefined> {
  const { run, prompt, spec, carry, plans, error, approval, events } = next;
  const values = [
    run.id,
    run.turn,
    prompt,
    JSON.stringify(spec),
    JSON.stringify(carry),
    error === null ? null : JSON.stringify(error),
    plans,
    approval?.id ?? null,
    approval === undefined ? null : JSON.stringify(approval.request),
    ...eventArrays(events),
  ];
  if (next.allowsPullRequest !== true) return (await db.queryInOrganization<RunRow>(run.org_id, CONTINUE_RUN, values))[0];
  return db.inOrganization(run.org_id, async (tx) => {
    await allowPullRequestsOf(tx, run);
    return (await tx.query<RunRow>(CONTINUE_RUN, values))[0];
  });
}
