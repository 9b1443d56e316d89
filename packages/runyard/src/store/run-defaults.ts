import type { ChecksSettings, CommitAuthor, Environment, IsolationFloor, Setup } from "@runyard/sdk/contract";
import type { PlanDefaults } from "../core/plan.ts";
import type { RepositoryGives } from "../core/run-defaults.ts";
import type { PublishDefault } from "../core/publish-defaults.ts";
import type { GivenVariables } from "../core/variables.ts";
import type { Database } from "./database.ts";
import type { PublishDefaultColumns } from "./publish-defaults.ts";

/** What an organization and a repository of it say of what runs are held in by. */
export interface Bounds {
  /** null: the organization says nothing. */
  readonly isolationFloor: IsolationFloor | null;
  /** The only hosts that runs may be given; null: any. */
  readonly egressAllowed: readonly string[] | null;
  readonly organizationEgress: readonly string[];
  readonly repositoryEgress: readonly string[];
}

/** What an organization and a repository of it, which may not be known yet, say of runs. */
export interface RunDefaults {
  readonly bounds: Bounds;
  readonly plan: PlanDefaults;
  /** Above which estimate a person decides, in US dollars, of each of the two; null: none. */
  readonly approvalLimits: readonly (number | null)[];
  /** What they give to runs, the more general first. */
  readonly variables: readonly GivenVariables[];
  /** What they say of results, the nearer one first. */
  readonly publish: readonly PublishDefault[];
  /** Who commits are by (null: Runyard), and whether they name who asked. */
  readonly commit: { readonly author: CommitAuthor | null; readonly namesCoAuthor: boolean };
  /** Of the repository; null: nothing, here and below. */
  readonly setup: Setup | null;
  readonly checks: ChecksSettings | null;
  readonly start: RepositoryGives;
}

/** The columns that both have; null in a repository: nothing of its own, or it is not known. */
interface Columns extends PublishDefaultColumns {
  readonly plan_first: boolean | null;
  readonly approval_above_usd: number | null;
  readonly egress: readonly string[] | null;
  readonly environment: Environment | null;
  readonly secret_names: readonly string[] | null;
  readonly commit_author: CommitAuthor | null;
  readonly co_author: boolean | null;
}

type Row = { readonly [Name in keyof Columns as `org_${Name}`]: Columns[Name] } & Columns & {
    readonly isolation_floor: IsolationFloor | null;
    readonly egress_allowed: readonly string[] | null;
    readonly planning_statement: string | null;
    readonly auto_confirm_plans: boolean | null;
    readonly setup: Setup | null;
    readonly checks: ChecksSettings | null;
  } & RepositoryGives;

const OF_BOTH: readonly (keyof Columns)[] = [
  "plan_first",
  "approval_above_usd",
  "egress",
  "environment",
  "secret_names",
  "commit_author",
  "co_author",
  "publish",
  "pull_request",
];

const SELECT = `select o.isolation_floor, o.egress_allowed, p.planning_statement, p.auto_confirm_plans, p.setup, p.checks, p.branch, p.verify, p.agent,
    ${OF_BOTH.map((name) => `o.${name} as org_${name}, p.${name}`).join(", ")}
  from runyard.organizations o left join runyard.repositories p on p.org_id = o.org_id and p.url = $1
  where o.org_id = runyard.current_org()`;

/** Reads all of it at once, so that a run is made by one state of the settings. */
export async function readRunDefaults(db: Database, orgId: string, repositoryUrl: string): Promise<RunDefaults> {
  const [row] = await db.queryInOrganization<Row>(orgId, SELECT, [repositoryUrl]);
  if (row === undefined) throw new Error(`There is no organization ${orgId}`);
  return {
    bounds: {
      isolationFloor: row.isolation_floor,
      egressAllowed: row.egress_allowed,
      organizationEgress: row.org_egress ?? [],
      repositoryEgress: row.egress ?? [],
    },
    plan: {
      organizationPlans: row.org_plan_first ?? false,
      repositoryPlans: row.plan_first,
      statement: row.planning_statement,
      autoConfirm: row.auto_confirm_plans ?? false,
    },
    approvalLimits: [row.org_approval_above_usd, row.approval_above_usd],
    variables: [
      { environment: row.org_environment ?? {}, secrets: row.org_secret_names ?? [] },
      { environment: row.environment ?? {}, secrets: row.secret_names ?? [] },
    ],
    publish: [
      { from: "repository", publish: row.publish, pullRequest: row.pull_request },
      { from: "organization", publish: row.org_publish, pullRequest: row.org_pull_request },
    ],
    commit: { author: row.commit_author ?? row.org_commit_author, namesCoAuthor: row.co_author ?? row.org_co_author ?? false },
    setup: row.setup,
    checks: row.checks,
    start: { branch: row.branch, verify: row.verify, agent: row.agent },
  };
}
