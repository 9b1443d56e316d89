import type { NewEvent } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";

/** Tells a run's log of something that changes nothing of the run, ended or not; false for a run that this organization does not have. */
export async function appendEvent(
  db: Database,
  { orgId, runId, event }: { readonly orgId: string; readonly runId: string; readonly event: NewEvent },
): Promise<boolean> {
  const rows = await db.queryInOrganization<{ id: string }>(
    orgId,
    `with r as (
       update runyard.runs set last_seq = last_seq + 1 where id = $1 and org_id = runyard.current_org() returning *
     ), e as (
       insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
       select r.id, r.last_seq, r.org_id, r.turn, r.attempt, $2, $3::json from r
     )
     select id from r`,
    [runId, event.type, JSON.stringify(event.data)],
  );
  return rows.length > 0;
}
