import { type rejectRunSchema, type Run, type RunError, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import { approvalTitle, lowestLimit, needsApproval } from "../core/approval.ts";
import { type RunFact, transition } from "../core/run-machine.ts";
import { type Answerer, personOf } from "../store/answer-permission.ts";
import { type ApprovalAnswer, decideApproval, findApproval } from "../store/approvals.ts";
import { decideHeld, lastHold } from "../store/holds.ts";
import { machineState, type NewApproval, type RunRow } from "../store/run-row.ts";
import { toRun } from "../store/run-shown.ts";
import type { StoredRun } from "../store/runs.ts";
import type { EngineOptions } from "./engine.ts";
import { estimateTurn, type TurnToEstimate } from "./estimate.ts";
import type { Principal } from "./identity.ts";
import { CLAIM } from "./wakes.ts";

/** The limit that holds for a turn, in US dollars, and the approval that it waits for. */
export interface ApprovalRule {
  /** Null: there is none. */
  readonly aboveUsd: number | null;
  /** Null: it begins by itself. */
  readonly approval: NewApproval | null;
}

/** Whether a turn waits for a person because of what it may cost: by the lowest limit that somebody has set. */
export async function approvalRuleFor(
  options: EngineOptions,
  turn: TurnToEstimate & {
    /** Counts from 1. */
    readonly number: number;
    /** What the run and its agent say, or what the run had before, and what its repository and its organization say. */
    readonly limits: readonly (number | null | undefined)[];
  },
): Promise<ApprovalRule> {
  const aboveUsd = lowestLimit(turn.limits);
  if (aboveUsd === null) return { aboveUsd, approval: null };
  const estimate = await estimateTurn(options, turn);
  if (!needsApproval(estimate, aboveUsd)) return { aboveUsd, approval: null };
  const approval = { estimate, aboveUsd };
  return { aboveUsd, approval: { id: approvalIdOf(turn.number), request: { title: approvalTitle(approval), toolKind: null, approval } } };
}

/** What the log says of a turn that waits. */
export function requestedFact({ id, request }: NewApproval): Extract<RunFact, { type: "approval_requested" }> {
  const { title, approval } = request;
  return { type: "approval_requested", request: { approvalId: id, title, ...approval } };
}

function rejectedError(run: RunRow, title: string, reason: string | null): RunError {
  const why = reason === null ? "A person rejected that" : `A person rejected that (${reason})`;
  const message = `${title}. ${why}, so nothing was published; \`runyard diff ${run.id}\` shows the change.`;
  return { type: "policy-violation", message };
}

/** A turn asks once. */
function approvalIdOf(turn: number): string {
  return `approval_${turn}`;
}

/** Commands about approvals. All throw `run_not_found` and `approval_not_open`; the same decision again changes nothing. */
export function createApprovals(
  deps: Pick<EngineOptions, "db" | "wakes" | "now">,
  load: (orgId: string, runId: string) => Promise<StoredRun>,
) {
  const { db, wakes, now } = deps;

  async function decide(
    principal: Principal,
    runId: string,
    verdict: { readonly answer: ApprovalAnswer; readonly reason: string | null },
  ): Promise<Run> {
    const { run } = await load(principal.orgId, runId);
    const person = await personOf(db, principal);
    // A turn that has a result has been approved before, if it had to be.
    const held = await lastHold(db, run);
    if (held !== undefined) return decideResult(principal, run, { ...verdict, held, person });
    const id = approvalIdOf(run.turn);
    const fact: RunFact =
      verdict.answer === "approved"
        ? { type: "approval_granted", grant: { approvalId: id, ...person } }
        : {
            type: "approval_rejected",
            rejection: { approvalId: id, reason: verdict.reason ?? "A person rejected what it may cost", ...person },
          };
    const decided = transition(machineState(run), fact);
    const words = { run, id, answer: verdict.answer, by: person.userId };
    const isDecided = decided.ok && (await decideApproval(db, { ...words, events: decided.events })) !== undefined;
    return told(principal, run, { id, answer: verdict.answer, isDecided });
  }

  /** The same about a result that waits to be published. */
  async function decideResult(
    principal: Principal,
    run: RunRow,
    verdict: {
      readonly answer: ApprovalAnswer;
      readonly reason: string | null;
      readonly held: NonNullable<Awaited<ReturnType<typeof lastHold>>>;
      readonly person: Answerer;
    },
  ): Promise<Run> {
    const { answer, reason, held, person } = verdict;
    const error = answer === "approved" ? null : rejectedError(run, held.request.title, reason);
    const fact: RunFact =
      error === null
        ? { type: "approval_granted", grant: { approvalId: held.id, ...person } }
        : {
            type: "hold_rejected",
            rejection: { approvalId: held.id, reason: reason ?? "A person rejected that it is published", ...person },
            error,
          };
    const decided = transition(machineState(run), fact);
    const words = { run, id: held.id, answer, by: person.userId, error };
    const isDecided = decided.ok && (await decideHeld(db, { ...words, events: decided.events })) !== undefined;
    return told(principal, run, { id: held.id, answer, isDecided });
  }

  async function told(
    principal: Principal,
    run: RunRow,
    decision: { readonly id: string; readonly answer: ApprovalAnswer; readonly isDecided: boolean },
  ): Promise<Run> {
    if (decision.isDecided) {
      wakes.notify(run.id);
      wakes.notify(CLAIM);
    } else await requireSame(run, decision.id, decision.answer);
    const after = await load(principal.orgId, run.id);
    return toRun(after.run, after.open, now());
  }

  /** Throws unless the approval was answered like this before. */
  async function requireSame(run: RunRow, id: string, answer: ApprovalAnswer): Promise<void> {
    const found = await findApproval(db, run, id);
    if (found?.answer === answer) return;
    const what =
      found === undefined
        ? "it asked for none"
        : found.answer === null
          ? "it ended before anybody decided"
          : `${found.userName ?? "somebody"} has ${found.answer} it`;
    throw new RunyardError(
      "approval_not_open",
      `Turn ${run.turn} of run ${run.id} waits for no approval: ${what}. \`waitingFor\` of a run says what it waits for.`,
    );
  }

  return {
    approveRun: (principal: Principal, runId: string): Promise<Run> => decide(principal, runId, { answer: "approved", reason: null }),
    rejectRun(principal: Principal, runId: string, input: z.output<typeof rejectRunSchema>): Promise<Run> {
      return decide(principal, runId, { answer: "rejected", reason: input.reason ?? null });
    },
  };
}
