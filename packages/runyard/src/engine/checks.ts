import { type ChecksSettings, checksSettingsSchema, type EventData, type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { type ChecksEffect, checksError, type ChecksSoFar } from "../core/checks.ts";
import { type RunFact, transition } from "../core/run-machine.ts";
import { type ChecksEnd, endChecks, findAwaiting } from "../store/checks.ts";
import type { Tx } from "../store/database.ts";
import type { EffectRow } from "../store/outbox.ts";
import { type Carry, machineState, type RunRow, type RunSpec } from "../store/run-row.ts";
import type { EngineOptions } from "./engine.ts";
import { apiCredential, placeOf } from "./publishing.ts";

/** What was decided about a run that waits for its checks, with what is told of it. */
export interface ChecksVerdict {
  readonly finished: EventData<"checks.finished">;
  /** What its agent is told, and what has failed in the turn by then; null: nothing goes back. */
  readonly feedback: { readonly text: string; readonly soFar: ChecksSoFar } | null;
}

/** What the next attempt of a turn goes on from whose checks failed; main wires it. */
export type CarryChecked = (
  run: RunRow,
  told: { readonly text: string; readonly soFar: ChecksSoFar; readonly branch: string },
) => { readonly carry: Carry; readonly state: unknown };

/** Commits a verdict, in the transaction that ends the effect. Does nothing where the run does not wait any more. */
export async function concludeChecks(
  tx: Pick<Tx, "query">,
  effect: EffectRow,
  how: { readonly verdict: ChecksVerdict; readonly carryChecked: CarryChecked },
): Promise<void> {
  if (effect.run_id === null || effect.attempt === null) return;
  const run = await findAwaiting(tx, { id: effect.run_id, attempt: effect.attempt });
  if (run !== undefined) await endChecks(tx, run, endOf(run, effect.payload as ChecksEffect, how));
}

function endOf(
  run: RunRow,
  { branch, result, pullRequest }: ChecksEffect,
  { verdict, carryChecked }: { readonly verdict: ChecksVerdict; readonly carryChecked: CarryChecked },
): ChecksEnd {
  const { finished, feedback } = verdict;
  const told: NewEvent = { type: "checks.finished", data: finished };
  const nothing = { goesOn: null, result: null, error: null };
  if (feedback !== null) {
    const goesOn = carryChecked(run, { ...feedback, branch });
    return { ...nothing, status: "pending", goesOn, events: eventsOf(run, { type: "checks_fed_back", finished, text: feedback.text }) };
  }
  if (finished.outcome === "failed") {
    const error = checksError(finished);
    // The branch and its pull request are there, whatever became of the run.
    return { ...nothing, status: "failed", result, error, events: [told, ...eventsOf(run, { type: "broke", error })] };
  }
  const isKnown = finished.outcome === "passed" || finished.outcome === "none";
  const notice: NewEvent = { type: "notice", data: { level: "warning", code: "checks-not-known", message: finished.message } };
  const ended = eventsOf(run, { type: "finished", result, ...(pullRequest && { pullRequest }) });
  return { ...nothing, status: "completed", result, events: [told, ...(isKnown ? [] : [notice]), ...ended] };
}

function eventsOf(run: RunRow, fact: RunFact): readonly NewEvent[] {
  const decided = transition(machineState(run), fact);
  if (!decided.ok) throw new Error(`${fact.type} cannot happen to run ${run.id}, which is ${run.status}`);
  return decided.events;
}

/** How the checks of what a run publishes are watched, as its spec has it. Throws RunyardError `checks_not_watchable`. */
export async function resolveChecks(
  options: Pick<EngineOptions, "db" | "vault" | "githubHosts">,
  run: {
    readonly orgId: string;
    readonly repositoryUrl: string;
    readonly publishes: boolean;
    /** What the run says; undefined: nothing. */
    readonly watch: boolean | undefined;
    /** What its repository says; null: nothing. */
    readonly settings: ChecksSettings | null;
  },
): Promise<Pick<RunSpec, "checks">> {
  const { watch } = run;
  const settings = run.settings ?? checksSettingsSchema.parse({});
  if (!(watch ?? settings.watch)) return {};
  const refuse = (why: string): Pick<RunSpec, "checks"> => {
    if (watch === true) throw new RunyardError("checks_not_watchable", why);
    return {};
  };
  if (!run.publishes)
    return refuse("A run that publishes nothing has no commit whose checks could be watched: ask for publish: branch or pull_request.");
  const place = placeOf(run.repositoryUrl, options.githubHosts);
  if (typeof place === "string")
    return refuse(
      "Checks are watched at GitHub servers only, and this repository is at none that the server knows of: see RUNYARD_GITHUB_HOSTS.",
    );
  if ((await apiCredential(options, run.orgId, place)) === null)
    return refuse(
      "There is no token for this repository, by which its checks could be read: store one with `runyard credentials add URL --token-stdin`.",
    );
  return { checks: { ...settings, watch: true, place } };
}
