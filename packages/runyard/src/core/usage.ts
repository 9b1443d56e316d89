/** Running totals of a run's model calls; null: nothing known. */
export interface UsageTotals {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
  readonly cacheWriteTokens: number | null;
  readonly reasoningTokens: number | null;
  readonly modelCalls: number;
  readonly failedModelCalls: number;
  /** What the calls with a known cost took together, in nano US dollars; null: none has one. */
  readonly costNanoUsd: number | null;
  /** Calls whose cost is not known. */
  readonly unpricedCalls: number;
  /** What counts against a budget: the cost of a call, or where nobody knows that, all that was set aside for it. */
  readonly spentNanoUsd: number;
  readonly spentTokens: number;
}

export const NO_USAGE: UsageTotals = {
  inputTokens: null,
  outputTokens: null,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  modelCalls: 0,
  failedModelCalls: 0,
  costNanoUsd: null,
  unpricedCalls: 0,
  spentNanoUsd: 0,
  spentTokens: 0,
};

/** Totals as they are stored: those of runs of earlier versions know less. */
export type StoredUsage = Partial<UsageTotals> & Pick<UsageTotals, "modelCalls" | "failedModelCalls">;

/** Stored totals with everything in its place. A call of an earlier version has no known cost. */
export function usageTotals(stored: StoredUsage): UsageTotals {
  const { inputTokens = null, outputTokens = null, unpricedCalls = stored.modelCalls } = stored;
  return { ...NO_USAGE, spentTokens: (inputTokens ?? 0) + (outputTokens ?? 0), ...stored, unpricedCalls };
}

/** What one model call used, as its provider counted it. */
export interface CallUsage {
  readonly ok: boolean;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
  readonly cacheWriteTokens: number | null;
  readonly reasoningTokens: number | null;
  /** Nano US dollars; null: not known. */
  readonly costNanoUsd: number | null;
  /** What counts against a budget. */
  readonly countedNanoUsd: number;
  readonly countedTokens: number;
}

/** The totals with one more call; an unknown figure leaves a total as it is. */
export function addCall(stored: StoredUsage, call: CallUsage): UsageTotals {
  const totals = usageTotals(stored);
  return {
    inputTokens: add(totals.inputTokens, call.inputTokens),
    outputTokens: add(totals.outputTokens, call.outputTokens),
    cachedInputTokens: add(totals.cachedInputTokens, call.cachedInputTokens),
    cacheWriteTokens: add(totals.cacheWriteTokens, call.cacheWriteTokens),
    reasoningTokens: add(totals.reasoningTokens, call.reasoningTokens),
    modelCalls: totals.modelCalls + 1,
    failedModelCalls: totals.failedModelCalls + (call.ok ? 0 : 1),
    costNanoUsd: add(totals.costNanoUsd, call.costNanoUsd),
    unpricedCalls: totals.unpricedCalls + (call.costNanoUsd === null ? 1 : 0),
    spentNanoUsd: totals.spentNanoUsd + call.countedNanoUsd,
    spentTokens: totals.spentTokens + call.countedTokens,
  };
}

function add(total: number | null, more: number | null): number | null {
  return more === null ? total : (total ?? 0) + more;
}

const NANO = 1_000_000_000;

/** US dollars, as the API tells them. */
export function usd(nanoUsd: number): number {
  return nanoUsd / NANO;
}

export function usdOrNull(nanoUsd: number | null): number | null {
  return nanoUsd === null ? null : usd(nanoUsd);
}

/** Nano US dollars, rounded up; what a number cannot hold apart is no fraction. */
export function nanoUsdOf(dollars: number): number {
  return Math.ceil(Math.round(dollars * NANO * 1_000) / 1_000);
}
