import { mkdirSync } from "node:fs";
import path from "node:path";
import type { EventData, NewEvent } from "@runyard/sdk/contract";
import { findPlan } from "../core/plan.ts";
import { planHash } from "../engine/plans.ts";
import { PLANS_DUE } from "../engine/wakes.ts";
import { changedBetween } from "../git/changed-between.ts";
import { planSettings, type RunRow } from "../store/run-row.ts";
import { workToEnd } from "./agent-turn.ts";
import { attemptState, cachePathOf } from "./attempt-state.ts";
import { commitWorkspace, turnBase } from "./commit-workspace.ts";
import { concludedState } from "./conclude-turn.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { leaveAsking, questionsOf } from "./leave-asking.ts";
import { lookAtFurther, writtenInFurther } from "./plan-further.ts";
import { answerAsRecorded } from "./replay-answers.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";

const MAX_NAMED_FILES = 10;

/**
 * Lets the agent make its plan, in a workspace of its own that nobody looks at again, and gives the run out of
 * hand with it: the run waits for a decision, or for answers where the agent left questions. Throws RunFailure where
 * there is no plan, or where the agent changed files and the run is strict about that.
 */
export async function makePlan(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { row } = handle;
  // A copy of a workspace may differ from its commit before the agent has done anything.
  const before = (row.carry?.attempts.length ?? 0) > 0 ? await look("plan-before") : null;
  const furtherBefore = before === null ? null : await lookAtFurther(ctx, handle, { name: "plan-before", end });
  await workToEnd(ctx, handle, { end, stays: false });
  const after = await look("plan-after");
  const furtherAfter = await lookAtFurther(ctx, handle, { name: "plan-after", end });
  const events = writtenNotice(handle.row, [
    ...(await changedBetween(ctx.git, { cachePath: cachePathOf(row), base: turnBase(row), before, after })),
    ...(await writtenInFurther(ctx, handle, { before: furtherBefore, after: furtherAfter })),
  ]);
  // The questions come first: what they are answered with belongs into the plan.
  if (questionsOf(handle.row).length > 0) {
    await leaveAsking(handle, { events });
    return answerAsRecorded(ctx, handle.row);
  }

  const conversation = attemptState(handle.row).turn?.conversation;
  const plan = findPlan({
    handedIn: conversation?.handedIn ?? null,
    steps: conversation?.plan ?? [],
    lastText: conversation?.lastText ?? null,
  });
  if (plan === null)
    throw new RunFailure({ type: "agent-error", message: "The agent ended its turn without a plan: it handed in none and said nothing." });
  await propose(ctx, handle, { plan, events });

  async function look(name: "plan-before" | "plan-after"): Promise<string> {
    const resultsDir = path.join(attemptDirs(ctx.home, row).results, name);
    mkdirSync(resultsDir, { recursive: true, mode: 0o700 });
    return commitWorkspace(ctx, row, { name, resultsDir, redactor: handle.secrets.redactor, end });
  }
}

async function propose(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly plan: NonNullable<ReturnType<typeof findPlan>>; readonly events: readonly NewEvent[] },
): Promise<void> {
  const { row } = handle;
  const { text, source } = options.plan;
  // About a plan of a replay is decided at once, as it was then.
  const dueMs = row.replay === null ? planSettings(row).timeoutMs : 0;
  const hash = planHash(text);
  const dueAt = dueMs === null ? null : new Date(ctx.now() + dueMs).toISOString();
  const plan: EventData<"plan.proposed"> = { version: row.plan_version + 1, text, hash, source, dueAt };
  const state = { ...concludedState(row), summary: text };
  await handle.propose({ fact: { type: "plan_proposed", plan }, events: options.events, state, source, text, hash, dueMs });
  ctx.wakes.notify(PLANS_DUE);
}

/** What is said of files that the agent changed although it was only to plan. Throws RunFailure where that is not to happen. */
function writtenNotice(row: RunRow, written: readonly string[]): NewEvent[] {
  if (written.length === 0) return [];
  const more = written.length - MAX_NAMED_FILES;
  const files = `${written.slice(0, MAX_NAMED_FILES).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  if (planSettings(row).strict)
    throw new RunFailure({
      type: "policy-violation",
      message: `The agent changed files while it was only to plan: ${files}. The run is strict about that (strictPlan). Nothing of it was kept.`,
    });
  const message = `The agent changed files while it was only to plan: ${files}. They were dropped: the plan is carried out in another workspace.`;
  return [{ type: "notice", data: { level: "warning", code: "plan-wrote-files", message } }];
}
