import { setTimeout as sleep } from "node:timers/promises";
import { duePlans, listPlans } from "../store/plans.ts";
import type { StoredReplay } from "../store/replays.ts";
import { planSettings, type RunRow } from "../store/run-row.ts";
import { findRun } from "../store/runs.ts";
import { commitDecision, type PlanDeps, type PlanVerdict } from "./plans.ts";
import { PLANS_DUE } from "./wakes.ts";

/** How often plans are looked at without being woken. */
const POLL_MS = 1_000;
/** Most plans that are decided about at a time. */
const BATCH = 100;

/**
 * Keeps letting the policy decide about plans that nobody has decided about in time, until `leaving`; resolves
 * then. What cannot be done now is tried again.
 */
export async function watchDuePlans(deps: PlanDeps, leaving: AbortSignal, onError: (error: unknown) => void): Promise<void> {
  let pause = new AbortController();
  const wake = (): void => pause.abort();
  const unsubscribe = deps.wakes.subscribe(PLANS_DUE, wake);
  leaving.addEventListener("abort", wake, { once: true });
  while (!leaving.aborted) {
    pause = new AbortController();
    const due = await duePlans(deps.db, BATCH).catch((error: unknown): undefined => {
      onError(error);
    });
    for (const plan of due ?? []) await decideDue(deps, plan).catch(onError);
    // Not by AbortSignal.any: each one that is made of a signal that lives long leaves something behind in it.
    if (!leaving.aborted) await sleep(POLL_MS, undefined, { signal: pause.signal }).catch(() => undefined);
  }
  unsubscribe();
}

async function decideDue(deps: PlanDeps, due: { readonly org_id: string; readonly id: string; readonly version: number }): Promise<void> {
  const run = (await findRun(deps.db, due.org_id, due.id))?.run;
  // Somebody was faster, and what waits now has a time of its own.
  if (run?.status !== "awaiting_plan" || run.plan_version !== due.version) return;
  const verdict = run.replay === null ? policyOf(run) : await recordedVerdict(deps, run, run.replay);
  await commitDecision(deps, { run, verdict, decider: { by: "policy" } });
}

function policyOf(run: RunRow): PlanVerdict {
  return planSettings(run).onTimeout === "approve"
    ? { type: "approve" }
    : { type: "reject", reason: "Nobody decided about the plan in time, and the run's policy rejects it then" };
}

/** What was decided about the same version in the run that is replayed. */
async function recordedVerdict({ db }: PlanDeps, run: RunRow, { of }: StoredReplay): Promise<PlanVerdict> {
  const plans = await listPlans(db, run.org_id, of);
  const at = plans.findIndex(({ version }) => version === run.plan_version);
  const plan = plans[at];
  if (plan?.state === "approved") return { type: "approve" };
  if (plan?.state === "edited") return { type: "approve", text: plans[at + 1]?.text };
  if (plan?.state === "revised") return { type: "revise", feedback: plan.note ?? "" };
  return { type: "reject", reason: plan?.note ?? "Nobody decided about this plan in the run that is replayed" };
}
