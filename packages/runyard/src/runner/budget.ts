import { money, type NewEvent, type RunError } from "@runyard/sdk/contract";
import { budgetOf, warns } from "../core/spending.ts";
import type { UsageTotals } from "../core/usage.ts";
import type { BudgetLine } from "../gateway/exchange-journal.ts";
import type { RunBudget } from "../gateway/client.ts";
import { budgetFigures, type RunRow, spentOf } from "../store/run-row.ts";
import { findOrganization } from "../store/settings.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { RunFailure } from "./run-handle.ts";

/** What the gateway is told of what a run may spend: its budget, and its share of what its organization and its saved agent may. Also what was spent on other hosts. */
export function gatewayBudget(row: RunRow): { readonly budget?: RunBudget } {
  const budget = budgetOf(row.spec.budget);
  const { allowance_nano: allowance, allowance_from_nano: from } = row;
  const share = allowance === null ? null : (from ?? 0) + allowance;
  if (budget === null && share === null) return {};
  const own = budget?.nanoUsd ?? null;
  const isShare = share !== null && (own === null || share < own);
  const { nanoUsd, tokens } = spentOf(row.usage);
  const spent = { spentNanoUsd: nanoUsd, spentTokens: tokens, readTo: row.usage_cursor };
  return { budget: { nanoUsd: isShare ? share : own, tokens: budget?.tokens ?? null, ...spent, isShare } };
}

/** Whether what a run spends is bounded. */
export function isBounded(row: RunRow): boolean {
  return row.allowance_nano !== null || budgetOf(row.spec.budget) !== null;
}

/** Throws RunFailure for a run that was taken up with nothing left of what its organization may spend today. */
export async function requireShare(ctx: Pick<RunnerContext, "db" | "now">, row: RunRow): Promise<void> {
  if (row.allowance_nano !== 0) return;
  const { dailyCapUsd } = await findOrganization(ctx.db, row.org_id);
  const cap = dailyCapUsd === null ? "what it may spend today" : `its daily cap of ${money(dailyCapUsd)}`;
  const message = `The organization has spent ${cap}. The next day begins at ${nextDay(ctx.now())} (UTC); then: runyard continue ${row.id} "go on". Or raise the cap: runyard organization --daily-cap <dollars>.`;
  throw new RunFailure({ type: "budget-exceeded", message });
}

/** 2026-11-21 00:00. */
function nextDay(nowMs: number): string {
  const dayMs = 24 * 3_600_000;
  return new Date((Math.floor(nowMs / dayMs) + 1) * dayMs).toISOString().slice(0, 16).replace("T", " ");
}

/** What a run's log says of its budget, once its calls have come to `after` and the gateway has told what stood in the way. */
export function budgetEvents(row: RunRow, after: UsageTotals, line: BudgetLine | null): NewEvent[] {
  const events: NewEvent[] = [];
  const budget = budgetOf(row.spec.budget);
  const spent = spentOf(after);
  if (budget !== null && warns(budget, spentOf(row.usage), spent))
    events.push({ type: "budget.warned", data: budgetFigures(budget, spent) });
  if (line === null) return events;
  const told = budgetFigures(line, { nanoUsd: line.spentNanoUsd, tokens: line.spentTokens });
  return [...events, { type: "budget.exceeded", data: { ...told, message: line.message } }];
}

/** Throws RunFailure for a run that has come to the end of its budget. */
export function requireBudget(ctx: Pick<RunnerContext, "home">, row: RunRow): void {
  const message = exceededIn(row);
  if (message === undefined) return;
  const { workspace } = attemptDirs(ctx.home, row);
  const goesOn = `runyard continue ${row.id} "go on"`;
  const advice =
    gatewayBudget(row).budget?.isShare === true
      ? `When the cap has room again it goes on: ${goesOn}.`
      : `With a bigger budget it goes on: ${goesOn} ${budgetOptions(row)}.`;
  const error: RunError = {
    type: "budget-exceeded",
    message: `${message} Nothing was made of its work; what the agent left is in ${workspace}. ${advice}`,
  };
  throw new RunFailure(error);
}

/** The options that make each limit of the run's budget a bigger one. */
function budgetOptions({ spec: { budget } }: RunRow): string {
  const options = [
    ...(budget?.usd === undefined ? [] : ["--budget <dollars>"]),
    ...(budget?.tokens === undefined ? [] : ["--budget-tokens <number>"]),
  ];
  return options.join(" ");
}

function exceededIn(row: RunRow): AttemptState["exceeded"] {
  return attemptState(row).exceeded;
}
