import type { PastRun } from "../core/estimate.ts";
import type { Database } from "./database.ts";

/** How far back is looked, in runs of the organization, and how many of them count. */
const LOOKED_AT = 1_000;
const COUNTED = 50;

/** The newest runs of an agent with a model on a repository that were completed in their first turn and have a known cost. */
export async function pastRuns(
  db: Database,
  of: { readonly orgId: string; readonly repositoryUrl: string; readonly profile: string; readonly model: string | null },
): Promise<PastRun[]> {
  return db.queryInOrganization(
    of.orgId,
    `select (r.usage ->> 'costNanoUsd')::bigint as "costNanoUsd", r.active_ms as "activeMs"
       from (select * from runyard.runs x where x.org_id = runyard.current_org() order by x.num desc limit ${LOOKED_AT}) r
       where r.repository_url = $1 and r.spec -> 'agent' ->> 'profile' = $2 and r.spec ->> 'model' is not distinct from $3
         and r.status = 'completed' and r.turn = 1 and not r.simulated and r.replay is null
         and r.usage ->> 'costNanoUsd' is not null and (r.usage ->> 'unpricedCalls')::int = 0
       order by r.num desc limit ${COUNTED}`,
    [of.repositoryUrl, of.profile, of.model],
  );
}
