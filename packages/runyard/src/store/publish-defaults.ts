import type { ChangeRepositoryRequest, PublishMode, PullRequestDefaults, Repository } from "@runyard/sdk/contract";

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
