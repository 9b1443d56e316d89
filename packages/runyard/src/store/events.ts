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

/** How events are written to a stream: as server-sent events, or an envelope a line. */
export type LogForm = "sse" | "ndjson";

export interface LogPageRequest {
  readonly after: number;
  readonly limit: number;
  readonly bytes: number;
  readonly form: LogForm;
}

/** Events one behind the other in the form in which they are sent. */
export interface StoredPage {
  readonly text: string;
  readonly count: number;
  /** The seq of the last of them; null where there are none. */
  readonly last: number | null;
  /** Whether there was more to read than these. */
  readonly more: boolean;
  readonly status: RunStatus;
}

/** The same text as `envelope` gives. Of a second's digits the first three are always there. */
const ENVELOPE = `'{"seq":' || x.seq || ',"id":"' || x.run_id || ':' || x.seq || '","runId":"' || x.run_id || '","turn":' || x.turn
  || ',"attempt":' || x.attempt || ',"at":"' || left(t, 23) || rtrim(substr(t, 24), '0') || 'Z","type":"' || x.type || '","data":' || x.data::text || '}'`;

const FRAMES: Readonly<Record<LogForm, string>> = {
  sse: `'id: ' || x.seq || E'\\ndata: ' || ${ENVELOPE} || E'\\n\\n'`,
  ndjson: `${ENVELOPE} || E'\\n'`,
};

const readPageStatement = (form: LogForm): string => `
  select r.status, coalesce(p.text, '') as text, p.count, p.last, p.found >= $3 or p.count < p.found as more
  from runyard.runs r, lateral (
    select string_agg(frame, '' order by seq) filter (where fits) as text, count(*) filter (where fits)::int as count,
           max(seq) filter (where fits) as last, count(*) as found
    from (
      select seq, frame, sum(octet_length(frame)) over w <= $4 or row_number() over w = 1 as fits
      from (
        select x.seq, ${FRAMES[form]} as frame
        from runyard.events x, lateral (select to_char(x.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') as t) a
        where x.run_id = r.id and x.seq > $2 order by x.seq limit $3
      ) framed
      window w as (order by seq)
    ) measured
  ) p
  where r.id = $1`;
const READ_PAGE: Readonly<Record<LogForm, string>> = { sse: readPageStatement("sse"), ndjson: readPageStatement("ndjson") };

/**
 * Events behind `after` as one text, in order: at most `limit`, and no more than `bytes`, but for a single longer one.
 * With the run's status at that moment; undefined for a run that this organization does not have.
 */
export async function readEventPage(
  db: Database,
  options: LogPageRequest & { orgId: string; runId: string },
): Promise<StoredPage | undefined> {
  const { orgId, runId, after, limit, bytes, form } = options;
  const rows = await db.queryInOrganization<StoredPage>(orgId, READ_PAGE[form], [runId, after, limit, bytes]);
  return rows[0];
}

/** What a run's log says of its model calls, in order. */
export async function readUsageEvents(db: Database, orgId: string, runId: string): Promise<UsageEvent[]> {
  return db.queryInOrganization(
    orgId,
    "select turn, attempt, at, data from runyard.events where run_id = $1 and org_id = runyard.current_org() and type = 'usage.updated' order by seq",
    [runId],
  );
}
