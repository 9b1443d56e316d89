import { z } from "zod";
import { isOneLine } from "./one-line.ts";

/** What becomes of a run's result: nothing but the commit that Runyard keeps, a branch, or a branch and a pull request. */
export const PUBLISH_MODES = ["none", "branch", "pull_request"] as const;
export const publishModeSchema = z.enum(PUBLISH_MODES);
export type PublishMode = (typeof PUBLISH_MODES)[number];

const labelSchema = z.string().trim().min(1).max(50).refine(isOneLine, "must be one line");
/** A user's name, or `organization/team`. */
const reviewerSchema = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98})(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,98})?$/, "must be a user's name, or organization/team");

/** How a run's pull request is made; what is left out has a default. */
export const pullRequestSettingsSchema = z.strictObject({
  /** Default: false. */
  draft: z.boolean().optional(),
  /** Default: the first line of what the run was asked. */
  title: z.string().trim().min(1).max(256).refine(isOneLine, "must be one line").optional(),
  /** Names of labels; default: none. */
  labels: z.array(labelSchema).max(20).optional(),
  /** Who is asked to review; default: nobody. */
  reviewers: z.array(reviewerSchema).max(15).optional(),
  /** Lets mentions (`@name`), references (`#12`) and closing keywords be what they are; default: they are made harmless. */
  allowReferences: z.boolean().optional(),
});
export type PullRequestSettings = z.infer<typeof pullRequestSettingsSchema>;

/** A pull request that a run has made or goes on with, as it was when Runyard last saw it. */
export const pullRequestSchema = z.object({
  /** GitHub's own id. */
  id: z.number().int(),
  number: z.number().int(),
  url: z.string(),
  title: z.string(),
  state: z.enum(["open", "closed"]),
  merged: z.boolean(),
  draft: z.boolean(),
  headBranchName: z.string(),
  baseBranchName: z.string(),
  createdAt: z.iso.datetime(),
});
export type PullRequest = z.infer<typeof pullRequestSchema>;

/** Why there is no pull request, or not the one that was wished for. */
export const PULL_REQUEST_PROBLEMS = [
  "no-credential",
  "not-authenticated",
  "not-allowed",
  "archived",
  "not-found",
  "moved",
  "base-gone",
  "nothing-to-merge",
  "refused",
  "rate-limited",
  "unavailable",
  "not-github",
  "address-refused",
  "app-not-installed",
  "app-suspended",
  "app-key-refused",
  "app-permission-missing",
  "clock-off",
  "out-of-time",
] as const;
export type PullRequestProblemCode = (typeof PULL_REQUEST_PROBLEMS)[number];

export const pullRequestProblemSchema = z.object({
  code: z.enum(PULL_REQUEST_PROBLEMS),
  /** One or two plain sentences: what happened and what to do. */
  message: z.string(),
});
export type PullRequestProblem = z.infer<typeof pullRequestProblemSchema>;

/** Body of `POST /v1/agent-runs/{id}/pull-request`: what is left out stays. Nothing: it is only looked at anew. */
export const changePullRequestSchema = z.strictObject({
  /** `open` reopens one that was closed; one that was merged stays so. */
  state: z.enum(["open", "closed"]).optional(),
  /** False: it is ready for review. */
  draft: z.boolean().optional(),
});
export type ChangePullRequest = z.infer<typeof changePullRequestSchema>;
