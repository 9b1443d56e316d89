import type { Database } from "./database.ts";

/** How many runs of an organization go on, wait for a person, and are queued. */
export async function countRuns(db: Database, orgId: string): Promise<{ running: number; waiting: number; queued: number }> {
  const rows = await db.queryInOrganization<{ running: number; waiting: number; queued: number }>(
    orgId,
    `select count(*) filter (where r.status = 'running')::int as running,
            count(*) filter (where r.status <> 'running')::int as waiting,
            s.queued
     from runyard.org_slots s
     left join runyard.runs r on r.org_id = s.org_id and r.status in ('running', 'awaiting_input', 'awaiting_plan')
     where s.org_id = $1 group by s.queued`,
    [orgId],
  );
  return rows[0] ?? { running: 0, waiting: 0, queued: 0 };
}
