import { z } from "zod";

/** Why what a run made is on no branch. */
export const BRANCH_PROBLEMS = [
  "not-authenticated",
  "not-allowed",
  "declined",
  "archived",
  "branch-in-the-way",
  "not-found",
  "moved",
  "host-key",
  "certificate",
  "address-refused",
  "too-large",
  "unavailable",
  "failed",
] as const;
export type BranchProblemCode = (typeof BRANCH_PROBLEMS)[number];

export const branchProblemSchema = z.object({
  code: z.enum(BRANCH_PROBLEMS),
  /** One or two plain sentences: what happened and what to do. */
  message: z.string(),
});
export type BranchProblem = z.infer<typeof branchProblemSchema>;
