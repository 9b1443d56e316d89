import { type ChangeRepositoryRequest, PUBLISH_MODES, type PublishMode, type PullRequestDefaults } from "@runyard/sdk/contract";
import { type Command, Option } from "commander";
import { addPullRequestOptions, type PullRequestOptions, pullRequestWords } from "./publish-options.ts";

/** What options say of what becomes of the results of runs that do not say it themselves. */
export interface PublishDefaultsOptions extends PullRequestOptions {
  readonly publish?: PublishMode;
  readonly publishDefault?: boolean;
  readonly pullRequestDefault?: boolean;
}

/** Names of the options that are added here, for headings in help. */
export const PUBLISH_DEFAULTS_OPTIONS = ["publish", "publish-default", "draft", "label", "reviewer", "pull-request-default"] as const;

/** `whose` runs they are, and what holds where nothing is said here. */
export function addPublishDefaultsOptions(command: Command, whose: string, otherwise: string): Command {
  command
    .addOption(
      new Option(
        "--publish <what>",
        `what becomes of the results of ${whose}; where a pull_request cannot be had, they get a branch`,
      ).choices(PUBLISH_MODES),
    )
    .addOption(new Option("--publish-default", otherwise).conflicts("publish"));
  return addPullRequestOptions(command, `pull requests of ${whose}`).addOption(
    new Option("--pull-request-default", `draft, labels and reviewers: ${otherwise}`).conflicts(["draft", "label", "reviewer"]),
  );
}

/** The part of a change that these options make; draft, labels and reviewers replace all that held of them before. */
export function publishDefaultsRequest(options: PublishDefaultsOptions): Pick<ChangeRepositoryRequest, "publish" | "pullRequest"> {
  const { publish, publishDefault, pullRequestDefault } = options;
  const words = pullRequestWords(options);
  return {
    ...(publish !== undefined && { publish }),
    ...(publishDefault === true && { publish: null }),
    ...(Object.keys(words).length > 0 && { pullRequest: words }),
    ...(pullRequestDefault === true && { pullRequest: null }),
  };
}

interface Shown {
  readonly publish: PublishMode | null;
  readonly pullRequest: PullRequestDefaults | null;
}

/** Lines for people; nothing by servers that do not know of it. */
export function renderPublishDefaults({ publish, pullRequest }: Partial<Shown>, row: (name: string, text: string) => string): string[] {
  const { draft, labels, reviewers } = pullRequest ?? {};
  const list = (what: string, names: readonly string[] | undefined): string[] =>
    names === undefined ? [] : [names.length === 0 ? `no ${what}` : `${what} ${names.join(", ")}`];
  const made = [...(draft === undefined ? [] : [draft ? "draft" : "no draft"]), ...list("labels", labels), ...list("reviewers", reviewers)];
  return [
    ...(publish == null ? [] : [row("publish", `${publish}, unless runs say otherwise`)]),
    ...(made.length === 0 ? [] : [row("pull", made.join("; "))]),
  ];
}
