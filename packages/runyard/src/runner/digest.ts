import type { EventData, ModelCall, NewEvent } from "@runyard/sdk/contract";
import { type ConversationSpec, receive } from "../agents/acp/conversation.ts";
import { seeOutages } from "../core/outages.ts";
import { progressAfter, progressReported } from "../core/progress.ts";
import { addCall, type StoredUsage, type UsageTotals, usageTotals, usdOrNull } from "../core/usage.ts";
import type { EgressLine, ExchangeClose, SecretUseLine } from "../gateway/exchange-journal.ts";
import { readShimPid } from "../sandbox/run-directory.ts";
import type { RunChange } from "../store/runs.ts";
import type { Batch } from "./agent-output.ts";
import { budgetEvents } from "./budget.ts";
import { type AttemptState, attemptState, type TurnState } from "./attempt-state.ts";
import { noteDivergences } from "./replay.ts";
import { hideInLines, withoutHalves } from "./hide-in-lines.ts";
import type { RunHandle } from "./run-handle.ts";

/**
 * Decides what a batch means and commits all of it at once: cursors, events, requests, lines, state. `answers`: there are lines for
 * the agent among it.
 */
export async function digest(
  handle: RunHandle,
  input: { batch: Batch; spec: ConversationSpec; turn: TurnState; redact: (text: string) => string; dir: string },
): Promise<{ readonly turn: TurnState; readonly answers: boolean }> {
  const { batch, spec, turn, redact, dir } = input;
  const lines = hideInLines(batch.lines, { redactor: handle.secrets.redactor, redact });
  const step = receive(turn.conversation, spec, lines);
  const diverged = await noteDivergences(handle, batch.divergences);
  const usage = usageAfter(handle.row.usage, batch.calls);
  const failed = batch.calls.findLast((call) => !call.ok);
  const { outage, events: outages } = seeOutages(turn.outage ?? null, batch.calls);
  const next: TurnState = {
    ...turn,
    conversation: step.state,
    outage,
    lastError: failed === undefined ? turn.lastError : { status: failed.status, message: failed.error ?? "no answer" },
  };
  const events = [
    ...step.events.map((event) => withoutHalves(withPid(event, dir), handle.secrets.redactor)),
    ...outages,
    ...deniedEvents(batch.denied),
    ...secretEvents(batch.uses),
    ...callEvents(batch.calls, usage),
    ...diverged,
    ...budgetEvents(handle.row, usage, batch.budget),
  ];
  const exceeded = batch.budget === null ? {} : { exceeded: batch.budget.message };
  const change: RunChange = {
    state: { ...attemptState(handle.row), turn: next, ...exceeded } satisfies AttemptState,
    usage,
    // Steps of the planning are no steps of the work.
    ...(handle.row.plans ? {} : progressChange(handle.row.percentage, events)),
  };
  await handle.commit({ outTo: batch.outTo, usageTo: batch.usageTo, events, requests: step.requests, lines: step.lines, change });
  return { turn: next, answers: step.lines.length > 0 };
}

/** The pid by which people find the agent on the host: its shim's. */
function withPid(event: NewEvent, dir: string): NewEvent {
  return event.type === "agent.started" ? { ...event, data: { ...event.data, pid: readShimPid(dir)?.pid ?? null } } : event;
}

/** The totals with more calls. */
export function usageAfter(stored: StoredUsage, calls: readonly ExchangeClose[]): UsageTotals {
  return calls.reduce(addCall, usageTotals(stored));
}

/** What the gateway did not let programs reach. */
export function deniedEvents(denied: readonly EgressLine[]): NewEvent[] {
  return denied.map(({ target, reason }) => ({ type: "egress.denied", data: { target, reason } }));
}

/** What secrets were put into, in sums. */
export function secretEvents(uses: readonly SecretUseLine[]): NewEvent[] {
  const sums = new Map<string, EventData<"secret.used">>();
  for (const { secret, host, requests } of uses) {
    const key = `${secret} ${host}`;
    sums.set(key, { secret, host, requests: (sums.get(key)?.requests ?? 0) + requests });
  }
  return [...sums.values()].map((data) => ({ type: "secret.used", data }));
}

/** What model calls that have ended add to the log. */
export function callEvents(calls: readonly ExchangeClose[], usage: UsageTotals): NewEvent[] {
  if (calls.length === 0) return [];
  const source = calls.some((call) => call.settled === "estimate") ? "estimate" : "gateway";
  const { costNanoUsd, spentNanoUsd: _, spentTokens: __, ...totals } = usage;
  const costUsd = usdOrNull(costNanoUsd);
  return [{ type: "usage.updated", data: { source, ...totals, costUsd, calls: calls.map(toModelCall) } }];
}

function toModelCall(call: ExchangeClose): ModelCall {
  const { id, provider, model, costNanoUsd, durationMs, status, ok } = call;
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens } = call;
  const tokens = { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens };
  return { exchangeId: id, provider, model, ...tokens, costUsd: usdOrNull(costNanoUsd), durationMs, status, ok };
}

function progressChange(before: number | null, events: readonly NewEvent[]): { percentage?: number } {
  let percentage = before;
  for (const event of events) {
    if (event.type === "plan.updated") percentage = progressAfter(percentage, event.data.entries);
    if (event.type === "progress.reported") percentage = progressReported(percentage, event.data.percentage);
  }
  return percentage === null || percentage === before ? {} : { percentage };
}
