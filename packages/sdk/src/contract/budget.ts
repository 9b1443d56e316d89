import { z } from "zod";

/** What a run may use at most, all of its turns and attempts together; what is left out has no limit. */
export const budgetSchema = z.strictObject({
  /** US dollars. */
  usd: z.number().positive().max(1_000_000).optional(),
  /** Input and output tokens together. */
  tokens: z.int().positive().optional(),
});
export type Budget = z.infer<typeof budgetSchema>;
