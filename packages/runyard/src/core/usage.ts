/** Running totals of a run's model calls; null: nothing known. */
export interface UsageTotals {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
  readonly modelCalls: number;
  readonly failedModelCalls: number;
}

export const NO_USAGE: UsageTotals = { inputTokens: null, outputTokens: null, cachedInputTokens: null, modelCalls: 0, failedModelCalls: 0 };

/** What one model call used, as its provider counted it. */
export interface CallUsage {
  readonly ok: boolean;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
}

/** The totals with one more call; an unknown figure leaves a total as it is. */
export function addCall(totals: UsageTotals, call: CallUsage): UsageTotals {
  return {
    inputTokens: add(totals.inputTokens, call.inputTokens),
    outputTokens: add(totals.outputTokens, call.outputTokens),
    cachedInputTokens: add(totals.cachedInputTokens, call.cachedInputTokens),
    modelCalls: totals.modelCalls + 1,
    failedModelCalls: totals.failedModelCalls + (call.ok ? 0 : 1),
  };
}

function add(total: number | null, more: number | null): number | null {
  return more === null ? total : (total ?? 0) + more;
}
