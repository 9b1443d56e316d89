import {
  type EventData,
  isTerminal,
  type NewEvent,
  type PullRequest,
  type RunError,
  type RunPhase,
  type RunResult,
  type RunStatus,
} from "@runyard/sdk/contract";

/** What the run machine knows of a run: the part of its row that decides what may happen next. */
export interface RunState {
  readonly status: RunStatus;
  readonly phase: RunPhase;
  /** Starts at 1; each `continue` begins the next. */
  readonly turn: number;
  /** 0 until a runner has claimed the run for the first time; never goes back. */
  readonly attempt: number;
  /** Whether a runner has taken up this turn before: after a wait it is claimed again. */
  readonly begun: boolean;
  /** Whether a runner has it in hand: not while it queues, nor while people take longer than an agent is kept waiting. */
  readonly inHand: boolean;
  /** Whether this turn is to make a plan before anything may be changed. */
  readonly plans: boolean;
  /** Permissions and questions that wait for a person. */
  readonly openRequests: number;
}

/** A run that nobody has taken up yet, and of which nothing else matters. */
export const QUEUED: RunState = {
  status: "pending",
  phase: "queued",
  turn: 1,
  attempt: 0,
  begun: false,
  inHand: false,
  plans: false,
  openRequests: 0,
};

/** What can happen to a run. */
export type RunFact =
  | { readonly type: "claimed"; readonly runnerId: string }
  | { readonly type: "entered"; readonly phase: RunPhase }
  /** The attempt is over without a result and the retry policy allows the next one. */
  | { readonly type: "retried"; readonly retry: EventData<"run.retrying"> }
  /** The runner was lost: the run waits for another one to begin the next attempt. */
  | { readonly type: "requeued"; readonly retry: EventData<"run.retrying"> }
  /** The turn may cost too much to begin by itself. */
  | { readonly type: "approval_requested"; readonly request: EventData<"approval.requested"> }
  | { readonly type: "approval_granted"; readonly grant: EventData<"approval.granted"> }
  | { readonly type: "approval_rejected"; readonly rejection: EventData<"approval.rejected"> }
  /** Its work is done, and what it made is not published before a person says so. */
  | { readonly type: "held"; readonly hold: EventData<"result.held"> }
  | { readonly type: "hold_rejected"; readonly rejection: EventData<"approval.rejected">; readonly error: RunError }
  | { readonly type: "asked"; readonly requests: number }
  | { readonly type: "answered" }
  /** Its agent was let go, because the answers that it waits for did not come for so long. */
  | { readonly type: "released"; readonly notice: EventData<"notice"> }
  /** Its agent ended its turn with questions, and is gone: the answers will be its next prompt. */
  | { readonly type: "left_asking"; readonly questions: readonly EventData<"question.asked">[] }
  | { readonly type: "plan_proposed"; readonly plan: EventData<"plan.proposed"> }
  | { readonly type: "plan_approved"; readonly approval: EventData<"plan.approved">; readonly edit: EventData<"plan.edited"> | null }
  | { readonly type: "plan_revised"; readonly revision: EventData<"plan.revised"> }
  | { readonly type: "plan_rejected"; readonly rejection: EventData<"plan.rejected"> }
  /** What it made is published, and it waits for the checks of that, without a runner. */
  | { readonly type: "checks_awaited"; readonly started: EventData<"checks.started"> }
  /** Checks failed, and the agent is told so: `text`. */
  | { readonly type: "checks_fed_back"; readonly finished: EventData<"checks.finished">; readonly text: string }
  | { readonly type: "finished"; readonly result: RunResult; readonly pullRequest?: PullRequest }
  | { readonly type: "broke"; readonly error: RunError }
  | { readonly type: "deadline_passed"; readonly error: RunError }
  | { readonly type: "cancelled"; readonly reason: string }
  /** A new prompt for a run whose turn has ended. */
  | { readonly type: "continued"; readonly prompt: string; readonly plans: boolean };

type FactType = RunFact["type"];

/**
 * The life of a run, as one table: the status that follows a fact, by the status before it. What is
 * not in the table cannot happen (design: "A run's life").
 */
const NEXT: Record<RunStatus, Partial<Record<FactType, RunStatus>>> = {
  pending: { claimed: "running", approval_requested: "awaiting_input", broke: "failed", cancelled: "cancelled" },
  running: {
    entered: "running",
    retried: "running",
    requeued: "pending",
    asked: "awaiting_input",
    // The answers came in the very moment: it queues to go on with them.
    released: "pending",
    left_asking: "awaiting_input",
    held: "awaiting_input",
    plan_proposed: "awaiting_plan",
    checks_awaited: "running",
    // Its place among the running ones was given up while it waited, so it queues for one again.
    checks_fed_back: "pending",
    finished: "completed",
    broke: "failed",
    deadline_passed: "timeout",
    cancelled: "cancelled",
  },
  awaiting_input: {
    asked: "awaiting_input",
    approval_granted: "pending",
    approval_rejected: "cancelled",
    hold_rejected: "failed",
    answered: "running",
    released: "awaiting_input",
    left_asking: "awaiting_input",
    retried: "running",
    requeued: "pending",
    finished: "completed",
    broke: "failed",
    cancelled: "cancelled",
  },
  awaiting_plan: {
    // Its place among the running ones was given up while it waited, so it queues for one again.
    plan_approved: "pending",
    plan_revised: "pending",
    plan_rejected: "cancelled",
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
  if (table === undefined || !fits(state, fact)) return { ok: false };
  const openRequests = openRequestsAfter(state, fact);
  const status = fact.type === "answered" ? statusAfterAnswer(state, openRequests) : table;
  return {
    ok: true,
    state: {
      status,
      phase: status === "pending" ? "queued" : phaseAfter(state, fact),
      turn: state.turn + (fact.type === "continued" ? 1 : 0),
      attempt: attemptAfter(state, fact),
      inHand: fact.type === "claimed" || (state.inHand && !isTerminal(status) && !LETS_GO.has(fact.type)),
      begun: fact.type === "claimed" || (state.begun && fact.type !== "continued"),
      plans: plansAfter(state, fact),
      openRequests,
    },
    events: eventsOf(state, fact),
  };
}

/** Facts behind which nobody has the run in hand. */
const LETS_GO: ReadonlySet<FactType> = new Set(["released", "left_asking", "held", "plan_proposed", "checks_awaited", "requeued"]);

/** The last answer sets the run going again, where its agent is still there; before that, it still waits. */
function statusAfterAnswer(state: RunState, openRequests: number): RunStatus {
  if (openRequests > 0) return "awaiting_input";
  return state.inHand ? "running" : "pending";
}

/** What the status alone does not tell. */
function fits(state: RunState, fact: RunFact): boolean {
  switch (fact.type) {
    case "plan_proposed":
      return state.plans;
    // What a run waits for before its turn begins is an approval, and nothing else.
    case "approval_requested":
    case "approval_rejected":
      return !state.begun;
    case "approval_granted":
      return !state.begun || isHeld(state);
    case "hold_rejected":
      return isHeld(state);
    case "held":
      return state.phase === "publishing";
    case "answered":
      return state.begun && !isHeld(state);
    case "cancelled":
      return true;
    // A run that waits for its checks has no owner; they decide how it ends.
    case "checks_fed_back":
      return !state.inHand;
    case "finished":
      return state.status === "running" || state.inHand;
    case "broke":
      return state.status !== "awaiting_input" || state.inHand;
    default:
      // Nobody is there who could do more to it.
      return (state.status !== "running" && state.status !== "awaiting_input") || state.inHand;
  }
}

/** Whether it waits before publishing: an agent that could ask is not there any more then. */
export function isHeld({ status, phase, inHand }: Pick<RunState, "status" | "phase" | "inHand">): boolean {
  return status === "awaiting_input" && phase === "publishing" && !inHand;
}

function openRequestsAfter(state: RunState, fact: RunFact): number {
  switch (fact.type) {
    case "asked":
      return state.openRequests + fact.requests;
    case "left_asking":
      return state.openRequests + fact.questions.length;
    case "approval_requested":
    case "held":
      return 1;
    case "answered":
      return state.openRequests - 1;
    case "entered":
    case "released":
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
    case "checks_awaited":
      return "verifying";
    default:
      return state.phase;
  }
}

function plansAfter(state: RunState, fact: RunFact): boolean {
  if (fact.type === "continued") return fact.plans;
  return state.plans && fact.type !== "plan_approved";
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
        ...(state.turn === 1 && !state.begun ? [{ type: "run.started", data: { runnerId: fact.runnerId } } as const] : []),
        ...(state.begun ? [] : [{ type: "turn.started", data: {} } as const]),
        { type: "run.phase", data: { phase: "preparing" } },
      ];
    case "entered":
      return [{ type: "run.phase", data: { phase: fact.phase } }];
    case "retried":
    case "requeued":
      return [{ type: "run.retrying", data: fact.retry }];
    case "approval_requested":
      return [{ type: "approval.requested", data: fact.request }];
    case "approval_granted":
      return [{ type: "approval.granted", data: fact.grant }];
    case "approval_rejected":
      return [
        { type: "approval.rejected", data: fact.rejection },
        { type: "run.cancelled", data: { reason: fact.rejection.reason } },
      ];
    case "held":
      return [{ type: "result.held", data: fact.hold }];
    case "hold_rejected":
      return [
        { type: "approval.rejected", data: fact.rejection },
        { type: "run.failed", data: { error: fact.error } },
      ];
    case "checks_awaited":
      return [
        { type: "run.phase", data: { phase: "verifying" } },
        { type: "checks.started", data: fact.started },
      ];
    case "checks_fed_back":
      return [
        { type: "checks.finished", data: fact.finished },
        { type: "message.user", data: { text: fact.text } },
      ];
    case "finished":
      return [
        fact.pullRequest === undefined
          ? { type: "result.regular", data: { result: fact.result } }
          : { type: "result.pr", data: { result: fact.result, pullRequest: fact.pullRequest } },
        { type: "run.completed", data: { result: fact.result } },
      ];
    case "broke":
      return [{ type: "run.failed", data: { error: fact.error } }];
    case "deadline_passed":
      return [{ type: "run.timeout", data: { error: fact.error } }];
    case "released":
      return [{ type: "notice", data: fact.notice }];
    case "left_asking":
      return fact.questions.map((data) => ({ type: "question.asked", data }));
    case "plan_proposed":
      return [{ type: "plan.proposed", data: fact.plan }];
    case "plan_approved":
      return [
        ...(fact.edit === null ? [] : [{ type: "plan.edited", data: fact.edit } as const]),
        { type: "plan.approved", data: fact.approval },
      ];
    case "plan_revised":
      return [{ type: "plan.revised", data: fact.revision }];
    case "plan_rejected":
      return [
        { type: "plan.rejected", data: fact.rejection },
        { type: "run.cancelled", data: { reason: fact.rejection.reason } },
      ];
    case "cancelled":
      return [{ type: "run.cancelled", data: { reason: fact.reason } }];
    default:
      return [];
  }
}
