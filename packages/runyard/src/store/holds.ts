import type { NewEvent, RunError, RunResult } from "@runyard/sdk/contract";
import type { Answerer } from "./answer-permission.ts";
import type { ApprovalAnswer } from "./approvals.ts";
import type { Database } from "./database.ts";
import type { Carry, NewHold, RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

export interface Hold {
  /** The run as its runner last saw it: owner and attempt must still be these. */
  readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
  readonly events: readonly NewEvent[];
  readonly hold: NewHold;
  /** What the run made, for people to look at before they decide. */
  readonly result: RunResult;
  readonly carry: Carry;
  readonly state: unknown;
}

const words = (count: number): string => Array.from({ length: count }, (_, i) => `$${i + 1}`).join(", ");

/** Takes a run out of its runner's hands whose result waits for a person; undefined: somebody else owns it now, it has ended, or is to be cancelled. */
export async function holdRun(db: Database, { run, events, hold, result, carry, state }: Hold): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(run.org_id, `select * from runyard.hold_run(${words(10)})`, [
    run.id,
    run.owner,
    run.attempt,
    ...eventArrays(events),
    hold.id,
    JSON.stringify(hold.request),
    JSON.stringify(carry),
    JSON.stringify(state),
    JSON.stringify(result),
  ]);
  return rows[0];
}

/** Decides about a result that waits; undefined: somebody was faster, or no such one waits. */
export async function decideHeld(
  db: Database,
  decision: {
    readonly run: Pick<RunRow, "id" | "org_id">;
    readonly id: string;
    readonly answer: ApprovalAnswer;
    readonly by: string;
    /** Why the run has failed, where it was rejected. */
    readonly error: RunError | null;
    readonly events: readonly NewEvent[];
  },
): Promise<RunRow | undefined> {
  const { run, id, answer, by, error, events } = decision;
  const rows = await db.queryInOrganization<RunRow>(run.org_id, `select * from runyard.decide_held(${words(7)})`, [
    run.id,
    id,
    answer,
    by,
    error === null ? null : JSON.stringify(error),
    ...eventArrays(events),
  ]);
  return rows[0];
}

/** What the approval of a commit is called: it is given for that commit alone, in that turn. */
export function holdId(run: Pick<RunRow, "turn">, commit: string): string {
  return `${holdPrefix(run)}${commit.slice(0, 16)}`;
}

function holdPrefix({ turn }: Pick<RunRow, "turn">): string {
  return `publish_${turn}_`;
}

/** The newest approval before publishing that a run's turn has asked for, decided or not; undefined: it asked for none. */
export async function lastHold(
  db: Database,
  run: Pick<RunRow, "id" | "org_id" | "turn">,
): Promise<{ readonly id: string; readonly request: NewHold["request"] } | undefined> {
  const rows = await db.queryInOrganization<{ id: string; request: NewHold["request"] }>(
    run.org_id,
    `select q.id, q.request from runyard.requests q
      where q.run_id = $1 and q.org_id = runyard.current_org() and q.kind = 'approval' and starts_with(q.id, $2)
      order by q.attempt desc limit 1`,
    [run.id, holdPrefix(run)],
  );
  return rows[0];
}

/** Who approved that a commit is published; null: nobody (yet). */
export async function approverOf(db: Database, run: Pick<RunRow, "id" | "org_id">, id: string): Promise<Answerer | null> {
  const rows = await db.queryInOrganization<{ userId: string; userName: string | null }>(
    run.org_id,
    `select q.answered_by as "userId", u.name as "userName"
       from runyard.requests q left join runyard.users u on u.id = q.answered_by
      where q.run_id = $1 and q.org_id = runyard.current_org() and q.id = $2 and q.kind = 'approval' and q.answer = 'approved'`,
    [run.id, id],
  );
  const [found] = rows;
  return found === undefined ? null : { userId: found.userId, ...(found.userName !== null && { userName: found.userName }) };
}
