import type { RunStatus } from "@runyard/sdk/contract";
import type { UsageEvent } from "../core/usage-report.ts";
import type { Database } from "./database.ts";

/** An event as it goes to readers: its envelope as JSON text, put together once and never parsed here. */
export interface StoredEvent {
  readonly seq: number;
  readonly type: string;
  readonly json: string;
}

interface EventRow {
  readonly seq: number;
  readonly turn: number;
  readonly attempt: number;
  readonly at: string;
  readonly type: string;
  readonly data: string;
}

/**
 * Events behind `after`, in order, at most `limit`, with the run's status at that moment; undefined for
 * a run that this organization does not have.
 */
export async function readEvents(
  db: Database,
  options: { orgId: string; runId: string; after: number; limit: number },
): Promise<{ events: StoredEvent[]; status: RunStatus } | undefined> {
  const { orgId, runId, after, limit } = options;
  // One statement, one snapshot: a terminal status is never seen without its terminal event.
  const rows = await db.queryInOrganization<EventRow & { status: RunStatus }>(
    orgId,
    `select r.status, e.seq, e.turn, e.attempt, e.at, e.type, e.data::text as data
     from runyard.runs r left join lateral
       (select * from runyard.events x where x.run_id = r.id and x.seq > $2 order by x.seq limit $3) e on true
     where r.id = $1 order by e.seq`,
    [runId, after, limit],
  );
  const first = rows[0];
  if (first === undefined) return undefined;
  const events = rows.filter((row) => row.seq !== null).map((row) => ({ seq: row.seq, type: row.type, json: envelope(runId, row) }));
  return { events, status: first.status };
}

function envelope(runId: string, row: EventRow): string {
  return `{"seq":${row.seq},"id":"${runId}:${row.seq}","runId":"${runId}","turn":${row.turn},"attempt":${row.attempt},"at":"${row.at}","type":"${row.type}","data":${row.data}}`;
}

/** What a run's log says of its model calls, in order. */
export async function readUsageEvents(db: Database, orgId: string, runId: string): Promise<UsageEvent[]> {
  return db.queryInOrganization(
    orgId,
    "select turn, attempt, at, data from runyard.events where run_id = $1 and org_id = runyard.current_org() and type = 'usage.updated' order by seq",
    [runId],
  );
}
