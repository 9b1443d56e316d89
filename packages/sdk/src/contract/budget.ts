import { z } from "zod";

/** What a run may use at most, all of its turns and attempts together; what is left out has no limit. */
export const budgetSchema = z.strictObject({
  /** US dollars. */
  usd: z.number().positive().max(1_000_000).optional(),
  /** Input and output tokens together. */
  tokens: z.int().positive().optional(),
  /** It is enough if nothing keeps the run from passing it by an answer: without this a run that calls with its agent's own login may have no budget. */
  advisory: z.boolean().optional(),
});
export type Budget = z.infer<typeof budgetSchema>;

/** How much a budget is worth: nothing passes it; an answer of a subscription, or an agent without isolation, could pass it by; or nobody watches. */
export const BUDGET_ENFORCEMENTS = ["enforced", "advisory", "none"] as const;

const budgetFigures = {
  /** US dollars; null: no limit. */
  usd: z.number().nullable(),
  /** Input and output together; null: no limit. */
  tokens: z.number().int().nullable(),
  /** What counts against it: what calls cost, and all that was set aside for those of which nobody knows that. */
  spentUsd: z.number(),
  spentTokens: z.number().int(),
};

/** A run's budget, and how it stands. */
export const runBudgetSchema = z.object({ ...budgetFigures, enforcement: z.enum(BUDGET_ENFORCEMENTS) });
export type RunBudget = z.infer<typeof runBudgetSchema>;

export const budgetEventSchemas = {
  /** Four fifths of the budget are spent; once for each budget. */
  "budget.warned": z.object(budgetFigures),
  /** The budget stood in the way of a model call: the run ends. `message` says how. */
  "budget.exceeded": z.object({ ...budgetFigures, message: z.string() }),
};

/** $2.50, $0.0496, $0.0000012: cents, of less than a dollar a hundredth of them, of almost nothing two digits. */
export function money(usd: number): string {
  const [least, most] = usd >= 1 || usd === 0 ? [2, 2] : usd >= 0.001 ? [2, 4] : [2, 1 - Math.floor(Math.log10(usd))];
  return `$${usd.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: Math.min(9, most), useGrouping: false })}`;
}

/** How much of a budget is spent: "$1.20 of $1.50, 5,000 of 6,000 tokens". */
export function spentWords({ usd, tokens, spentUsd, spentTokens }: Omit<RunBudget, "enforcement">): string {
  return [
    ...(usd === null ? [] : [`${money(spentUsd)} of ${money(usd)}`]),
    ...(tokens === null ? [] : [`${spentTokens.toLocaleString("en-US")} of ${tokens.toLocaleString("en-US")} tokens`]),
  ].join(", ");
}
