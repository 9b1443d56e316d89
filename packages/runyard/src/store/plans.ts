import type { NewEvent, Plan, PlanSource } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import { PLAN_HEAD, timesOf } from "./plans-shown.ts";
import type { Carry, RunRow } from "./run-row.ts";
import { eventArrays } from "./runs.ts";

/** Every version of a run's plan, the oldest first. */
export async function listPlans(db: Database, orgId: string, runId: string): Promise<Plan[]> {
  // Through json, so that times come as text in the same form as in a run's document.
  const rows = await db.queryInOrganization<{ plan: Plan }>(
    orgId,
    `select to_json(p) as plan from (select ${PLAN_HEAD}, n.text from runyard.plans n where n.run_id = $1 order by n.version) p`,
    [runId],
  );
  return rows.map(({ plan }) => ({ ...plan, ...timesOf(plan) }));
}

export interface NewPlan {
  /** The run as its runner last saw it: owner and attempt must still be these. */
  readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
  readonly events: readonly NewEvent[];
  readonly state: unknown;
  readonly source: PlanSource;
  readonly text: string;
  readonly hash: string;
  /** Until the policy decides; null: never. */
  readonly dueMs: number | null;
}

/** Ends an attempt with a plan, all in one commit; undefined: somebody else owns the run now, it has ended, or is to be cancelled. */
export async function proposePlan(db: Database, plan: NewPlan): Promise<RunRow | undefined> {
  const { run } = plan;
  const rows = await db.queryInOrganization<RunRow>(
    run.org_id,
    "select * from runyard.propose_plan($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    [
      run.id,
      run.owner,
      run.attempt,
      ...eventArrays(plan.events),
      JSON.stringify(plan.state),
      plan.source,
      plan.text,
      plan.hash,
      plan.dueMs,
    ],
  );
  return rows[0];
}

export interface PlanDecision {
  readonly run: Pick<RunRow, "id" | "org_id">;
  /** The version that is decided about: a newer one in the meantime makes this too late. */
  readonly version: number;
  readonly decision: "approved" | "revised" | "rejected";
  /** A person's id; null: the policy. */
  readonly by: string | null;
  readonly note: string | null;
  /** The wording that a person puts in the plan's place; null: as it is. */
  readonly edit: { readonly text: string; readonly hash: string } | null;
  /** What the run goes on from; null: it does not. */
  readonly carry: Carry | null;
  readonly events: readonly NewEvent[];
}

/** Decides about the plan that waits; undefined: somebody was faster, or no plan of this version waits. */
export async function decidePlan(db: Database, decision: PlanDecision): Promise<RunRow | undefined> {
  const { run, edit } = decision;
  const rows = await db.queryInOrganization<RunRow>(
    run.org_id,
    "select * from runyard.decide_plan($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    [
      run.id,
      decision.version,
      decision.decision,
      decision.by,
      decision.note,
      edit?.text ?? null,
      edit?.hash ?? null,
      decision.carry === null ? null : JSON.stringify(decision.carry),
      ...eventArrays(decision.events),
    ],
  );
  return rows[0];
}

/** Runs whose plan nobody has decided about in time, of every organization. */
export async function duePlans(db: Database, limit: number): Promise<{ org_id: string; id: string; version: number }[]> {
  return db.query("select org_id, id, version from runyard.due_plans($1)", [limit]);
}
