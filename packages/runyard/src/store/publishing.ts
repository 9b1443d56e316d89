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

interface Both {
  readonly org_author: CommitAuthor | null;
  readonly author: CommitAuthor | null;
  readonly org_co_author: boolean;
  readonly co_author: boolean | null;
  readonly org_paths: readonly ProtectedPath[];
  readonly paths: readonly ProtectedPath[] | null;
}

async function settingsOf(db: Database, orgId: string, repositoryUrl: string): Promise<Both | undefined> {
  const rows = await db.queryInOrganization<Both>(
    orgId,
    `select o.commit_author as org_author, p.commit_author as author, o.co_author as org_co_author, p.co_author,
            o.protected_paths as org_paths, p.protected_paths as paths
       from runyard.organizations o left join runyard.repositories p on p.org_id = o.org_id and p.url = $1
      where o.org_id = runyard.current_org()`,
    [repositoryUrl],
  );
  return rows[0];
}

/** Who the commits of a repository's runs are by (null: Runyard), and whether they name who asked. */
export async function commitDefaults(
  db: Database,
  orgId: string,
  repositoryUrl: string,
): Promise<{ readonly author: CommitAuthor | null; readonly namesCoAuthor: boolean }> {
  const found = await settingsOf(db, orgId, repositoryUrl);
  return { author: found?.author ?? found?.org_author ?? null, namesCoAuthor: found?.co_author ?? found?.org_co_author ?? false };
}

/** What an organization and a repository of it say of files. */
export async function findProtectedPaths(db: Database, orgId: string, repositoryUrl: string): Promise<ProtectedPath[]> {
  const found = await settingsOf(db, orgId, repositoryUrl);
  return [...(found?.org_paths ?? []), ...(found?.paths ?? [])];
}
