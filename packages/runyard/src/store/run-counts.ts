import type { Database } from "./database.ts";

export interface RunCounts {
  readonly running: number;
  readonly waiting: number;
  readonly awaitingPlan: number;
  readonly awaitingChecks: number;
  readonly queued: number;
  /** Most that are taken up at a time, those that wait for an answer included. */
  readonly limit: number;
}

/** How many runs of an organization go on, wait for an answer, for a decision about their plans or for checks, and are queued. */
export async function countRuns(db: Database, orgId: string): Promise<RunCounts> {
  const rows = await db.queryInOrganization<RunCounts>(
    orgId,
    `select count(*) filter (where r.status = 'running' and r.owner is not null)::int as running,
            count(*) filter (where r.status = 'running' and r.owner is null)::int as "awaitingChecks",
            count(*) filter (where r.status = 'awaiting_input')::int as waiting,
            count(*) filter (where r.status = 'awaiting_plan')::int as "awaitingPlan",
            s.queued, s.max_active as "limit"
     from runyard.org_slots s
     left join runyard.runs r on r.org_id = s.org_id and r.status in ('running', 'awaiting_input', 'awaiting_plan')
     where s.org_id = $1 group by s.queued, s.max_active`,
    [orgId],
  );
  if (rows[0] === undefined) throw new Error(`The organization ${orgId} has no limit of runs`);
  return rows[0];
}

/** Sets how many runs of an organization are at work at a time. What is at work above it goes on. */
export async function limitRuns(db: Database, orgId: string, limit: number): Promise<void> {
  await db.queryInOrganization(orgId, "update runyard.org_slots set max_active = $2 where org_id = $1", [orgId, limit]);
}
