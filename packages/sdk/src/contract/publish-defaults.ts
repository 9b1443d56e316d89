import { z } from "zod";
import { publishModeSchema, pullRequestSettingsSchema } from "./pull-requests.ts";

/** How pull requests of runs are made that do not say it themselves; what is left out is as the more general setting has it. */
export const pullRequestDefaultsSchema = pullRequestSettingsSchema.pick({ draft: true, labels: true, reviewers: true });
export type PullRequestDefaults = z.infer<typeof pullRequestDefaultsSchema>;

/** Of a change of an organization or a repository. */
export const publishDefaultsOfRuns = {
  /**
   * What becomes of the results of runs that do not say it themselves; null: as the more general setting has it, or a pull request
   * where one can be had. Where `pull_request` cannot be had, such a run gets a branch.
   */
  publish: publishModeSchema.nullable().optional(),
  /** How their pull requests are made, in place of all that held before; null: as the more general setting has it. */
  pullRequest: pullRequestDefaultsSchema.nullable().optional(),
};

export const publishDefaultsShown = {
  /** Null: nothing of its own. */
  publish: publishModeSchema.nullable(),
  pullRequest: pullRequestDefaultsSchema.nullable(),
};

/** Who says what becomes of a run's result. */
export const PUBLISH_SOURCES = ["run", "repository", "organization"] as const;
const sourceSchema = z.enum(PUBLISH_SOURCES);
export type PublishSource = z.infer<typeof sourceSchema>;

/** Who said each of these of a run; not there: nobody, so it is Runyard's own default. */
export const publishFromSchema = z.object({
  publish: sourceSchema.optional(),
  draft: sourceSchema.optional(),
  labels: sourceSchema.optional(),
  reviewers: sourceSchema.optional(),
});
export type PublishFrom = z.infer<typeof publishFromSchema>;
