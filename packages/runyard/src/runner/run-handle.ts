import type { NewEvent, RunError, RunResult } from "@runyard/sdk/contract";
import { type RunFact, transition } from "../core/run-machine.ts";
import { OUTBOX, type Wakes } from "../engine/wakes.ts";
import { awaitChecks } from "../store/checks.ts";
import type { Database } from "../store/database.ts";
import { nextAttempt } from "../store/attempts.ts";
import { type NewPlan, proposePlan } from "../store/plans.ts";
import { type Hold, holdRun } from "../store/holds.ts";
import { noteReplay, type StoredReplay } from "../store/replays.ts";
import { type Release, releaseRun } from "../store/release.ts";
import { type Carry, machineState, type RunRow } from "../store/run-row.ts";
import { commitStep, reloadRun, type RunChange, type StepCommit } from "../store/runs.ts";
import type { AttemptState } from "./attempt-state.ts";
import { NO_SECRETS, type RunSecrets } from "./run-secrets.ts";

/** Somebody else owns the run now, or it has ended: whoever sees this stops at once and writes nothing more. */
export class FencedError extends Error {
  override readonly name = "FencedError";
}

/** What is committed together with the end of an attempt. */
interface LastWords {
  readonly events: readonly NewEvent[];
  readonly state: unknown;
}

/** The run cannot go on, for a reason that its user is told. */
export class RunFailure extends Error {
  override readonly name = "RunFailure";
  readonly error: RunError;
  readonly last: LastWords | null;
  /** Whether another attempt can go on where this one was. */
  readonly canGoOn: boolean;
  constructor(error: RunError, last: LastWords | null = null, canGoOn = false) {
    super(error.message);
    this.error = error;
    this.last = last;
    this.canGoOn = canGoOn;
  }
}

/** A fact that ends the run from outside: cancelled, or out of time. */
export class EndRequest extends Error {
  override readonly name = "EndRequest";
  readonly fact: RunFact;
  constructor(fact: RunFact) {
    super(`The run is to end: ${fact.type}`);
    this.fact = fact;
  }
}

/** The agent has waited for people for as long as it may; the run goes on without it once they have answered. */
export class ReleaseRequest extends Error {
  override readonly name = "ReleaseRequest";
}

/** The server is leaving; the run lives on and is adopted by the next one. */
export class Detached extends Error {
  override readonly name = "Detached";
}

/** One run in the hands of its runner: the row as of the last commit, and the one way to write. */
export interface RunHandle {
  readonly row: RunRow;
  /** What it was given as secrets; none of that is in what is written. */
  readonly secrets: RunSecrets;
  /** Commits, wakes readers, and makes `row` what was committed. Throws FencedError. */
  commit(step: Omit<StepCommit, "run">): Promise<void>;
  /** Ends the attempt and makes `row` the next one's, with the events of the fact and what came before them. Throws FencedError. */
  retry(next: {
    readonly fact: Extract<RunFact, { type: "retried" }>;
    readonly events: readonly NewEvent[];
    readonly state: unknown;
    readonly delayMs: number;
    readonly carry: Carry | null;
  }): Promise<void>;
  /**
   * Ends the attempt with a plan, with the events of the fact and what came before them; the run is nobody's then.
   * Throws FencedError, or EndRequest where the run is to be cancelled.
   */
  propose(plan: { readonly fact: Extract<RunFact, { type: "plan_proposed" }> } & Omit<NewPlan, "run">): Promise<void>;
  /** Takes the run out of hand with its requests open, with the events of the fact and what came before them. Throws as `propose` does. */
  release(how: { readonly fact: Extract<RunFact, { type: "released" | "left_asking" }> } & Omit<Release, "run">): Promise<void>;
  /** Takes the run out of hand with a result that waits for a person, with the events of the fact. Throws as `propose` does. */
  hold(how: { readonly fact: Extract<RunFact, { type: "held" }> } & Omit<Hold, "run" | "events">): Promise<void>;
  /** Takes the run out of hand until its checks have ended, with the events of the fact and what came before them. Throws as `propose` does. */
  awaitChecks(
    wait: { readonly fact: Extract<RunFact, { type: "checks_awaited" }> } & Omit<Parameters<typeof awaitChecks>[1], "run">,
  ): Promise<void>;
  /** Notes what came of a replay so far; nothing of it is in the log by that. Throws FencedError. */
  noteReplay(replay: StoredReplay): Promise<void>;
  /** Commits a fact of the run machine with the events that it brings, and what else belongs to it. */
  happen(fact: RunFact, more?: Pick<StepCommit, "events" | "lines" | "change">): Promise<void>;
}

export function runHandle(
  deps: { readonly db: Database; readonly wakes: Wakes },
  initial: RunRow,
  secrets: RunSecrets = NO_SECRETS,
): RunHandle {
  let row = initial;
  const hide = <T>(value: T): T => secrets.redactor.json(value);

  const take = (after: RunRow | undefined): void => {
    if (after === undefined) throw new FencedError(`Run ${row.id} is not this runner's any more`);
    row = after;
    deps.wakes.notify(row.id);
  };
  const decide = (fact: RunFact): Extract<ReturnType<typeof transition>, { ok: true }> => {
    const decided = transition(machineState(row), fact);
    if (!decided.ok) throw new Error(`${fact.type} cannot happen to run ${row.id}, which is ${row.status}`);
    return decided;
  };
  /** A run that somebody wants cancelled is not given out of hand: that would have to wait for people. */
  const takeUnlessCancelled = async (after: RunRow | undefined): Promise<void> => {
    const now = after ?? (await reloadRun(deps.db, row));
    if (after === undefined && now?.owner === row.owner && now.cancel_reason !== null)
      throw new EndRequest({ type: "cancelled", reason: now.cancel_reason });
    take(after);
  };
  const commit: RunHandle["commit"] = async ({ events = [], requests = [], change = {}, ...step }) => {
    const hidden = { events: hide(events), requests: hide(requests), change: hideChange(change) };
    take(await commitStep(deps.db, { ...step, ...hidden, run: row }));
  };
  /** Of paths and names nothing is hidden: they are Runyard's own, and must stay what they are. */
  const hideChange = ({ state, result, error, ...change }: RunChange): RunChange => ({
    ...change,
    ...(state !== undefined && { state: hideState(state as AttemptState) }),
    ...(result !== undefined && { result: hideResult(result) }),
    ...(error !== undefined && { error: hide(error) }),
  });
  const hideResult = (result: RunResult): RunResult => ({ ...result, summary: hide(result.summary) });
  const hideState = (state: AttemptState): AttemptState => ({
    ...state,
    ...(state.turn && { turn: hide(state.turn) }),
    ...(state.summary !== undefined && { summary: hide(state.summary) }),
  });

  return {
    get row() {
      return row;
    },
    secrets,
    commit,
    async retry({ fact, events, ...rest }) {
      take(await nextAttempt(deps.db, { ...rest, run: row, events: hide([...events, ...decide(fact).events]) }));
    },
    async propose({ fact, events, ...plan }) {
      await takeUnlessCancelled(await proposePlan(deps.db, { ...plan, run: row, events: hide([...events, ...decide(fact).events]) }));
    },
    async release({ fact, events, requests, ...rest }) {
      const hidden = { events: hide([...events, ...decide(fact).events]), requests: hide(requests) };
      await takeUnlessCancelled(await releaseRun(deps.db, { ...rest, ...hidden, run: row }));
    },
    async hold({ fact, result, ...rest }) {
      const hidden = { events: hide(decide(fact).events), result: hideResult(result) };
      await takeUnlessCancelled(await holdRun(deps.db, { ...rest, ...hidden, run: row }));
    },
    async awaitChecks({ fact, events, effectId, effect }) {
      const hidden = { events: hide([...events, ...decide(fact).events]), effect: { ...effect, result: hideResult(effect.result) } };
      await takeUnlessCancelled(await awaitChecks(deps.db, { ...hidden, effectId, run: row }));
      deps.wakes.notify(OUTBOX);
    },
    async noteReplay(replay) {
      take(await noteReplay(deps.db, { run: row, replay }));
    },
    async happen(fact, more = {}) {
      const decided = decide(fact);
      await commit({
        ...more,
        events: [...(more.events ?? []), ...decided.events],
        change: { ...more.change, ...changeOf(decided.state, fact) },
      });
    },
  };
}

/** What a decided fact writes beside its events. */
function changeOf(state: { readonly status: RunRow["status"]; readonly phase: RunRow["phase"] }, fact: RunFact): RunChange {
  switch (fact.type) {
    case "finished":
      return { status: "completed", result: fact.result };
    case "broke":
      return { status: "failed", error: fact.error };
    case "deadline_passed":
      return { status: "timeout", error: fact.error };
    case "cancelled":
      return { status: "cancelled" };
    default:
      return { phase: state.phase };
  }
}
