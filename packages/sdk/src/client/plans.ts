import type { ConfirmPlanRequest, PlanList, RejectPlanRequest, RevisePlanRequest } from "../contract/plan.ts";
import type { RouteName } from "../contract/routes.ts";
import type { Run } from "../contract/run.ts";
import { asRun, checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

const JSON_TYPE = "application/json";

/**
 * The plan of a run that was created with `plan: true`: it waits, as `awaiting_plan`, until somebody decides.
 * Give the `version` that was read, so that nobody decides about a plan that has changed in the meantime.
 * Decisions are not tried again after an error, because they may have been taken: read the run.
 */
export interface RunPlans {
  /** Every version of the plan with its text, the oldest first. */
  plan(id: string, options?: RequestOptions): Promise<PlanList>;

  /**
   * Approves the plan, as it is or, with `text`, in words of one's own: the agent carries it out.
   *
   * @example
   * ```ts
   * const plan = (await client.runs.plan(run.id)).data.at(-1);
   * console.log(plan?.text);
   * await client.runs.confirmPlan(run.id, { version: plan?.version });
   * ```
   */
  confirmPlan(id: string, decision?: ConfirmPlanRequest, options?: RequestOptions): Promise<Run>;

  /** Rejects the plan; the run ends as `cancelled`. */
  rejectPlan(id: string, decision?: RejectPlanRequest, options?: RequestOptions): Promise<Run>;

  /** Sends the plan back to the agent, which makes another version of it. */
  revisePlan(id: string, decision: RevisePlanRequest, options?: RequestOptions): Promise<Run>;
}

export function createPlans(transport: Transport): RunPlans {
  const decide = async (route: RouteName, id: string, body: object, options: RequestOptions | undefined): Promise<Run> =>
    asRun(await transport.json({ method: "POST", path: pathOf(route, { id }), accept: JSON_TYPE, body, repeatable: false }, options));
  return {
    plan: async (id, options) => {
      const answer = await transport.json({ method: "GET", path: pathOf("runPlan", { id }), accept: JSON_TYPE, repeatable: true }, options);
      return checked(answer, { data: "array" }) as PlanList;
    },
    confirmPlan: (id, decision = {}, options) => decide("confirmPlan", id, decision, options),
    rejectPlan: (id, decision = {}, options) => decide("rejectPlan", id, decision, options),
    revisePlan: (id, decision, options) => decide("revisePlan", id, decision, options),
  };
}
