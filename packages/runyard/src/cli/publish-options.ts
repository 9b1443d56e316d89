import {
  type CreateRunRequest,
  PUBLISH_MODES,
  type PublishMode,
  type PullRequestDefaults,
  type PullRequestSettings,
  pullRequestSettingsSchema,
} from "@runyard/sdk/contract";
import { type Command, Option } from "commander";
import { checkedOption, givenBefore } from "./option-value.ts";

const FIELDS = pullRequestSettingsSchema.shape;

/** What options say of what becomes of a run's result. */
export interface PublishOptions extends PullRequestOptions {
  readonly publish?: PublishMode;
  readonly title?: string;
  readonly allowReferences?: boolean;
}

/** Of pull requests; false: none. */
export interface PullRequestOptions {
  readonly draft?: boolean;
  readonly label?: string[] | false;
  readonly reviewer?: string[] | false;
}

export function addPublishOptions(command: Command): Command {
  command.addOption(
    new Option(
      "--publish <what>",
      "what becomes of the result (default: as the repository or the organization has it, else a pull_request, where the repository is at GitHub and there is a token for it, else a branch)",
    ).choices(PUBLISH_MODES),
  );
  return addPullRequestOptions(command, "the pull request")
    .option("--title <text>", "the title of the pull request (default: the first line of the task)", (text) =>
      checkedOption(FIELDS.title, text),
    )
    .option("--allow-references", "let mentions, references and closing keywords in what the agent says be what they are");
}

/** `which` is what they are about. */
export function addPullRequestOptions(command: Command, which: string): Command {
  return command
    .option("--draft", `${which}: a draft`)
    .option("--no-draft", `${which}: no draft`)
    .option("--label <name>", `${which}: a label; may be repeated`, collectLabel)
    .option("--no-label", `${which}: no labels`)
    .option("--reviewer <name>", `${which}: who is asked to review, a user, or organization/team; may be repeated`, collectReviewer)
    .option("--no-reviewer", `${which}: nobody is asked to review`);
}

/** The part of a request that these options make. */
export function publishRequest(options: PublishOptions): Pick<CreateRunRequest, "publish" | "pullRequest"> {
  const { publish, title, allowReferences } = options;
  const pullRequest: PullRequestSettings = {
    ...pullRequestWords(options),
    ...(title !== undefined && { title }),
    ...(allowReferences !== undefined && { allowReferences }),
  };
  return { ...(publish !== undefined && { publish }), ...(Object.keys(pullRequest).length > 0 && { pullRequest }) };
}

/** What `addPullRequestOptions` has added, as a request has it. */
export function pullRequestWords({ draft, label, reviewer }: PullRequestOptions): PullRequestDefaults {
  return {
    ...(draft !== undefined && { draft }),
    ...(label !== undefined && { labels: label === false ? [] : label }),
    ...(reviewer !== undefined && { reviewers: reviewer === false ? [] : reviewer }),
  };
}

function collectLabel(name: string, before?: unknown): string[] {
  return checkedOption(FIELDS.labels, [...givenBefore(before), name]) ?? [];
}

function collectReviewer(name: string, before?: unknown): string[] {
  return checkedOption(FIELDS.reviewers, [...givenBefore(before), name]) ?? [];
}
