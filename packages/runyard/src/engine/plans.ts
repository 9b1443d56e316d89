import { createHash } from "node:crypto";
import {
  type confirmPlanSchema,
  type NewEvent,
  type PlanDecider,
  type PlanList,
  type rejectPlanSchema,
  type revisePlanSchema,
  type Run,
  RunyardError,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import { type RunFact, transition } from "../core/run-machine.ts";
import { personOf } from "../store/answer-permission.ts";
import { decidePlan, listPlans, type PlanDecision } from "../store/plans.ts";
import { machineState, type RunRow } from "../store/run-row.ts";
import { toRun } from "../store/run-shown.ts";
import type { StoredRun } from "../store/runs.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { CLAIM } from "./wakes.ts";

export type PlanDeps = Pick<EngineOptions, "db" | "wakes" | "now" | "carryPlanned">;

/** What somebody says to a plan. */
export type PlanVerdict =
  | { readonly type: "approve"; readonly text?: string | undefined }
  | { readonly type: "revise"; readonly feedback: string }
  | { readonly type: "reject"; readonly reason: string };

/** Commands about plans. All throw `run_not_found`; decisions throw `plan_not_open` and `stale_plan`. */
export function createPlans(deps: PlanDeps, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  const { db, now } = deps;

  async function decide(principal: Principal, of: { runId: string; version: number | undefined }, verdict: PlanVerdict): Promise<Run> {
    const { run } = await load(principal.orgId, of.runId);
    requireOpen(run, of.version);
    const person: PlanDecider = { by: "person", ...(await personOf(db, principal)) };
    if ((await commitDecision(deps, { run, verdict, decider: person })) === undefined) {
      requireOpen((await load(principal.orgId, of.runId)).run, of.version ?? run.plan_version);
      throw notOpen(run);
    }
    const after = await load(principal.orgId, of.runId);
    return toRun(after.run, after.open, now());
  }

  return {
    async plan(principal: Principal, runId: string): Promise<PlanList> {
      await load(principal.orgId, runId);
      return { data: await listPlans(db, principal.orgId, runId) };
    },
    confirmPlan(principal: Principal, runId: string, input: z.output<typeof confirmPlanSchema>): Promise<Run> {
      return decide(principal, { runId, version: input.version }, { type: "approve", text: input.text });
    },
    rejectPlan(principal: Principal, runId: string, input: z.output<typeof rejectPlanSchema>): Promise<Run> {
      const reason = input.reason ?? "The plan was rejected by a person";
      return decide(principal, { runId, version: input.version }, { type: "reject", reason });
    },
    revisePlan(principal: Principal, runId: string, input: z.output<typeof revisePlanSchema>): Promise<Run> {
      return decide(principal, { runId, version: input.version }, { type: "revise", feedback: input.feedback });
    },
  };
}

/** Stores a decision and wakes who waits for it; undefined: somebody was faster. */
export async function commitDecision(
  deps: PlanDeps,
  options: { readonly run: RunRow; readonly verdict: PlanVerdict; readonly decider: PlanDecider },
): Promise<RunRow | undefined> {
  const { db, wakes } = deps;
  const { run } = options;
  const decided = await decidePlan(db, await decisionOf(deps, options));
  if (decided === undefined) return undefined;
  wakes.notify(run.id);
  wakes.notify(CLAIM);
  return decided;
}

async function decisionOf(
  { db, carryPlanned }: PlanDeps,
  { run, verdict, decider }: { readonly run: RunRow; readonly verdict: PlanVerdict; readonly decider: PlanDecider },
): Promise<PlanDecision> {
  const version = run.plan_version;
  const base = { run, version, by: decider.userId ?? null, edit: null, note: null, carry: null };
  if (verdict.type === "reject") {
    const rejection = { version, reason: verdict.reason, ...decider };
    return { ...base, decision: "rejected", note: verdict.reason, events: eventsOf(run, { type: "plan_rejected", rejection }) };
  }
  if (verdict.type === "revise") {
    const { feedback } = verdict;
    const carry = carryPlanned(run, { type: "revise", version, feedback });
    const events = eventsOf(run, { type: "plan_revised", revision: { version, feedback, ...decider } });
    return { ...base, decision: "revised", note: feedback, carry, events };
  }
  const proposed = (await listPlans(db, run.org_id, run.id)).find((plan) => plan.version === version);
  if (proposed === undefined) throw new Error(`Run ${run.id} waits for a decision about a plan that is not stored`);
  const edit = editOf(verdict.text, proposed.text);
  const { text, hash } = edit ?? proposed;
  const approval = { version: edit === null ? version : version + 1, hash, ...decider };
  const edited = edit && { version: version + 1, replaces: version, ...edit, ...decider };
  const carry = carryPlanned(run, { type: "build", text, isEdited: edit !== null });
  return { ...base, decision: "approved", edit, carry, events: eventsOf(run, { type: "plan_approved", approval, edit: edited }) };
}

/** Null where a person left the wording as it was. */
function editOf(text: string | undefined, proposed: string): { readonly text: string; readonly hash: string } | null {
  return text === undefined || text === proposed.trim() ? null : { text, hash: planHash(text) };
}

/** What binds a run to the plan that was approved: SHA-256 of its text in UTF-8, as hex. */
export function planHash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function eventsOf(run: RunRow, fact: RunFact): readonly NewEvent[] {
  const decided = transition(machineState(run), fact);
  if (!decided.ok) throw notOpen(run);
  return decided.events;
}

function requireOpen(run: RunRow, version: number | undefined): void {
  if (run.status !== "awaiting_plan") throw notOpen(run);
  if (version === undefined || version === run.plan_version) return;
  throw new RunyardError(
    "stale_plan",
    `The plan that waits is version ${run.plan_version}, not ${version}. Read it again (GET /v1/agent-runs/${run.id}/plan), then decide.`,
  );
}

function notOpen(run: RunRow): RunyardError {
  const was = run.plan_version === 0 ? "it has made none" : `its last one (version ${run.plan_version}) was decided about`;
  return new RunyardError("plan_not_open", `No plan of run ${run.id} waits for a decision: ${was}, and the run is ${run.status}.`);
}
