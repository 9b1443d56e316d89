import { isTerminal, type NewEvent, type PlanState, TERMINAL_STATUSES } from "@runyard/sdk/contract";
import { type RunFact, transition, type RunState } from "../../src/core/run-machine.ts";

/** What must be true of one run: the pure run machine, and what its writers have said and were told. */
export interface ModelRun {
  readonly id: string;
  readonly orgId: string;
  /** Its place among all runs, as the store gave it. */
  readonly num: number;
  state: RunState;
  owner: string | null;
  runnerId: string | null;
  /** The only runner that may take it up; null: any. */
  onlyRunner: string | null;
  /** Its result waits, or waited in this turn, on the machine of that runner. */
  isHeld: boolean;
  /** Its sandbox has more memory than the smallest. */
  readonly needsMuch: boolean;
  cancelWanted: boolean;
  /** What became of each version of its plan. */
  readonly plans: PlanState[];
  /** Bytes of the agent's journals, those of the present attempt. */
  out: number;
  in: number;
  readonly requests: Map<string, "open" | "answered" | "closed">;
  /** One word for each event, in order. */
  readonly log: string[];
  /** Its pull requests, by their numbers. */
  readonly pulls: Set<number>;
}

/** What must be true of everything that the acts of one sequence have made. */
export interface Model {
  readonly runs: Map<string, ModelRun>;
  /** What each idempotency key, by organization and key, stands for. */
  readonly keys: Map<string, { readonly body: string; readonly runId: string }>;
  /** Pull requests that are stopped, by organization and number. */
  readonly stopped: Set<string>;
}

export const MAX_ACTIVE = 2;
const TERMINAL_EVENTS = TERMINAL_STATUSES.map((status) => `run.${status}`);

/** Somebody has it in hand, and it has a place of its organization's. */
export const isLiving = (run: Pick<ModelRun, "state">): boolean => run.state.inHand;

export function say(run: ModelRun, events: readonly NewEvent[], of: Pick<RunState, "turn" | "attempt"> = run.state): void {
  for (const { type } of events) run.log.push(`${of.turn}/${of.attempt} ${type}`);
}

/**
 * Lets a fact happen to a run of the model, behind what else is said in the same commit; false, and nothing is
 * changed, where the machine has no place for it.
 */
export function happen(run: ModelRun, fact: RunFact, before: readonly NewEvent[] = []): boolean {
  const next = transition(run.state, fact);
  if (!next.ok) return false;
  // What is told of an attempt's end belongs to that attempt.
  const teller = fact.type === "retried" ? run.state : next.state;
  run.state = next.state;
  say(run, [...before, ...next.events], teller);
  if (fact.type === "claimed" || fact.type === "retried") [run.out, run.in] = [0, 0];
  if (next.state.openRequests === 0) for (const [id, is] of run.requests) if (is === "open") run.requests.set(id, "closed");
  if (fact.type === "continued") run.cancelWanted = false;
  if (LEAVE.has(fact.type)) run.owner = null;
  tellHold(run, fact);
  tellApproval(run, fact);
  tellPlans(run, fact);
  return true;
}

const LEAVE: ReadonlySet<RunFact["type"]> = new Set([
  "released",
  "left_asking",
  "continued",
  "approval_requested",
  "held",
  "checks_awaited",
]);

/** Only the runner that made a result can publish it, in the turn that made it. */
function tellHold(run: ModelRun, fact: RunFact): void {
  if (fact.type === "held") [run.onlyRunner, run.isHeld] = [run.runnerId, true];
  if (run.isHeld && isTerminal(run.state.status)) [run.onlyRunner, run.isHeld] = [null, false];
  if (fact.type === "held") run.requests.set(fact.hold.approvalId, "open");
  if (fact.type === "hold_rejected") run.requests.set(fact.rejection.approvalId, "answered");
}

/** A turn asks for one approval at most. */
function tellApproval(run: ModelRun, fact: RunFact): void {
  if (fact.type === "approval_requested") run.requests.set(fact.request.approvalId, "open");
  if (fact.type === "approval_granted") run.requests.set(fact.grant.approvalId, "answered");
  if (fact.type === "approval_rejected") run.requests.set(fact.rejection.approvalId, "answered");
}

function tellPlans(run: ModelRun, fact: RunFact): void {
  const last = run.plans.length - 1;
  if (fact.type === "plan_proposed") [run.owner] = [null, run.plans.push("proposed")];
  if (fact.type === "plan_approved") {
    run.plans[last] = fact.edit === null ? "approved" : "edited";
    if (fact.edit !== null) run.plans.push("approved");
  }
  if (fact.type === "plan_revised") run.plans[last] = "revised";
  if (fact.type === "plan_rejected") run.plans[last] = "rejected";
  if (fact.type === "cancelled" && run.plans[last] === "proposed") run.plans[last] = "withdrawn";
}

export function runsOf(model: Model, orgId: string): ModelRun[] {
  return [...model.runs.values()].filter((run) => run.orgId === orgId).toSorted((a, b) => a.num - b.num);
}

export function countsOf(model: Model, orgId: string): { readonly active: number; readonly queued: number } {
  const runs = runsOf(model, orgId);
  return { active: runs.filter(isLiving).length, queued: runs.filter((run) => run.state.status === "pending").length };
}

/** What a look at the store sees of one run. */
export interface SeenRun {
  readonly id: string;
  readonly status: string;
  readonly phase: string;
  readonly turn: number;
  readonly attempt: number;
  readonly open_requests: number;
  readonly owner: string | null;
  readonly last_seq: number;
  readonly out: number;
  readonly in: number;
  readonly cancel_wanted: boolean;
  readonly begun: boolean;
  readonly plans: boolean;
  readonly plan_version: number;
  /** Version and state of each plan, in order. */
  readonly versions: readonly (readonly [number, string])[];
  readonly clock_runs: boolean;
  readonly has_ended: boolean;
  /** One word for each event, by seq, with its seq. */
  readonly log: readonly string[];
  readonly open: readonly string[];
  readonly answered: readonly string[];
  /** Offset and length of each line for the agent of the present attempt. */
  readonly inputs: readonly (readonly [number, number])[];
}

export interface Seen {
  readonly runs: readonly SeenRun[];
  readonly slots: readonly { readonly org_id: string; readonly active: number; readonly queued: number }[];
  readonly keys: readonly { readonly key: string; readonly run_id: string }[];
}

/** Why the store is not what it must be, or null. */
export function difference(model: Model, seen: Seen): string | null {
  const complaints = [...model.runs.values()].flatMap((run) => {
    const stored = seen.runs.find((one) => one.id === run.id);
    return stored === undefined ? `${run.id} is not there` : wrongWith(run, stored);
  });
  for (const { id } of seen.runs) if (!model.runs.has(id)) complaints.push(`${id} should not be there`);
  for (const { org_id: orgId, active, queued } of seen.slots)
    complaints.push(...unless(`slots of ${orgId}`, { active, queued }, countsOf(model, orgId)));
  const keys = [...model.keys].map(([key, { runId }]) => `${key} ${runId}`).toSorted();
  complaints.push(...unless("keys", seen.keys.map(({ key, run_id: runId }) => `${key} ${runId}`).toSorted(), keys));
  return complaints.length === 0 ? null : complaints.join("\n");
}

function wrongWith(run: ModelRun, stored: SeenRun): string[] {
  const { status, phase, turn, attempt, openRequests, begun, plans } = run.state;
  const requests = (wanted: string): string[] => [...run.requests].flatMap(([id, is]) => (is === wanted ? id : [])).toSorted();
  const ended = isTerminal(status);
  const { log, inputs, ...rest } = stored;
  const expected: Omit<SeenRun, "log" | "inputs"> = {
    id: run.id,
    status,
    phase,
    turn,
    attempt,
    open_requests: openRequests,
    owner: run.owner,
    last_seq: run.log.length,
    out: run.out,
    in: run.in,
    cancel_wanted: run.cancelWanted,
    begun,
    plans,
    plan_version: run.plans.length,
    versions: run.plans.map((is, at) => [at + 1, is]),
    clock_runs: status === "running" && run.state.inHand,
    has_ended: ended,
    open: requests("open"),
    answered: requests("answered"),
  };
  return [
    ...unless(run.id, rest, expected),
    ...unless(
      `log of ${run.id}`,
      log,
      run.log.map((word, index) => `${index + 1}: ${word}`),
    ),
    ...wrongEndings(run.id, log, ended ? turn : turn - 1),
    ...(run.state.openRequests === expected.open.length ? [] : [`${run.id} has ${expected.open.join()} open, and counts ${openRequests}`]),
    ...wrongInputs(run.id, inputs, stored.in),
  ];
}

/** Every turn that is over has one terminal event, as its last; one that goes on has none. */
function wrongEndings(id: string, log: readonly string[], turnsOver: number): string[] {
  const endings = log.filter((word) => TERMINAL_EVENTS.some((type) => word.endsWith(` ${type}`)));
  const turns = endings.map((word) => Number(/^\d+: (\d+)\//.exec(word)?.[1]));
  return unless(
    `turns of ${id} that have ended`,
    turns,
    Array.from({ length: turnsOver }, (_, index) => index + 1),
  );
}

function wrongInputs(id: string, inputs: SeenRun["inputs"], size: number): string[] {
  let end = 0;
  for (const [offset, length] of inputs) {
    if (offset !== end) return [`a line for ${id} begins at ${offset}, not at ${end}`];
    end += length;
  }
  return end === size ? [] : [`${id} has lines of ${end} bytes for its agent, and counts ${size}`];
}

function unless(what: string, seen: unknown, wanted: unknown): string[] {
  const [a, b] = [JSON.stringify(sorted(seen)), JSON.stringify(sorted(wanted))];
  return a === b ? [] : [`${what}: the store has\n  ${a}\nand it must be\n  ${b}`];
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
