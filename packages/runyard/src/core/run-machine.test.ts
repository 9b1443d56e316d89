import { isTerminal, RUN_PHASES, RUN_STATUSES, type RunError, type RunResult, type RunStatus } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canHappen, QUEUED, type RunFact, type RunState, transition } from "./run-machine.ts";

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
  approval_requested: {
    type: "approval_requested",
    request: {
      approvalId: "approval_1",
      title: "Dear.",
      estimate: { cost: 8, executionTime: null, range: { low: 7, high: 9 }, basis: "task", runs: 0 },
      aboveUsd: 5,
    },
  },
  approval_granted: { type: "approval_granted", grant: { approvalId: "approval_1", userId: "u" } },
  approval_rejected: { type: "approval_rejected", rejection: { approvalId: "approval_1", reason: "Too dear.", userId: "u" } },
  held: {
    type: "held",
    hold: {
      approvalId: "publish_1_abc",
      title: "It touches a protected file: CODEOWNERS",
      commit: "abc",
      files: [{ path: "CODEOWNERS", pattern: "CODEOWNERS", policy: "approve" }],
      count: 1,
    },
  },
  hold_rejected: {
    type: "hold_rejected",
    rejection: { approvalId: "publish_1_abc", reason: "Not that.", userId: "u" },
    error: { type: "policy-violation", message: "Rejected." },
  },
  asked: { type: "asked", requests: 2 },
  answered: { type: "answered" },
  released: { type: "released", notice: { level: "info", code: "agent-released", message: "Let go." } },
  left_asking: { type: "left_asking", questions: [{ questionId: "ask_1_1", question: "Which port?" }] },
  plan_proposed: { type: "plan_proposed", plan: { version: 1, text: "Do it.", hash: "h1", source: "message", dueAt: null } },
  plan_approved: { type: "plan_approved", approval: { version: 1, hash: "h1", by: "policy" }, edit: null },
  plan_revised: { type: "plan_revised", revision: { version: 1, feedback: "Shorter.", by: "person", userId: "u" } },
  plan_rejected: { type: "plan_rejected", rejection: { version: 1, reason: "No.", by: "policy" } },
  checks_awaited: { type: "checks_awaited", started: { commit: "c".repeat(40), branch: "runyard/run_1", timeout: 60_000 } },
  checks_fed_back: {
    type: "checks_fed_back",
    finished: { commit: "c".repeat(40), outcome: "fed-back", rounds: 1, checks: [], message: "Checks failed." },
    text: "Put it right.",
  },
  finished: { type: "finished", result },
  broke: { type: "broke", error },
  deadline_passed: { type: "deadline_passed", error: { type: "timeout", message: "Too long." } },
  cancelled: { type: "cancelled", reason: "Enough." },
  continued: { type: "continued", prompt: "Go on", plans: false },
};

const state = (status: RunStatus, more: Partial<RunState> = {}): RunState => ({
  status,
  phase: "building",
  turn: 1,
  attempt: 1,
  begun: status !== "pending",
  inHand: status === "running" || status === "awaiting_input",
  plans: false,
  openRequests: status === "awaiting_input" ? 1 : 0,
  ...more,
});

/** The whole table once more, written down by hand: every fact that may happen, and where it leads. */
const EXPECTED: Record<RunStatus, Partial<Record<RunFact["type"], RunStatus>>> = {
  pending: { claimed: "running", approval_requested: "awaiting_input", broke: "failed", cancelled: "cancelled" },
  running: {
    entered: "running",
    retried: "running",
    requeued: "pending",
    asked: "awaiting_input",
    released: "pending",
    left_asking: "awaiting_input",
    held: "awaiting_input",
    plan_proposed: "awaiting_plan",
    checks_awaited: "running",
    checks_fed_back: "pending",
    finished: "completed",
    broke: "failed",
    deadline_passed: "timeout",
    cancelled: "cancelled",
  },
  awaiting_input: {
    approval_granted: "pending",
    approval_rejected: "cancelled",
    hold_rejected: "failed",
    asked: "awaiting_input",
    answered: "running",
    released: "awaiting_input",
    left_asking: "awaiting_input",
    retried: "running",
    requeued: "pending",
    finished: "completed",
    broke: "failed",
    cancelled: "cancelled",
  },
  awaiting_plan: { plan_approved: "pending", plan_revised: "pending", plan_rejected: "cancelled", cancelled: "cancelled" },
  completed: { continued: "pending" },
  failed: { continued: "pending" },
  cancelled: { continued: "pending" },
  timeout: { continued: "pending" },
};

/** Checks decide about runs that nobody has in hand. */
const inHandFor = ({ type }: Pick<RunFact, "type">) => (type === "checks_fed_back" ? { inHand: false } : {});

describe.each(RUN_STATUSES)("a run that is %s", (status) => {
  test.each(Object.values(FACTS))("$type", (fact) => {
    const isApproval = fact.type.startsWith("approval_");
    const where: Partial<RunState> = {
      ...inHandFor(fact),
      plans: fact.type === "plan_proposed",
      ...(isApproval && { begun: false }),
      ...(fact.type === "held" && { phase: "publishing" }),
      ...(fact.type === "hold_rejected" && { phase: "publishing", inHand: false }),
    };
    const next = transition(state(status, where), fact);
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

  test("a run that was let go of waits for its answers in nobody's hands, and queues with the last of them", () => {
    const waiting = state("awaiting_input", { openRequests: 2, phase: "building" });
    const released = after(waiting, FACTS.released);
    expect(released).toMatchObject({ status: "awaiting_input", openRequests: 2, inHand: false, begun: true, phase: "building" });
    const once = after(released, FACTS.answered);
    expect(once).toMatchObject({ status: "awaiting_input", openRequests: 1, inHand: false });
    expect(after(once, FACTS.answered)).toMatchObject({ status: "pending", phase: "queued", openRequests: 0, inHand: false });
    expect(transition(released, FACTS.retried)).toEqual({ ok: false });
    expect(after(released, FACTS.cancelled)).toMatchObject({ status: "cancelled", openRequests: 0 });
    // The answers were faster.
    expect(after(state("running"), FACTS.released)).toMatchObject({ status: "pending", phase: "queued", inHand: false });
  });

  test("a result that is held waits in nobody's hands, and for an approval only", () => {
    const held = after(state("running", { phase: "publishing" }), FACTS.held);
    expect(held).toMatchObject({ status: "awaiting_input", phase: "publishing", inHand: false, openRequests: 1, begun: true });
    expect(after(held, FACTS.approval_granted)).toMatchObject({ status: "pending", phase: "queued", openRequests: 0, begun: true });
    expect(after(held, FACTS.hold_rejected)).toMatchObject({ status: "failed", openRequests: 0, inHand: false });
    expect(after(held, FACTS.cancelled)).toMatchObject({ status: "cancelled", openRequests: 0 });
    for (const fact of [FACTS.answered, FACTS.approval_rejected, FACTS.approval_requested, FACTS.finished, FACTS.broke])
      expect(transition(held, fact)).toEqual({ ok: false });
    // Nothing is held before there is a result, and what an agent asks is no such approval.
    expect(transition(state("running"), FACTS.held)).toEqual({ ok: false });
    const asking = after(after(state("running"), FACTS.asked), FACTS.released);
    for (const fact of [FACTS.approval_granted, FACTS.hold_rejected]) expect(transition(asking, fact)).toEqual({ ok: false });
  });

  test("an agent that ended its turn with questions leaves its run waiting for all of them in nobody's hands", () => {
    const questions = ["ask_1_1", "ask_1_2"].map((questionId) => ({ questionId, question: "Which?" }));
    const left = after(state("running"), { type: "left_asking", questions });
    expect(left).toMatchObject({ status: "awaiting_input", openRequests: 2, inHand: false, begun: true, phase: "building" });
    const once = after(left, FACTS.answered);
    expect(once).toMatchObject({ status: "awaiting_input", openRequests: 1 });
    expect(after(once, FACTS.answered)).toMatchObject({ status: "pending", phase: "queued", openRequests: 0 });
    expect(after(state("awaiting_input"), FACTS.left_asking)).toMatchObject({ openRequests: 2, inHand: false });
    expect(transition(left, FACTS.left_asking)).toEqual({ ok: false });
  });

  test("a turn that waits for an approval is in nobody's hands: it is let begin, or ends, and is answered by nothing else", () => {
    const waiting = after(QUEUED, FACTS.approval_requested);
    expect(waiting).toMatchObject({ status: "awaiting_input", phase: "queued", openRequests: 1, inHand: false, begun: false, attempt: 0 });
    expect(after(waiting, FACTS.approval_granted)).toEqual(QUEUED);
    expect(after(waiting, FACTS.approval_rejected)).toMatchObject({ status: "cancelled", openRequests: 0 });
    expect(after(waiting, FACTS.cancelled)).toMatchObject({ status: "cancelled", openRequests: 0 });
    for (const fact of [FACTS.answered, FACTS.asked, FACTS.finished, FACTS.broke, FACTS.released, FACTS.claimed, FACTS.approval_requested])
      expect(transition(waiting, fact)).toEqual({ ok: false });
    // What has begun asks for permissions, and is approved by no approval.
    expect(transition(state("awaiting_input"), FACTS.approval_granted)).toEqual({ ok: false });
    expect(transition(state("pending", { begun: true }), FACTS.approval_requested)).toEqual({ ok: false });
    const later = after(after(state("completed"), FACTS.continued), FACTS.approval_requested);
    expect(later).toMatchObject({ status: "awaiting_input", turn: 2, attempt: 1, inHand: false });
  });

  test("a run that waits for its checks is in nobody's hands: they end it or send it back, or somebody cancels it", () => {
    const waiting = after(state("running", { phase: "publishing", turn: 2, attempt: 3 }), FACTS.checks_awaited);
    expect(waiting).toMatchObject({ status: "running", phase: "verifying", inHand: false, turn: 2, attempt: 3 });
    const queued = { status: "pending", phase: "queued", turn: 2, attempt: 3, begun: true, inHand: false } as const;
    expect(after(waiting, FACTS.checks_fed_back)).toMatchObject(queued);
    expect(after(waiting, FACTS.finished)).toMatchObject({ status: "completed" });
    expect(after(waiting, FACTS.broke)).toMatchObject({ status: "failed" });
    expect(after(waiting, FACTS.cancelled)).toMatchObject({ status: "cancelled" });
    for (const fact of [
      FACTS.entered,
      FACTS.retried,
      FACTS.requeued,
      FACTS.asked,
      FACTS.released,
      FACTS.deadline_passed,
      FACTS.checks_awaited,
    ])
      expect(transition(waiting, fact)).toEqual({ ok: false });
    // Nothing goes back to an agent that is at work.
    expect(transition(state("running"), FACTS.checks_fed_back)).toEqual({ ok: false });
  });

  test("a request while another one waits is counted", () => {
    expect(after(state("awaiting_input", { openRequests: 1 }), { type: "asked", requests: 1 })).toMatchObject({ openRequests: 2 });
  });

  test("entering a phase keeps open requests out of it", () => {
    expect(after(state("running"), { type: "entered", phase: "publishing" })).toMatchObject({ phase: "publishing", openRequests: 0 });
  });

  test("an approved plan is built, a revised one is planned again; both queue in the same turn", () => {
    const waiting = state("awaiting_plan", { phase: "planning", plans: true, turn: 2, attempt: 3 });
    const queued = { status: "pending", phase: "queued", turn: 2, attempt: 3, begun: true } as const;
    expect(after(waiting, FACTS.plan_approved)).toMatchObject({ ...queued, plans: false });
    expect(after(waiting, FACTS.plan_revised)).toMatchObject({ ...queued, plans: true });
  });

  test("no plan is proposed where none is to be made", () => {
    expect(transition(state("running"), FACTS.plan_proposed)).toEqual({ ok: false });
  });

  test("a new turn plans or does not, whatever the one before did", () => {
    expect(after(state("completed"), { type: "continued", prompt: "x", plans: true })).toMatchObject({ plans: true, begun: false });
    expect(after(state("cancelled", { plans: true }), FACTS.continued)).toMatchObject({ plans: false, begun: false });
  });

  test("to continue is a new turn in the queue", () => {
    expect(after(state("failed", { turn: 3 }), FACTS.continued)).toMatchObject({ turn: 4, phase: "queued", status: "pending" });
  });
});

describe("the events that tell of a fact", () => {
  test("a result with a pull request is told as such", () => {
    if (FACTS.finished.type !== "finished") throw new Error("it is finished");
    const pullRequest = {
      id: 1,
      number: 7,
      url: "https://github.com/acme/app/pull/7",
      title: "t",
      state: "open" as const,
      merged: false,
      draft: false,
      headBranchName: "h",
      baseBranchName: "main",
      createdAt: "2026-01-01T00:00:00.000Z",
    };
    const next = transition(state("running"), { ...FACTS.finished, pullRequest });
    const data = { result: FACTS.finished.result, pullRequest };
    expect(next).toMatchObject({ ok: true, events: [{ type: "result.pr", data }, { type: "run.completed" }] });
  });

  test.each([
    ["claimed", ["run.started", "turn.started", "run.phase"]],
    ["entered", ["run.phase"]],
    ["finished", ["result.regular", "run.completed"]],
    ["broke", ["run.failed"]],
    ["deadline_passed", ["run.timeout"]],
    ["cancelled", ["run.cancelled"]],
    ["approval_requested", ["approval.requested"]],
    ["approval_granted", ["approval.granted"]],
    ["approval_rejected", ["approval.rejected", "run.cancelled"]],
    ["released", ["notice"]],
    ["left_asking", ["question.asked"]],
    ["plan_proposed", ["plan.proposed"]],
    ["plan_approved", ["plan.approved"]],
    ["plan_revised", ["plan.revised"]],
    ["plan_rejected", ["plan.rejected", "run.cancelled"]],
    ["checks_awaited", ["run.phase", "checks.started"]],
    ["checks_fed_back", ["checks.finished", "message.user"]],
    ["retried", ["run.retrying"]],
    ["asked", []],
  ] as const)("%s", (type, expected) => {
    const status = RUN_STATUSES.find((candidate) => canHappen(candidate, type)) ?? "pending";
    const next = transition(
      state(status, { plans: true, ...(type.startsWith("approval_") && { begun: false }), ...inHandFor({ type }) }),
      FACTS[type],
    );
    expect(next.ok && next.events.map((event) => event.type)).toEqual([...expected]);
  });

  test("a person's own wording is told before it is approved", () => {
    const edit = { version: 2, replaces: 1, text: "Do it well.", hash: "h2", by: "person", userId: "u" } as const;
    const approval = { version: 2, hash: "h2", by: "person", userId: "u" } as const;
    const next = transition(state("awaiting_plan"), { type: "plan_approved", approval, edit });
    expect(next.ok && next.events).toEqual([
      { type: "plan.edited", data: edit },
      { type: "plan.approved", data: approval },
    ]);
  });

  test("a turn that was begun before is not begun again", () => {
    const next = transition(state("pending", { phase: "queued", begun: true }), FACTS.claimed);
    expect(next.ok && next.events.map((event) => event.type)).toEqual(["run.phase"]);
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
      let now: RunState = QUEUED;
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
        const waits = ["awaiting_input", "running"].includes(next.state.status);
        expect(next.state.inHand && !waits).toBe(false);
        expect(next.state.status === "running" && !next.state.inHand && next.state.phase !== "verifying").toBe(false);
        expect(next.state.attempt).toBeGreaterThanOrEqual(now.attempt);
        expect(next.state.turn).toBeGreaterThanOrEqual(now.turn);
        now = next.state;
      }
      expect(endings).toBe(now.turn - 1 + (isTerminal(now.status) ? 1 : 0));
    }),
  );
});
