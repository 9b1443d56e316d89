import { type continueRunSchema, isTerminal, type NewEvent, type RunError, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import { joinEgress } from "../core/egress-bounds.ts";
import { type RunFact, transition } from "../core/run-machine.ts";
import { readRunDefaults } from "../store/run-defaults.ts";
import { hasOwnLogin, machineState, planSettings, type RunRow, type RunSpec } from "../store/run-row.ts";
import { findRun } from "../store/runs.ts";
import { findStopOf } from "../store/pull-request-stops.ts";
import { continueRun } from "../store/turns.ts";
import { approvalRuleFor, requestedFact } from "./approvals.ts";
import { requireAllowed, requireFloor } from "./bounds.ts";
import type { EngineOptions } from "./engine.ts";
import { lookAtBase, rebasePrompt } from "./rebase.ts";
import { missingModel, modelFor, requireLogin, requirePrice } from "./model.ts";
import { stoppedError } from "./pull-request-stops.ts";

/** Begins the next turn of a run. Throws RunyardError `run_not_ended` where the last one goes on, or somebody else was faster. */
export async function continueTurn(options: EngineOptions, run: RunRow, input: z.output<typeof continueRunSchema>): Promise<RunRow> {
  const plans = input.plan ?? planSettings(run).wanted;
  if (run.replay !== null)
    throw new RunyardError(
      "not_for_replays",
      `Run ${run.id} is a replay, which has one turn. Continue the run that it replays: ${run.replay.of}.`,
    );
  if (!isTerminal(run.status)) throw notEnded(run);
  if (input.allowPullRequest !== true) await requireNotStopped(options, run);
  const rebase = input.rebase ? await lookAtBase(options, run, { plans, hasTask: input.prompt !== undefined }) : null;
  const prompt = input.prompt ?? rebasePrompt(rebase?.branch ?? "");
  const { sandboxDriver: driver, isolationFloor: before, egress = [], egressFrom } = run.spec;
  const sandbox = await options.probeSandbox(driver);
  if (!sandbox.available)
    throw new RunyardError("sandbox_not_available", sandbox.reason ?? `The sandbox driver ${driver} cannot be used here.`);
  // What the organization has changed since then holds for what is yet to come.
  const { bounds, approvalLimits } = await readRunDefaults(options.db, run.org_id, run.repository_url);
  const isolationFloor = requireFloor(bounds, { driver, sandbox, run: before });
  requireAllowed(egressFrom ?? joinEgress({ run: egress }), bounds.egressAllowed, { driver, sandbox });
  // A run that could not begin for want of a model takes the one that there is now.
  const needs = options.describeAgent(run.spec.agent.profile);
  const callsOwn = hasOwnLogin(run);
  const model = run.spec.model ?? (needs === undefined || callsOwn ? null : modelFor(options.model(), needs).model);
  const ofRun: RunSpec = { ...run.spec, isolationFloor, model, ...(input.budget !== undefined && { budget: input.budget }) };
  const error = whyNoModel(options, { ...run, spec: ofRun });
  if (error === null && callsOwn) requireLogin(options, ofRun.agent.profile, ofRun.budget ?? null);
  if (error === null && !callsOwn && needs !== undefined && needs.apis.length > 0) await requirePrice(options, input.budget, model);
  const { org_id: orgId, repository_url: repositoryUrl } = run;
  const turn = { orgId, repositoryUrl, profile: run.spec.agent.profile, model, isPriced: !callsOwn, prompt, number: run.turn + 1 };
  const rule = await approvalRuleFor(options, { ...turn, limits: [run.spec.approvalAboveUsd, ...approvalLimits] });
  const spec: RunSpec = { ...ofRun, ...(rule.aboveUsd !== null && { approvalAboveUsd: rule.aboveUsd }) };
  // A scripted model costs nothing, whatever the server is connected to by now.
  const approval = error === null && !run.simulated ? rule.approval : null;
  const continued = await continueRun(options.db, {
    run,
    prompt,
    spec,
    carry: { ...options.carryOver(run), ...(rebase !== null && { rebase }) },
    plans,
    error,
    ...(approval !== null && { approval }),
    ...(input.allowPullRequest !== undefined && { allowsPullRequest: input.allowPullRequest }),
    events: eventsOf(run, [
      { type: "continued", prompt, plans },
      ...(error === null ? [] : [{ type: "broke", error } as const]),
      ...(approval === null ? [] : [requestedFact(approval)]),
    ]),
  });
  if (continued !== undefined) return continued;
  await requireNotStopped(options, run);
  throw notEnded((await findRun(options.db, run.org_id, run.id))?.run ?? run);
}

/** Throws RunyardError `pull_request_stopped`. */
async function requireNotStopped({ db }: EngineOptions, { org_id: orgId, id }: RunRow): Promise<void> {
  const stop = await findStopOf(db, orgId, id);
  if (stop !== null) throw stoppedError(id, stop);
}

function notEnded(run: RunRow): RunyardError {
  return new RunyardError(
    "run_not_ended",
    `Its turn is not over: run ${run.id} is ${run.status} in turn ${run.turn}. Wait for its end, or cancel it.`,
  );
}

/** A simulated run stays one, whatever the server is connected to; and a real one never becomes one. */
function whyNoModel(options: EngineOptions, run: Pick<RunRow, "spec" | "simulated" | "replay">): RunError | null {
  const { spec, simulated } = run;
  const { profile } = spec.agent;
  const callsOwn = hasOwnLogin(run);
  const needs = options.describeAgent(profile);
  if (needs === undefined || needs.apis.length === 0 || simulated) return null;
  const connection = options.model();
  if (!connection.simulated) return callsOwn ? null : missingModel(connection, { agent: { profile, ...needs }, model: spec.model });
  return {
    type: "no-model-configured",
    message:
      "This server simulates, and the run is a real one. Start Runyard without --simulate to continue it, or give the task to a new run.",
  };
}

function eventsOf(run: RunRow, facts: readonly RunFact[]): NewEvent[] {
  let state = machineState(run);
  return facts.flatMap((fact) => {
    const decided = transition(state, fact);
    if (!decided.ok) throw new Error(`${fact.type} cannot happen to run ${run.id}, which is ${state.status}`);
    state = decided.state;
    return decided.events;
  });
}
