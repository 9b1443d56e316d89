import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

export type ApprovalAnswer = "approved" | "rejected";

/** What became of an approval; undefined: the turn asked for none. Without an answer: it is open, or the turn ended before. */
export async function findApproval(
  db: Database,
  run: Pick<RunRow, "id" | "org_id">,
  id: string,
): Promise<{ readonly answer: ApprovalAnswer | null; readonly userName: string | null } | undefined> {
  const rows = await db.queryInOrganization<{ answer: ApprovalAnswer | null; userName: string | null }>(
    run.org_id,
    `select q.answer, u.name as "userName"
       from runyard.requests q left join runyard.users u on u.id = q.answered_by
      where q.run_id = $1 and q.org_id = runyard.current_org() and q.id = $2 and q.kind = 'approval'`,
    [run.id, id],
  );
  return rows[0];
}

/** Decides about the approval that a run waits for; undefined: somebody was faster, or it waits for no such one. */
export async function decideApproval(
  db: Database,
  decision: {
    readonly run: Pick<RunRow, "id" | "org_id">;
    readonly id: string;
    readonly answer: ApprovalAnswer;
    readonly by: string;
    readonly events: readonly NewEvent[];
  },
): Promise<RunRow | undefined> {
  const { run, id, answer, by, events } = decision;
  const rows = await db.queryInOrganization<RunRow>(run.org_id, "select * from runyard.decide_approval($1, $2, $3, $4, $5, $6)", [
    run.id,
    id,
    answer,
    by,
    ...eventArrays(events),
  ]);
  return rows[0];
}
