import type { ChangeRepositoryRequest, PublishMode, PullRequestDefaults, Repository } from "@runyard/sdk/contract";
import type { PublishDefault } from "../core/publish-defaults.ts";
import type { Database } from "./database.ts";

/** Columns of organizations and repositories, as PostgreSQL gives them. */
export interface PublishDefaultColumns {
  readonly publish: PublishMode | null;
  readonly pull_request: PullRequestDefaults | null;
}

/** What the API shows of them. */
export function showPublishDefaults(row: PublishDefaultColumns): Pick<Repository, "publish" | "pullRequest"> {
  return { publish: row.publish, pullRequest: row.pull_request };
}

/** Four values of a statement: whether `publish` changes and to what, and the same of `pull_request`. */
export function publishDefaultsChanged({ publish, pullRequest }: Pick<ChangeRepositoryRequest, "publish" | "pullRequest">): unknown[] {
  return [publish !== undefined, publish ?? null, pullRequest !== undefined, pullRequest ? JSON.stringify(pullRequest) : null];
}

/** What holds for the results of a repository's runs that do not say it themselves, the nearer one first. */
export async function findPublishDefaults(db: Database, orgId: string, repositoryUrl: string): Promise<PublishDefault[]> {
  const rows = await db.queryInOrganization<PublishDefaultColumns & { readonly scope: PublishDefault["from"] }>(
    orgId,
    `select 'repository' as scope, publish, pull_request from runyard.repositories where org_id = runyard.current_org() and url = $1
     union all
     select 'organization', publish, pull_request from runyard.organizations where org_id = runyard.current_org()`,
    [repositoryUrl],
  );
  return rows.map(({ scope: from, publish, pull_request: pullRequest }) => ({ from, publish, pullRequest }));
}
