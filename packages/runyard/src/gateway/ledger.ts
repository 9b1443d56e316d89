import { mkdirSync } from "node:fs";
import { admit, type Amount, type Budget, budgetWords, fits, isWithin } from "../core/spending.ts";
import { type Book, missingIn, openBook } from "./book.ts";
import type { BudgetLine } from "./exchange-journal.ts";
import { exchangesFile, runDir } from "./files.ts";
import { countInput, inputBound, type MeasuredInput } from "./input-bound.ts";
import { appendLines } from "./journal-file.ts";
import { outputLimitOf, refuseUnlimited } from "./output-limit.ts";
import type { Rates } from "./prices.ts";
import type { RunBudget } from "./protocol.ts";
import type { CallEnd, CallRecord } from "./recorder.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";
import { NO_TOKENS, type PreparedRequest, type TokenCounts, type WireFormat } from "./wire-format.ts";

/** The longest answer that a call of a run with a budget may have, where its client does not say how long it may be. */
const UNNAMED_OUTPUT_TOKENS = 32_768;
/** How often calls that wait look what other processes have written. */
const LOOK_MS = 200;
/** Earlier requests of a run that bound its next one, and how much room those of all runs may take. */
const KEPT_REQUESTS = 4;
const KEPT_BYTES = 64 * 1024 * 1024;

/** What a call of a run with a budget may do. */
export interface Grant {
  /** The longest answer, in tokens. */
  readonly output: number;
  /** The most that its input can count. */
  readonly input: number;
  /** The client did not say how long its answer may be. */
  readonly isUnnamed: boolean;
  /** The budget pays for no longer answer. */
  readonly isClamped: boolean;
}

export interface BudgetedCall {
  readonly run: LiveRun;
  readonly budget: RunBudget;
  readonly format: WireFormat;
  readonly request: PreparedRequest;
  readonly rates: Rates | null;
  /** Aborted when nobody waits for an answer any more. */
  readonly signal: AbortSignal;
}

export interface EndedCall {
  readonly record: CallRecord;
  readonly grant: Grant;
  readonly tokens: TokenCounts;
  /** The provider did not keep to the limit, and was cut off. */
  readonly cut: boolean;
}

/** Keeps runs within their budgets, by what their journals say. */
export interface Ledger {
  /**
   * Sets aside what a call may cost and begins it, in one step; waits while other calls hold what it needs. Throws a
   * Refusal where nothing is left, or nobody can say what the call may cost; the signal's reason when that is aborted.
   */
  begin(call: BudgetedCall, open: (reserve: Amount) => CallRecord): Promise<{ readonly record: CallRecord; readonly grant: Grant }>;
  /** A call has ended: others may have what it did not need. Journals that the budget has cut it short, where it has. */
  ended(call: BudgetedCall, how: EndedCall): void;
  /** An answer of this length is not to be had of a model. */
  learnLimit(request: PreparedRequest, tokens: number): void;
}

interface Entry {
  readonly book: Book;
  /** The budget that it was told last, and whether that has stood in the way since. */
  told: RunBudget | null;
  hasSaid: boolean;
  readonly waiting: Set<() => void>;
  kept: (MeasuredInput & { readonly key: string })[];
}

export function createLedger(gatewayDir: string): Ledger {
  const entries = new Map<string, Entry>();
  const limits = new Map<string, number>();

  const entryOf = ({ runId, closed }: LiveRun): Entry => {
    const known = entries.get(runId);
    if (known !== undefined) return known;
    closed.addEventListener("abort", () => entries.delete(runId));
    const entry: Entry = { book: openBook(exchangesFile(gatewayDir, runId)), told: null, hasSaid: false, waiting: new Set(), kept: [] };
    entries.set(runId, entry);
    return entry;
  };

  /** What a run has spent on other hosts goes into this one's journal before it spends more. */
  const carry = (entry: Entry, { run, budget }: BudgetedCall): void => {
    if (entry.told === budget) return;
    entry.book.read();
    const { spentNanoUsd, spentTokens, readTo } = budget;
    const missing = missingIn(entry.book, { spent: { nanoUsd: spentNanoUsd, tokens: spentTokens }, readTo });
    if (missing.nanoUsd > 0 || missing.tokens > 0) {
      mkdirSync(runDir(gatewayDir, run.runId), { recursive: true });
      appendLines(exchangesFile(gatewayDir, run.runId), [{ type: "carried", at: new Date().toISOString(), ...missing }]);
    }
    entry.told = budget;
    entry.hasSaid = false;
  };

  /** Journals that the budget stood in the way; once for each time that a run is told of. */
  const sayExceeded = (
    entry: Entry,
    { run, budget }: BudgetedCall,
    why: { readonly exchangeId: string | null; readonly message: string },
  ): void => {
    if (entry.hasSaid) return;
    const { spent } = entry.book.read();
    const { nanoUsd, tokens } = budget;
    const line: BudgetLine = {
      type: "budget",
      at: new Date().toISOString(),
      ...why,
      nanoUsd,
      tokens,
      spentNanoUsd: spent.nanoUsd,
      spentTokens: spent.tokens,
    };
    mkdirSync(runDir(gatewayDir, run.runId), { recursive: true });
    appendLines(exchangesFile(gatewayDir, run.runId), [line]);
    entry.hasSaid = true;
  };

  const refuse = (entry: Entry, call: BudgetedCall, message: string, code = "budget_exceeded"): Refusal => {
    sayExceeded(entry, call, { exchangeId: null, message });
    return new Refusal(402, code, { message: `${message} Stop here: every further call is refused.` });
  };

  const remember = (entry: Entry, measured: Entry["kept"][number]): void => {
    entry.kept = [measured, ...entry.kept].slice(0, KEPT_REQUESTS);
    let used = 0;
    const others = [...entries.values()].filter((other) => other !== entry);
    for (const other of [entry, ...others]) other.kept = other.kept.filter(({ text }) => (used += text.length) <= KEPT_BYTES);
  };

  return {
    async begin(call, open) {
      const { run, budget, format, request, rates, signal } = call;
      refuseUnlimited(request.body);
      const counted = countInput(request.body);
      const entry = entryOf(run);
      carry(entry, call);
      if (budget.nanoUsd !== null && rates === null) throw refuse(entry, call, unpricedWords(request, budget), "price_unknown");
      const asked = outputLimitOf(format, request.body);
      for (;;) {
        signal.throwIfAborted();
        const account = entry.book.read();
        const { exceeded } = entry.book;
        if (exceeded !== null && isWithin(budget, exceeded)) throw refuse(entry, call, exceededWords(budget, account.spent, ""));
        const input = inputBound(counted, keptFor(entry, call));
        const output = asked ?? Math.min(UNNAMED_OUTPUT_TOKENS, limits.get(modelKey(request)) ?? Infinity);
        const cost = budget.nanoUsd === null || rates === null ? null : rates.atMost;
        const admission = admit(budget, account, { input, output, cost });
        if (admission.verdict === "exceeded") {
          const least = { nanoUsd: cost?.({ input, output: 1 }) ?? 0, tokens: input + 1 };
          throw refuse(
            entry,
            call,
            exceededWords(budget, account.spent, `, and the next model call may take ${amountWords(budget, least)}`),
          );
        }
        if (admission.verdict === "go") {
          const record = open(admission.reserve);
          // Another gateway, which is just leaving or coming, may have begun a call in the same moment: the first in the journal has it.
          const before = entry.book.read(record.id);
          if (fits(budget, before, admission.reserve))
            return { record, grant: { output: admission.output, input, isUnnamed: asked === null, isClamped: admission.isClamped } };
          record.close(WITHDRAWN);
        }
        await change(entry, signal);
      }
    },
    ended(call, { record, grant, tokens, cut }) {
      const entry = entryOf(call.run);
      const { inputTokens, outputTokens } = tokens;
      if (inputTokens !== null && !cut) remember(entry, { ...countInput(call.request.body), inputTokens, key: requestKey(call) });
      const isShort = grant.isClamped && outputTokens !== null && outputTokens >= grant.output;
      if (cut || isShort) {
        const message = cut
          ? "The provider went on with its answer beyond what was left of the budget, so the answer was cut off."
          : exceededWords(call.budget, entry.book.read().spent, ", and its last answer was cut short");
        sayExceeded(entry, call, { exchangeId: record.id, message });
      }
      for (const wake of entry.waiting) wake();
    },
    learnLimit(request, tokens) {
      limits.set(modelKey(request), tokens);
    },
  };
}

const WITHDRAWN: CallEnd = {
  status: null,
  ok: false,
  complete: false,
  error: "Another call came first, and the budget does not pay for both at a time.",
  headers: null,
  tokens: NO_TOKENS,
  isUnsent: true,
};

function keptFor(entry: Entry, call: BudgetedCall): readonly MeasuredInput[] {
  const key = requestKey(call);
  return entry.kept.filter((one) => one.key === key);
}

function modelKey({ provider, model }: PreparedRequest): string {
  return `${provider.name} ${model}`;
}

function requestKey({ format, request }: BudgetedCall): string {
  return `${format.doorPath} ${modelKey(request)}`;
}

/** Resolves when a call of the run has ended, and now and then by itself. */
async function change(entry: Entry, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      entry.waiting.delete(done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, LOOK_MS);
    entry.waiting.add(done);
    signal.addEventListener("abort", done);
  });
}

/** What a budget is called: the run's own, or its share of a daily cap, of its organization or its saved agent. */
function nameOf(budget: RunBudget): string {
  return budget.isShare ? "The run's share of the daily cap," : "The run's budget of";
}

function exceededWords(budget: RunBudget, spent: Amount, more: string): string {
  return `${nameOf(budget)} ${budgetWords(budget)}${budget.isShare ? "," : ""} is used up: ${amountWords(budget, spent)} are spent${more}.`;
}

/** An amount in what a budget counts. */
function amountWords(budget: Budget, amount: Amount): string {
  return budgetWords({
    nanoUsd: budget.nanoUsd === null ? null : amount.nanoUsd,
    tokens: budget.tokens === null ? null : amount.tokens,
  });
}

function unpricedWords({ provider, model }: PreparedRequest, budget: RunBudget): string {
  const dollarsOnly = budgetWords({ ...budget, tokens: null });
  return `${nameOf(budget)} ${dollarsOnly}${budget.isShare ? "," : ""} cannot be kept: nobody knows what the model ${model} costs at the provider ${provider.name}. ${budget.isShare ? "Give the provider its prices" : "Give the run a budget of tokens, or the provider its prices"} in providers.json.`;
}
