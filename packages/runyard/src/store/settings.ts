import type {
  ChangeOrganizationRequest,
  ChangeRepositoryRequest,
  ChecksSettings,
  Environment,
  IsolationFloor,
  Organization,
  Repository,
  Setup,
} from "@runyard/sdk/contract";
import { nanoUsdOf, usd, usdOrNull } from "../core/usage.ts";
import type { Database } from "./database.ts";
import { type PublishDefaultColumns, publishDefaultsChanged, showPublishDefaults } from "./publish-defaults.ts";
import { type PublishingColumns, publishingChanged, showPublishing } from "./publishing.ts";
import type { StoredSigningKey } from "./signing-key.ts";
import { setupShown } from "./setup-shown.ts";

/** A row of `repositories`, as PostgreSQL gives it. */
export interface RepositoryRow extends PublishingColumns, PublishDefaultColumns {
  readonly id: string;
  readonly num: number;
  readonly url: string;
  readonly plan_first: boolean | null;
  readonly planning_statement: string | null;
  readonly auto_confirm_plans: boolean;
  readonly approval_above_usd: number | null;
  readonly egress: readonly string[];
  readonly co_author: boolean | null;
  readonly environment: Environment;
  readonly secret_names: readonly string[];
  readonly setup: Setup | null;
  readonly checks: ChecksSettings | null;
  readonly branch: string | null;
  readonly verify: Repository["verify"];
  readonly agent: string | null;
  readonly created_at: string;
}

interface OrganizationRow extends PublishingColumns, PublishDefaultColumns {
  readonly org_id: string;
  readonly name: string;
  readonly plan_first: boolean;
  readonly daily_cap_nano: number | null;
  readonly spent_today_nano: number;
  readonly approval_above_usd: number | null;
  readonly isolation_floor: IsolationFloor | null;
  readonly egress: readonly string[];
  readonly egress_allowed: readonly string[] | null;
  readonly co_author: boolean;
  readonly signing_public: string | null;
  readonly signing_key_id: string | null;
  readonly environment: Environment;
  readonly secret_names: readonly string[];
  readonly created_at: string;
}

/** Repositories of an organization, the newest first. */
export async function listRepositories(
  db: Database,
  page: { readonly orgId: string; readonly before: number | null; readonly limit: number },
): Promise<RepositoryRow[]> {
  return db.queryInOrganization(
    page.orgId,
    "select * from runyard.repositories p where p.org_id = runyard.current_org() and ($1::bigint is null or p.num < $1) order by p.num desc limit $2",
    [page.before, page.limit],
  );
}

/** The repository, or undefined; that of another organization is not there. */
export async function findRepositoryById(db: Database, orgId: string, id: string): Promise<RepositoryRow | undefined> {
  const rows = await db.queryInOrganization<RepositoryRow>(orgId, "select * from runyard.repositories where id = $1", [id]);
  return rows[0];
}

/** Makes a repository known under this id; one with the same root that is known already is left as it is, and given. */
export async function registerRepository(
  db: Database,
  repository: { readonly orgId: string; readonly id: string; readonly url: string },
): Promise<RepositoryRow> {
  const rows = await db.queryInOrganization<RepositoryRow>(
    repository.orgId,
    `insert into runyard.repositories (id, org_id, url) values ($1, $2, $3)
     on conflict (org_id, url) do update set url = excluded.url returning *`,
    [repository.id, repository.orgId, repository.url],
  );
  if (rows[0] === undefined) throw new Error(`The repository ${repository.url} was not stored`);
  return rows[0];
}

/** Changes what is given, and leaves the rest; undefined: there is no such repository. */
export async function changeRepository(
  db: Database,
  orgId: string,
  id: string,
  change: ChangeRepositoryRequest,
): Promise<RepositoryRow | undefined> {
  const rows = await db.queryInOrganization<RepositoryRow>(
    orgId,
    `update runyard.repositories set
       plan_first = case when $2 then $3 else plan_first end,
       planning_statement = case when $4 then $5 else planning_statement end,
       auto_confirm_plans = coalesce($6, auto_confirm_plans),
       approval_above_usd = case when $7 then $8 else approval_above_usd end,
       environment = coalesce($9, environment),
       secret_names = coalesce($10, secret_names),
       egress = coalesce($11, egress),
       setup = case when $12 then $13::json else setup end,
       checks = case when $14 then $15::json else checks end,
       commit_author = case when $16 then $17::json else commit_author end,
       co_author = case when $18 then $19 else co_author end,
       protected_paths = coalesce($20::json, protected_paths),
       publish = case when $21 then $22 else publish end,
       pull_request = case when $23 then $24::json else pull_request end,
       branch = case when $25 then $26 else branch end,
       verify = case when $27 then $28::json else verify end,
       agent = case when $29 then $30 else agent end
     where id = $1 returning *`,
    [
      id,
      change.plan !== undefined,
      change.plan ?? null,
      change.planningStatement !== undefined,
      change.planningStatement ?? null,
      change.autoConfirmPlans ?? null,
      change.approvalAboveUsd !== undefined,
      change.approvalAboveUsd ?? null,
      ...variablesChanged(change),
      egressChanged(change),
      change.setup !== undefined,
      change.setup ? JSON.stringify(change.setup) : null,
      change.checks !== undefined,
      change.checks ? JSON.stringify(change.checks) : null,
      ...publishingChanged(change),
      ...publishDefaultsChanged(change),
      change.branch !== undefined,
      change.branch ?? null,
      change.verify !== undefined,
      change.verify?.length ? JSON.stringify(change.verify) : null,
      change.agent !== undefined,
      change.agent ?? null,
    ],
  );
  return rows[0];
}

/** An organization, but for whether a server can read its key. */
export type StoredOrganization = Omit<Organization, "signingKey"> & {
  readonly signing: { readonly publicKey: string; readonly keyId: string } | null;
};

export async function findOrganization(db: Database, orgId: string): Promise<StoredOrganization> {
  const sql = "select *, runyard.spent_today_nano(org_id) from runyard.organizations where org_id = runyard.current_org()";
  return organizationOf(await db.queryInOrganization<OrganizationRow>(orgId, sql, []), orgId);
}

/** Changes what is given, and leaves the rest. */
export async function changeOrganization(
  db: Database,
  orgId: string,
  { signing, ...change }: Omit<ChangeOrganizationRequest, "signingKey"> & { readonly signing?: StoredSigningKey | null },
): Promise<StoredOrganization> {
  const { planFirst, dailyCapUsd, approvalAboveUsd, isolationFloor, egressAllowed } = change;
  const sql = `update runyard.organizations set
      plan_first = coalesce($1, plan_first),
      daily_cap_nano = case when $2 then $3 else daily_cap_nano end,
      approval_above_usd = case when $4 then $5 else approval_above_usd end,
      environment = coalesce($6, environment),
      secret_names = coalesce($7, secret_names),
      egress = coalesce($8, egress),
      isolation_floor = case when $9 then $10 else isolation_floor end,
      egress_allowed = case when $11 then $12 else egress_allowed end,
      commit_author = case when $13 then $14::json else commit_author end,
      co_author = case when $15 then $16 else co_author end,
      protected_paths = coalesce($17::json, protected_paths),
      signing_public = case when $18 then $19 else signing_public end,
      signing_key_id = case when $18 then $20 else signing_key_id end,
      signing_sealed = case when $18 then $21::bytea else signing_sealed end,
      publish = case when $22 then $23 else publish end,
      pull_request = case when $24 then $25::json else pull_request end
    where org_id = runyard.current_org() returning *, runyard.spent_today_nano(org_id)`;
  const cap = dailyCapUsd === undefined || dailyCapUsd === null ? null : nanoUsdOf(dailyCapUsd);
  const values = [
    planFirst ?? null,
    dailyCapUsd !== undefined,
    cap,
    approvalAboveUsd !== undefined,
    approvalAboveUsd ?? null,
    ...variablesChanged(change),
    egressChanged(change),
    isolationFloor !== undefined,
    isolationFloor ?? null,
    egressAllowed !== undefined,
    egressAllowed ?? null,
    ...publishingChanged(change),
    signing !== undefined,
    signing?.publicKey ?? null,
    signing?.sealed.keyId ?? null,
    signing?.sealed.bytes ?? null,
    ...publishDefaultsChanged(change),
  ];
  return organizationOf(await db.queryInOrganization<OrganizationRow>(orgId, sql, values), orgId);
}

/** Hosts as a value of a statement; null: they stay. */
function egressChanged({ egress }: Pick<ChangeRepositoryRequest, "egress">): string[] | null {
  return egress === undefined ? null : [...new Set(egress ?? [])];
}

/** Variables and names of secrets as two values of a statement; null: they stay. */
function variablesChanged({ environment, secrets }: Pick<ChangeRepositoryRequest, "environment" | "secrets">): unknown[] {
  return [environment === undefined ? null : JSON.stringify(environment ?? {}), secrets === undefined ? null : (secrets ?? [])];
}

function organizationOf([row]: readonly OrganizationRow[], orgId: string): StoredOrganization {
  if (row === undefined) throw new Error(`There is no organization ${orgId}`);
  return {
    id: row.org_id,
    name: row.name,
    planFirst: row.plan_first,
    dailyCapUsd: usdOrNull(row.daily_cap_nano),
    spentTodayUsd: usd(row.spent_today_nano),
    approvalAboveUsd: row.approval_above_usd,
    isolationFloor: row.isolation_floor,
    egress: [...row.egress],
    ...showPublishing(row),
    ...showPublishDefaults(row),
    coAuthor: row.co_author,
    signing:
      row.signing_public === null || row.signing_key_id === null ? null : { publicKey: row.signing_public, keyId: row.signing_key_id },
    egressAllowed: row.egress_allowed === null ? null : [...row.egress_allowed],
    environment: row.environment,
    secrets: [...row.secret_names],
    createdAt: row.created_at,
  };
}

/** The repository as the API shows it. */
export function toRepository(row: RepositoryRow): Repository {
  return {
    id: row.id,
    repositoryUrl: row.url,
    plan: row.plan_first,
    planningStatement: row.planning_statement,
    autoConfirmPlans: row.auto_confirm_plans,
    approvalAboveUsd: row.approval_above_usd,
    egress: [...row.egress],
    ...showPublishing(row),
    ...showPublishDefaults(row),
    coAuthor: row.co_author,
    environment: row.environment,
    secrets: [...row.secret_names],
    setup: setupShown(row.setup),
    checks: row.checks,
    branch: row.branch,
    verify: row.verify,
    agent: row.agent,
    createdAt: row.created_at,
  };
}
