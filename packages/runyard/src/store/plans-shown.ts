import type { PlanSummary } from "@runyard/sdk/contract";

/** The parts of a plan that everybody is shown, of rows `n` of plans. */
export const PLAN_HEAD = `n.version, n.turn, n.state, n.source, n.hash, n.proposed_at as "proposedAt", n.decided_at as "decidedAt", n.note,
  case when n.decided_at is null or n.state = 'withdrawn' then null
       when n.decided_by is null then json_build_object('by', 'policy')
       else json_build_object('by', 'person', 'userId', n.decided_by,
                              'userName', (select u.name from runyard.users u where u.id = n.decided_by)) end as "decidedBy"`;

/** The newest plan of a run's present turn as json, of a row `r` of runs. */
export const PLAN_SHOWN = `case when r.plan_version > 0 then (
    select to_json(p) from (select ${PLAN_HEAD} from runyard.plans n
      where n.run_id = r.id and n.version = r.plan_version and n.turn = r.turn) p) end as plan_shown`;

/** As `PLAN_SHOWN` gives it; times are as json has them. */
export type PlanShown = Omit<PlanSummary, "dueAt">;

/** Times in the one form that the API has. */
export function timesOf(plan: Pick<PlanShown, "proposedAt" | "decidedAt">): Pick<PlanShown, "proposedAt" | "decidedAt"> {
  const iso = (at: string): string => new Date(at).toISOString();
  return { proposedAt: iso(plan.proposedAt), decidedAt: plan.decidedAt === null ? null : iso(plan.decidedAt) };
}
