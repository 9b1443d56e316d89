import type { EventData, NewEvent, RunError, RunPhase, RunResult, RunStatus } from "@runyard/sdk/contract";

/** What the run machine knows of a run: the part of its row that decides what may happen next. */
export interface RunState {
  readonly status: RunStatus;
  readonly phase: RunPhase;
  /** Starts at 1; each `continue` begins the next. */
  readonly turn: number;
  /** 0 until a runner has claimed the run for the first time; never goes back. */
  readonly attempt: number;
  /** Permissions and questions that wait for a person. */
  readonly openRequests: number;
}

/** What can happen to a run. */
export type RunFact =
  | { readonly type: "claimed"; readonly runnerId: string }
  | { readonly type: "entered"; readonly phase: RunPhase }
  /** The attempt is over without a result and the retry policy allows the next one. */
  | { readonly type: "retried"; readonly retry: EventData<"run.retrying"> }
  /** The runner was lost: the run waits for another one to begin the next attempt. */
  | { readonly type: "requeued"; readonly retry: EventData<"run.retrying"> }
  | { readonly type: "asked"; readonly requests: number }
  | { readonly type: "answered" }
  | { readonly type: "plan_proposed" }
  | { readonly type: "plan_approved" }
  | { readonly type: "plan_revised" }
  | { readonly type: "plan_rejected"; readonly reason: string }
  | { readonly type: "finished"; readonly result: RunResult }
  | { readonly type: "broke"; readonly error: RunError }
  | { readonly type: "deadline_passed"; readonly error: RunError }
  | { readonly type: "cancelled"; readonly reason: string }
  /** A new prompt for a run whose turn has ended. */
  | { readonly type: "continued"; readonly prompt: string };

type FactType = RunFact["type"];

/**
 * The life of a run, as one table: the status that follows a fact, by the status before it. What is
 * not in the table cannot happen (design: "A run's life").
 */
const NEXT: Record<RunStatus, Partial<Record<FactType, RunStatus>>> = {
  pending: { claimed: "running", broke: "failed", cancelled: "cancelled" },
  running: {
    entered: "running",
    retried: "running",
    requeued: "pending",
    asked: "awaiting_input",
    plan_proposed: "awaiting_plan",
    finished: "completed",
    broke: "failed",
    deadline_passed: "timeout",
    cancelled: "cancelled",
  },
  awaiting_input: {
    asked: "awaiting_input",
    answered: "running",
    retried: "running",
    requeued: "pending",
    finished: "completed",
    broke: "failed",
    cancelled: "cancelled",
  },
  awaiting_plan: {
    plan_approved: "running",
    plan_revised: "running",
    plan_rejected: "cancelled",
    broke: "failed",
    cancelled: "cancelled",
  },
  completed: { continued: "pending" },
  failed: { continued: "pending" },
  cancelled: { continued: "pending" },
  timeout: { continued: "pending" },
};

/** Whether a fact can happen to a run in this status. */
export function canHappen(status: RunStatus, fact: FactType): boolean {
  return NEXT[status][fact] !== undefined;
}

export type Transition = { readonly ok: true; readonly state: RunState; readonly events: readonly NewEvent[] } | { readonly ok: false };

/**
 * What becomes of a run when a fact happens: its next state and the events that say so, or
 * `ok: false` when the fact cannot happen in this state.
 */
export function transition(state: RunState, fact: RunFact): Transition {
  const table = NEXT[state.status][fact.type];
  if (table === undefined) return { ok: false };
  const openRequests = openRequestsAfter(state, fact);
  // The last answer sets the run going again; before that, it still waits.
  const status = fact.type === "answered" && openRequests > 0 ? "awaiting_input" : table;
  return {
    ok: true,
    state: {
      status,
      phase: phaseAfter(state, fact),
      turn: state.turn + (fact.type === "continued" ? 1 : 0),
      attempt: attemptAfter(state, fact),
      openRequests,
    },
    events: eventsOf(state, fact),
  };
}

function openRequestsAfter(state: RunState, fact: RunFact): number {
  switch (fact.type) {
    case "asked":
      return state.openRequests + fact.requests;
    case "answered":
      return state.openRequests - 1;
    case "entered":
      return state.openRequests;
    default:
      // The attempt or the turn is over: nobody waits for an answer any more.
      return 0;
  }
}

function phaseAfter(state: RunState, fact: RunFact): RunPhase {
  switch (fact.type) {
    case "claimed":
    case "retried":
      return "preparing";
    case "entered":
      return fact.phase;
    case "plan_approved":
      return "building";
    case "plan_revised":
      return "planning";
    case "continued":
    case "requeued":
      return "queued";
    default:
      return state.phase;
  }
}

function attemptAfter(state: RunState, fact: RunFact): number {
  return fact.type === "claimed" || fact.type === "retried" ? state.attempt + 1 : state.attempt;
}

function eventsOf(state: RunState, fact: RunFact): readonly NewEvent[] {
  switch (fact.type) {
    case "continued":
      return [{ type: "message.user", data: { text: fact.prompt } }];
    case "claimed":
      return [
        // A run starts once; each of its turns does.
        ...(state.turn === 1 ? [{ type: "run.started", data: { runnerId: fact.runnerId } } as const] : []),
        { type: "turn.started", data: {} },
        { type: "run.phase", data: { phase: "preparing" } },
      ];
    case "entered":
      return [{ type: "run.phase", data: { phase: fact.phase } }];
    case "retried":
    case "requeued":
      return [{ type: "run.retrying", data: fact.retry }];
    case "finished":
      return [
        { type: "result.regular", data: { result: fact.result } },
        { type: "run.completed", data: { result: fact.result } },
      ];
    case "broke":
      return [{ type: "run.failed", data: { error: fact.error } }];
    case "deadline_passed":
      return [{ type: "run.timeout", data: { error: fact.error } }];
    case "cancelled":
    case "plan_rejected":
      return [{ type: "run.cancelled", data: { reason: fact.reason } }];
    default:
      return [];
  }
}
