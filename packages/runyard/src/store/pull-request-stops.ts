import type { NewEvent, PullRequestStop } from "@runyard/sdk/contract";
import type { Database, Tx } from "./database.ts";
import { showStop, STOP_SHOWN, type StopRow, STOPPED_BY } from "./pull-request-stops-shown.ts";
import { eventArrays } from "./runs.ts";

/** Stops a pull request, by its key, and cancels its runs that have not ended; gives the ids of these. */
export async function stopPullRequest(
  db: Database,
  stop: {
    readonly orgId: string;
    readonly key: string;
    readonly url: string;
    readonly userId: string;
    readonly reason: string;
    readonly events: readonly NewEvent[];
  },
): Promise<string[]> {
  const rows = await db.queryInOrganization<{ run_id: string }>(
    stop.orgId,
    "select run_id from runyard.stop_pull_request($1, $2, $3, $4, $5, $6)",
    [stop.key, stop.url, stop.userId, stop.reason, ...eventArrays(stop.events)],
  );
  return rows.map(({ run_id: runId }) => runId);
}

export async function allowPullRequest(db: Database, orgId: string, key: string): Promise<void> {
  await db.queryInOrganization(orgId, "delete from runyard.pull_request_stops where org_id = runyard.current_org() and key = $1", [key]);
}

/** Takes the stops of all pull requests of a run back whose turn has ended. */
export async function allowPullRequestsOf(tx: Pick<Tx, "query">, run: { readonly id: string; readonly turn: number }): Promise<void> {
  // In the order of whoever stops.
  await tx.query("select 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update", []);
  await tx.query(
    `delete from runyard.pull_request_stops s using runyard.runs r
      where s.org_id = runyard.current_org() and r.org_id = s.org_id and r.id = $1 and r.turn = $2 and runyard.is_terminal(r.status)
        and s.key in (select runyard.pull_requests_of(r))`,
    [run.id, run.turn],
  );
}

/** How the page of a pull request is called that a run of the organization has; undefined: none has it. */
export async function urlOfKnown(db: Database, orgId: string, key: string): Promise<string | undefined> {
  const rows = await db.queryInOrganization<{ url: string }>(
    orgId,
    "select url from runyard.pull_requests where org_id = runyard.current_org() and lower(url) = $1 order by num limit 1",
    [key],
  );
  return rows[0]?.url;
}

/** URLs of all repositories of an organization. */
export async function repositoryUrls(db: Database, orgId: string): Promise<string[]> {
  const rows = await db.queryInOrganization<{ url: string }>(
    orgId,
    "select url from runyard.repositories where org_id = runyard.current_org()",
    [],
  );
  return rows.map(({ url }) => url);
}

const STOP_OF = `select json_build_object('url', s.url, ${STOPPED_BY}) as stop from runyard.pull_request_stops s where s.org_id = runyard.current_org() and s.key = $1`;

/** Whether and by whom a pull request is stopped. */
export async function findStop(db: Database, orgId: string, key: string): Promise<PullRequestStop | null> {
  const rows = await db.queryInOrganization<{ stop: StopRow }>(orgId, STOP_OF, [key]);
  return showStop(rows[0]?.stop);
}

/** The same, and nobody stops it before the transaction ends. */
export async function holdStop(tx: Pick<Tx, "query">, key: string): Promise<PullRequestStop | null> {
  await tx.query("select 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update", []);
  return showStop((await tx.query<{ stop: StopRow }>(STOP_OF, [key]))[0]?.stop);
}

/** The same of a run: the newest one. */
export async function findStopOf(db: Database, orgId: string, runId: string): Promise<PullRequestStop | null> {
  const rows = await db.queryInOrganization<{ pull_request_stop: StopRow | null }>(
    orgId,
    `select ${STOP_SHOWN} from runyard.runs r where r.id = $1 and r.org_id = runyard.current_org()`,
    [runId],
  );
  return showStop(rows[0]?.pull_request_stop);
}
