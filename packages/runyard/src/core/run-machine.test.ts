import { isTerminal, RUN_PHASES, RUN_STATUSES, type RunError, type RunResult, type RunStatus } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canHappen, type RunFact, type RunState, transition } from "./run-machine.ts";

const error: RunError = { type: "agent-error", message: "It broke." };
const result: RunResult = {
  summary: "Done.",
  headBranch: null,
  headCommit: null,
  baseCommit: "a".repeat(40),
  filesChanged: 0,
  insertions: 0,
  deletions: 0,
};

const FACTS: { readonly [T in RunFact["type"]]: Extract<RunFact, { type: T }> } = {
  claimed: { type: "claimed", runnerId: "runner" },
  entered: { type: "entered", phase: "building" },
  retried: { type: "retried", retry: { attempt: 2, error, delayMs: 1_000, timeout: 60_000, sandboxType: "standard" } },
  requeued: { type: "requeued", retry: { attempt: 2, error, delayMs: 0, timeout: 60_000, sandboxType: "standard" } },
  asked: { type: "asked", requests: 2 },
  answered: { type: "answered" },
  plan_proposed: { type: "plan_proposed" },
  plan_approved: { type: "plan_approved" },
  plan_revised: { type: "plan_revised" },
  plan_rejected: { type: "plan_rejected", reason: "No." },
  finished: { type: "finished", result },
  broke: { type: "broke", error },
  deadline_passed: { type: "deadline_passed", error: { type: "timeout", message: "Too long." } },
  cancelled: { type: "cancelled", reason: "Enough." },
  continued: { type: "continued", prompt: "Go on" },
};

const state = (status: RunStatus, more: Partial<RunState> = {}): RunState => ({
  status,
  phase: "building",
  turn: 1,
  attempt: 1,
  openRequests: status === "awaiting_input" ? 1 : 0,
  ...more,
});

/** The whole table once more, written down by hand: every fact that may happen, and where it leads. */
const EXPECTED: Record<RunStatus, Partial<Record<RunFact["type"], RunStatus>>> = {
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
  awaiting_plan: { plan_approved: "running", plan_revised: "running", plan_rejected: "cancelled", broke: "failed", cancelled: "cancelled" },
  completed: { continued: "pending" },
  failed: { continued: "pending" },
  cancelled: { continued: "pending" },
  timeout: { continued: "pending" },
};

describe.each(RUN_STATUSES)("a run that is %s", (status) => {
  test.each(Object.values(FACTS))("$type", (fact) => {
    const next = transition(state(status), fact);
    const expected = EXPECTED[status][fact.type];
    expect(canHappen(status, fact.type)).toBe(expected !== undefined);
    if (expected === undefined) expect(next).toEqual({ ok: false });
    else expect(next).toMatchObject({ ok: true, state: { status: expected } });
  });
});

describe("what else a fact changes", () => {
  const after = (from: RunState, fact: RunFact): RunState => {
    const next = transition(from, fact);
    if (!next.ok) throw new Error(`${fact.type} cannot happen to a run that is ${from.status}`);
    return next.state;
  };

  test("a claim and a retry begin an attempt, in the phase preparing", () => {
    expect(after(state("pending", { phase: "queued", attempt: 0 }), FACTS.claimed)).toMatchObject({ attempt: 1, phase: "preparing" });
    expect(after(state("running", { attempt: 1 }), FACTS.retried)).toMatchObject({ attempt: 2, phase: "preparing" });
  });

  test("only the last answer sets a run going again", () => {
    const asked = after(state("running"), { type: "asked", requests: 2 });
    const once = after(asked, FACTS.answered);
    expect(once).toMatchObject({ status: "awaiting_input", openRequests: 1 });
    expect(after(once, FACTS.answered)).toMatchObject({ status: "running", openRequests: 0 });
  });

  test("a request while another one waits is counted", () => {
    expect(after(state("awaiting_input", { openRequests: 1 }), { type: "asked", requests: 1 })).toMatchObject({ openRequests: 2 });
  });

  test("entering a phase keeps open requests out of it", () => {
    expect(after(state("running"), { type: "entered", phase: "publishing" })).toMatchObject({ phase: "publishing", openRequests: 0 });
  });

  test("an approved plan is built, a revised one is planned again", () => {
    expect(after(state("awaiting_plan", { phase: "planning" }), FACTS.plan_approved).phase).toBe("building");
    expect(after(state("awaiting_plan", { phase: "planning" }), FACTS.plan_revised).phase).toBe("planning");
  });

  test("to continue is a new turn in the queue", () => {
    expect(after(state("failed", { turn: 3 }), FACTS.continued)).toMatchObject({ turn: 4, phase: "queued", status: "pending" });
  });
});

describe("the events that tell of a fact", () => {
  test.each([
    ["claimed", ["run.started", "turn.started", "run.phase"]],
    ["entered", ["run.phase"]],
    ["finished", ["result.regular", "run.completed"]],
    ["broke", ["run.failed"]],
    ["deadline_passed", ["run.timeout"]],
    ["cancelled", ["run.cancelled"]],
    ["plan_rejected", ["run.cancelled"]],
    ["retried", ["run.retrying"]],
    ["asked", []],
  ] as const)("%s", (type, expected) => {
    const status = RUN_STATUSES.find((candidate) => canHappen(candidate, type)) ?? "pending";
    const next = transition(state(status), FACTS[type]);
    expect(next.ok && next.events.map((event) => event.type)).toEqual([...expected]);
  });

  test("a run starts once, each of its turns does", () => {
    const next = transition(state("pending", { phase: "queued", turn: 2 }), FACTS.claimed);
    expect(next.ok && next.events.map((event) => event.type)).toEqual(["turn.started", "run.phase"]);
  });

  test("a later turn begins with its prompt", () => {
    const next = transition(state("completed"), FACTS.continued);
    expect(next.ok && next.events.map((event) => event.type)).toEqual(["message.user"]);
  });
});

const anyFact: fc.Arbitrary<RunFact> = fc.oneof(
  fc.constantFrom(...Object.values(FACTS)),
  fc.record({ type: fc.constant("asked" as const), requests: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ type: fc.constant("entered" as const), phase: fc.constantFrom(...RUN_PHASES) }),
);

test("over any sequence of facts: open requests tell awaiting_input, attempts and turns never go back, every turn ends once", () => {
  fc.assert(
    fc.property(fc.array(anyFact, { maxLength: 60 }), (facts) => {
      let now: RunState = { status: "pending", phase: "queued", turn: 1, attempt: 0, openRequests: 0 };
      let endings = 0;
      for (const fact of facts) {
        const next = transition(now, fact);
        if (!next.ok) continue;
        const ends = next.events.filter((event) =>
          ["run.completed", "run.failed", "run.cancelled", "run.timeout"].includes(event.type),
        ).length;
        expect(ends).toBe(isTerminal(next.state.status) ? 1 : 0);
        endings += ends;
        expect(next.state.openRequests > 0).toBe(next.state.status === "awaiting_input");
        expect(next.state.attempt).toBeGreaterThanOrEqual(now.attempt);
        expect(next.state.turn).toBeGreaterThanOrEqual(now.turn);
        now = next.state;
      }
      expect(endings).toBe(now.turn - 1 + (isTerminal(now.status) ? 1 : 0));
    }),
  );
});
