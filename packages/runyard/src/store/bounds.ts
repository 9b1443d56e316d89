import type { IsolationFloor } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";

/** What an organization and a repository of it say of what runs are held in by. */
export interface Bounds {
  /** null: the organization says nothing. */
  readonly isolationFloor: IsolationFloor | null;
  /** The only hosts that runs may be given; null: any. */
  readonly egressAllowed: readonly string[] | null;
  readonly organizationEgress: readonly string[];
  readonly repositoryEgress: readonly string[];
}

export async function readBounds(db: Database, orgId: string, repositoryUrl: string): Promise<Bounds> {
  const rows = await db.queryInOrganization<Bounds>(
    orgId,
    `select o.isolation_floor as "isolationFloor", o.egress_allowed as "egressAllowed", o.egress as "organizationEgress",
            coalesce(p.egress, '{}') as "repositoryEgress"
       from runyard.organizations o left join runyard.repositories p on p.org_id = o.org_id and p.url = $1
      where o.org_id = runyard.current_org()`,
    [repositoryUrl],
  );
  if (rows[0] === undefined) throw new Error(`There is no organization ${orgId}`);
  return rows[0];
}
