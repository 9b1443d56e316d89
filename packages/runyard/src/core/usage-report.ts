import type { EventData, ModelCall, RunUsage, UsageSum } from "@runyard/sdk/contract";

/** What one event of type `usage.updated` says, with its place in the log. */
export interface UsageEvent {
  readonly turn: number;
  readonly attempt: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly data: EventData<"usage.updated">;
}

const NO_CALLS: UsageSum = {
  modelCalls: 0,
  failedModelCalls: 0,
  inputTokens: null,
  outputTokens: null,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costUsd: null,
  unpricedCalls: 0,
};

/**
 * What a run used: by turn, by model, and call by call, as its log has it. `total` is what the run itself says; calls of
 * an earlier version, which are in no event, are in that alone.
 */
export function reportUsage(total: UsageSum, events: readonly UsageEvent[]): Omit<RunUsage, "runId" | "simulated"> {
  const calls = events.flatMap(({ turn, attempt, at, data }) => (data.calls ?? []).map((call) => ({ ...call, turn, attempt, at })));
  return {
    total,
    turns: groups(calls, ({ turn }) => String(turn)).map(([first, sum]) => ({ turn: first.turn, ...sum })),
    models: groups(calls, ({ provider, model }) => JSON.stringify([provider, model])).map(([{ provider, model }, sum]) => ({
      provider,
      model,
      ...sum,
    })),
    calls,
  };
}

/** The sums of the groups, each with its first call, in the order of those. */
function groups<T extends ModelCall>(calls: readonly T[], keyOf: (call: T) => string): [T, UsageSum][] {
  const found = new Map<string, [T, UsageSum]>();
  for (const call of calls) {
    const [first, sum] = found.get(keyOf(call)) ?? [call, NO_CALLS];
    found.set(keyOf(call), [first, withCall(sum, call)]);
  }
  return [...found.values()];
}

function withCall(sum: UsageSum, call: ModelCall): UsageSum {
  return {
    modelCalls: sum.modelCalls + 1,
    failedModelCalls: sum.failedModelCalls + (call.ok ? 0 : 1),
    inputTokens: add(sum.inputTokens, call.inputTokens),
    outputTokens: add(sum.outputTokens, call.outputTokens),
    cachedInputTokens: add(sum.cachedInputTokens, call.cachedInputTokens),
    cacheWriteTokens: add(sum.cacheWriteTokens, call.cacheWriteTokens),
    reasoningTokens: add(sum.reasoningTokens, call.reasoningTokens),
    // Sums of dollars as they are told: in whole nano dollars, which a sum of fractions would leave.
    costUsd: call.costUsd === null ? sum.costUsd : Math.round(((sum.costUsd ?? 0) + call.costUsd) * 1e9) / 1e9,
    unpricedCalls: sum.unpricedCalls + (call.costUsd === null ? 1 : 0),
  };
}

function add(sum: number | null, more: number | null): number | null {
  return more === null ? sum : (sum ?? 0) + more;
}
