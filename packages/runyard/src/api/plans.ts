import { confirmPlanSchema, rejectPlanSchema, revisePlanSchema } from "@runyard/sdk/contract";
import type { z } from "zod";
import { readJsonOrNothing } from "./body.ts";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { runIdOf } from "./runs.ts";
import { validate } from "./validate.ts";

type PlanRoute = "runPlan" | "confirmPlan" | "rejectPlan" | "revisePlan";

/** The routes that read a run's plan and decide about it. */
export function planHandlers(engine: ApiEngine): Record<PlanRoute, ApiHandler> {
  return {
    runPlan: async (c) => c.json(await engine.plan(c.var.principal, runIdOf(c))),
    confirmPlan: async (c) => c.json(await engine.confirmPlan(c.var.principal, runIdOf(c), await bodyOf(c, confirmPlanSchema)), 202),
    rejectPlan: async (c) => c.json(await engine.rejectPlan(c.var.principal, runIdOf(c), await bodyOf(c, rejectPlanSchema)), 202),
    revisePlan: async (c) => c.json(await engine.revisePlan(c.var.principal, runIdOf(c), await bodyOf(c, revisePlanSchema)), 202),
  };
}

/** A decision that says nothing needs no body. */
async function bodyOf<T extends z.ZodType>(c: ApiContext, schema: T): Promise<z.output<T>> {
  return validate(schema, await readJsonOrNothing(c.req.raw));
}
