import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent } from "@runyard/sdk/contract";
import { decideNext, leftToWaitMs, type Next, typeInForce } from "../core/attempts.ts";
import { SANDBOX_LIMITS } from "../core/limits.ts";
import { seeOutages } from "../core/outages.ts";
import type { RunFact } from "../core/run-machine.ts";
import type { DivergenceLine, EgressLine, ExchangeClose, SecretUseLine } from "../gateway/exchange-journal.ts";
import { attemptSettings, triesOf } from "../store/attempts-shown.ts";
import { holdMemory } from "../store/memory.ts";
import type { RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import { openExchanges } from "./agent-output.ts";
import { type AttemptState, baseInHand, freshState, knownState } from "./attempt-state.ts";
import { budgetEvents } from "./budget.ts";
import type { RunnerContext } from "./context.ts";
import { carryLost } from "./carry-over.ts";
import { callEvents, deniedEvents, secretEvents, usageAfter } from "./digest.ts";
import { forgetLogin } from "./own-login.ts";
import { noteDivergences } from "./replay.ts";
import type { RunHandle } from "./run-handle.ts";

/** How long the dead attempt's model calls may take to be journalled once they were broken off. */
const LAST_CALLS_MS = 3_000;
const LOOK_MS = 20;

/** Whether an attempt that ended with this fact is followed by another one. */
export async function nextAfter(
  ctx: RunnerContext,
  row: RunRow,
  ended: { readonly fact: RunFact; readonly canGoOn: boolean },
): Promise<Next> {
  const { fact, canGoOn } = ended;
  if (fact.type !== "broke" && fact.type !== "deadline_passed") return { again: false, note: null };
  // By the database's clock, as the deadline is.
  const now = await reloadRun(ctx.db, row);
  return decideNext({
    settings: attemptSettings(row),
    timeoutMs: row.spec.timeoutMs,
    tries: triesOf(row),
    attempt: row.attempt,
    phase: row.phase,
    error: fact.error,
    canGoOn,
    activeMs: now?.active_now_ms ?? row.active_ms,
    nowMs: ctx.now(),
    random: Math.random(),
    hostMemoryBytes: ctx.hostMemoryBytes(),
  });
}

/**
 * Makes the next attempt of a run whose processes are all dead. The old attempt's token is worth nothing
 * from here on, and what its last calls used is in the totals before the new one begins.
 */
export async function beginNext(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly next: Extract<Next, { again: true }>; readonly events: readonly NewEvent[] },
): Promise<void> {
  const { next, events } = options;
  await ctx.gateway.closeRun(handle.row.id);
  forgetLogin(ctx, handle.row);
  await settleCalls(ctx, handle);
  const { memoryBytes } = SANDBOX_LIMITS[typeInForce(attemptSettings(handle.row), next.tries)];
  if (memoryBytes !== handle.row.memory_bytes) await holdMemory(ctx.db, handle.row, memoryBytes);
  const state: AttemptState = { ...freshState(), tries: next.tries, ...baseInHand(handle.row) };
  const carry = next.goesOn ? carryLost(handle.row) : null;
  const told = carry === null ? events : [...events, GOES_ON];
  await handle.retry({ fact: { type: "retried", retry: next.retry }, events: told, state, delayMs: next.retry.delayMs, carry });
}

const GOES_ON: NewEvent = {
  type: "notice",
  data: {
    level: "warning",
    code: "attempt-goes-on",
    message: "The next attempt goes on in the same workspace and, where the agent can take it up, in the same conversation.",
  },
};

/** Puts what the last calls of an attempt took into the totals, once they were broken off. */
export async function settleCalls(ctx: RunnerContext, handle: RunHandle): Promise<void> {
  const exchanges = openExchanges(ctx.gateway.exchangesFile(handle.row.id), handle.row.usage_cursor);
  try {
    const giveUpAtMs = ctx.now() + LAST_CALLS_MS;
    const calls: ExchangeClose[] = [];
    const divergences: DivergenceLine[] = [];
    const denied: EgressLine[] = [];
    const uses: SecretUseLine[] = [];
    let usageTo = handle.row.usage_cursor;
    for (;;) {
      const read = exchanges.read();
      calls.push(...read.calls);
      divergences.push(...read.divergences);
      denied.push(...read.denied);
      uses.push(...read.uses);
      usageTo = read.next;
      if (read.bytes > 0) continue;
      if (exchanges.open() === 0 || ctx.now() >= giveUpAtMs) break;
      await sleep(LOOK_MS);
    }
    if (usageTo === handle.row.usage_cursor) return;
    const usage = usageAfter(handle.row.usage, calls);
    const { events } = seeOutages(knownState(handle.row).turn?.outage ?? null, calls);
    const diverged = await noteDivergences(handle, divergences);
    await handle.commit({
      usageTo,
      events: [
        ...events,
        ...deniedEvents(denied),
        ...secretEvents(uses),
        ...callEvents(calls, usage),
        ...diverged,
        ...budgetEvents(handle.row, usage, null),
      ],
      change: { usage },
    });
  } finally {
    exchanges.close();
  }
}

/**
 * Waits until an attempt may begin, and says so in the log; does nothing for one that has begun. What is
 * waited for is stored, so a restarted server waits for the same moment. Rejects with the reason of `end`.
 */
export async function awaitAttempt(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const tries = triesOf(handle.row);
  if (tries.notBeforeMs === null) return;
  const waits = AbortSignal.any([end, ctx.leaving]);
  await sleep(leftToWaitMs(tries.notBeforeMs, ctx.now()), undefined, { signal: waits }).catch(() => undefined);
  if (end.aborted) throw end.reason;
  if (ctx.leaving.aborted) return;
  const state: AttemptState = { ...freshState(), tries: { ...tries, notBeforeMs: null }, ...baseInHand(handle.row) };
  await handle.happen({ type: "entered", phase: "preparing" }, { change: { state } });
}
