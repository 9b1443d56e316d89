import type { PullRequest } from "@runyard/sdk/contract";
import type { Database, Tx } from "./database.ts";
import { STOP_SHOWN } from "./pull-request-stops-shown.ts";

/** The pull requests of a run as json, the oldest first, and which is stopped, of a row `r` of runs. */
export const PULL_REQUESTS_SHOWN = `(select json_agg(p.document order by p.num) from runyard.pull_requests p where p.run_id = r.id) as pull_requests, ${STOP_SHOWN}`;

/** Stores a run's pull request, or how it is now. */
export async function notePullRequest(
  tx: Pick<Tx, "query">,
  run: { readonly id: string; readonly orgId: string },
  pullRequest: PullRequest,
): Promise<void> {
  await tx.query(
    `insert into runyard.pull_requests (run_id, org_id, url, document) values ($1, $2, $3, $4)
     on conflict (run_id, url) do update set document = excluded.document, seen_at = now()`,
    [run.id, run.orgId, pullRequest.url, JSON.stringify(pullRequest)],
  );
}

/** Those of a run, the oldest first. */
export async function pullRequestsOf(db: Database, orgId: string, runId: string): Promise<PullRequest[]> {
  const rows = await db.queryInOrganization<{ document: PullRequest }>(
    orgId,
    "select document from runyard.pull_requests where run_id = $1 and org_id = runyard.current_org() order by num",
    [runId],
  );
  return rows.map(({ document }) => document);
}
