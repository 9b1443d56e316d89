import type { Database } from "./database.ts";
import type { Answerer } from "./answer-permission.ts";
import type { RequestRow, RunRow } from "./run-row.ts";

/** A request of an agent, and who answered it; null: nobody, or nobody that is known. */
export interface AnsweredRow extends RequestRow {
  readonly person: Answerer | null;
}

/** Everything that agents asked in a run, in the order in which they asked. */
export async function askedIn(db: Database, run: Pick<RunRow, "id" | "org_id">): Promise<AnsweredRow[]> {
  return db.queryInOrganization<AnsweredRow>(
    run.org_id,
    `select q.id, q.attempt, q.kind, q.request, q.answer, q.closed_at,
            case when u.id is null then null else json_build_object('userId', u.id, 'userName', u.name) end as person
     from runyard.requests q left join runyard.users u on u.id = q.answered_by
     where q.run_id = $1 and q.org_id = runyard.current_org() and q.kind <> 'approval' order by q.attempt, q.off`,
    [run.id],
  );
}
