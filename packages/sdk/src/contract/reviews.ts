import { z } from "zod";

/** What a review is posted as: words about the pull request, or a verdict. */
export const REVIEW_EVENTS = ["comment", "approve", "request_changes"] as const;
export const reviewEventSchema = z.enum(REVIEW_EVENTS);
export type ReviewEvent = z.infer<typeof reviewEventSchema>;

/** The pull request that a run looks at, and on which its final answer is posted as one review. */
export const reviewSchema = z.strictObject({
  /** Its number in the run's repository, or the address of its page. */
  pullRequest: z.union([
    z.int().min(1).max(9_999_999_999),
    z
      .string()
      .trim()
      .max(2_048)
      .regex(/^https?:\/\//i, "must be a number, or the address of a pull request"),
  ]),
  /** Default: `comment`. An agent gives no verdict that nobody has asked for. */
  event: reviewEventSchema.optional(),
});
export type ReviewRequest = z.input<typeof reviewSchema>;

/** The pull request of a run that reviews one, as it was when the run was created. */
export const runReviewSchema = z.object({
  url: z.string(),
  number: z.number().int(),
  title: z.string(),
  event: reviewEventSchema,
  /** The branch that it is to go to. */
  baseBranch: z.string(),
  /** The commit that is looked at. */
  headCommit: z.string(),
  /** Whether it comes from another repository. */
  fork: z.boolean(),
});
export type RunReview = z.infer<typeof runReviewSchema>;
