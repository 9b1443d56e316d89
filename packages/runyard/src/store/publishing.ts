import type { ChangeOrganizationRequest, ChangeRepositoryRequest, CommitAuthor, Organization, ProtectedPath } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";

/** Columns of organizations and repositories, as PostgreSQL gives them. */
export interface PublishingColumns {
  readonly commit_author: CommitAuthor | null;
  readonly protected_paths: readonly ProtectedPath[];
}

/** What the API shows of them. */
export function showPublishing(row: PublishingColumns): Pick<Organization, "commitAuthor" | "protectedPaths"> {
  return { commitAuthor: row.commit_author, protectedPaths: [...row.protected_paths] };
}

/** Five values of a statement: whether the author changes and to what, the same of the co-author, and the protected paths (null: they stay). */
export function publishingChanged(
  change: Pick<ChangeRepositoryRequest | ChangeOrganizationRequest, "commitAuthor" | "coAuthor" | "protectedPaths">,
): unknown[] {
  const { commitAuthor, coAuthor, protectedPaths } = change;
  return [
    commitAuthor !== undefined,
    commitAuthor ? JSON.stringify(commitAuthor) : null,
    coAuthor !== undefined,
    coAuthor ?? null,
    protectedPaths === undefined ? null : JSON.stringify(protectedPaths ?? []),
  ];
}

/** What an organization and a repository of it say of files. */
export async function findProtectedPaths(db: Database, orgId: string, repositoryUrl: string): Promise<ProtectedPath[]> {
  const rows = await db.queryInOrganization<Record<"org_paths" | "paths", readonly ProtectedPath[] | null>>(
    orgId,
    `select o.protected_paths as org_paths, p.protected_paths as paths
       from runyard.organizations o left join runyard.repositories p on p.org_id = o.org_id and p.url = $1
      where o.org_id = runyard.current_org()`,
    [repositoryUrl],
  );
  return rows.flatMap(({ org_paths: organization, paths }) => [...(organization ?? []), ...(paths ?? [])]);
}
