import type { PublishFrom, PublishMode, PublishSource, PullRequestDefaults, PullRequestSettings } from "@runyard/sdk/contract";

/** What a repository or an organization says of the results of its runs. */
export interface PublishDefault {
  readonly from: Exclude<PublishSource, "run">;
  /** Null: nothing, here and below. */
  readonly publish: PublishMode | null;
  readonly pullRequest: PullRequestDefaults | null;
}

/** The first of the defaults, the nearer one first, that says what becomes of results; null: none does. */
export function publishDefault(defaults: readonly PublishDefault[]): { readonly mode: PublishMode; readonly from: PublishSource } | null {
  for (const { publish: mode, from } of defaults) if (mode !== null) return { mode, from };
  return null;
}

/** How a run's pull request is made, field by field: by the run's own word, or the nearest default; with who said it. */
export function joinPullRequest(
  own: PullRequestSettings,
  defaults: readonly PublishDefault[],
): { readonly settings: PullRequestSettings; readonly from: Omit<PublishFrom, "publish"> } {
  const settings: PullRequestSettings = {};
  const from: Omit<PublishFrom, "publish"> = {};
  // What is nearer to the run replaces what is farther away.
  for (const said of [...defaults.toReversed(), { from: "run" as const, pullRequest: own }]) {
    Object.assign(settings, said.pullRequest);
    for (const field of FIELDS) if (said.pullRequest?.[field] !== undefined) from[field] = said.from;
  }
  return { settings, from };
}

const FIELDS = ["draft", "labels", "reviewers"] as const;
