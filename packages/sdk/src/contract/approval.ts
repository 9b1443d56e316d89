import { z } from "zod";
import { estimateSchema } from "./estimate.ts";

const MAX_REASON_CHARS = 20_000;

/**
 * US dollars: a run that is estimated to cost more, or of which nobody knows what it costs, waits for a person before it
 * begins. Of the limits that hold for a run the lowest counts.
 */
export const approvalAboveUsdSchema = z.number().min(0).max(1_000_000);

/** Body of `POST /v1/agent-runs/{id}/reject`. */
export const rejectRunSchema = z.strictObject({
  reason: z
    .string()
    .trim()
    .min(1, "must not be empty")
    .max(MAX_REASON_CHARS)
    .refine((text) => !text.includes("\0"), "must not contain NUL")
    .optional(),
});
export type RejectRunRequest = z.input<typeof rejectRunSchema>;

export const approvalSchema = z.object({
  /** What the turn was estimated to take. */
  estimate: estimateSchema,
  /** The limit that it is above, in US dollars. */
  aboveUsd: z.number(),
});
/** Why a turn waits for a person before it begins. */
export type Approval = z.infer<typeof approvalSchema>;

const person = { userId: z.string(), userName: z.string().optional() };

export const approvalEventSchemas = {
  /** The turn does not begin before somebody decides. `title`: why, in words. */
  "approval.requested": z.object({ approvalId: z.string(), title: z.string(), ...approvalSchema.shape }),
  "approval.granted": z.object({ approvalId: z.string(), ...person }),
  "approval.rejected": z.object({ approvalId: z.string(), reason: z.string(), ...person }),
};
