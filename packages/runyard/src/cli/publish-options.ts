import {
  type CreateRunRequest,
  PUBLISH_MODES,
  type PublishMode,
  type PullRequestSettings,
  pullRequestSettingsSchema,
} from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";

/** What options say of what becomes of a run's result. */
export interface PublishOptions {
  readonly publish?: PublishMode;
  readonly draft?: boolean;
  readonly title?: string;
  readonly label?: string[];
  readonly reviewer?: string[];
  readonly allowReferences?: boolean;
}

export function addPublishOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--publish <what>",
        "what becomes of the result (default: a pull_request, where the repository is at GitHub and there is a token for it, else a branch)",
      ).choices(PUBLISH_MODES),
    )
    .option("--draft", "make the pull request a draft")
    .option("--title <text>", "the title of the pull request (default: the first line of the task)", (text) => checked("title", text))
    .option("--label <name>", "a label of the pull request; may be repeated", collectLabel)
    .option("--reviewer <name>", "who is asked to review it: a user, or organization/team; may be repeated", collectReviewer)
    .option("--allow-references", "let mentions, references and closing keywords in what the agent says be what they are");
}

/** The part of a request that these options make. */
export function publishRequest(options: PublishOptions): Pick<CreateRunRequest, "publish" | "pullRequest"> {
  const { publish, draft, title, label: labels, reviewer: reviewers, allowReferences } = options;
  const pullRequest: PullRequestSettings = {
    ...(draft !== undefined && { draft }),
    ...(title !== undefined && { title }),
    ...(labels !== undefined && { labels }),
    ...(reviewers !== undefined && { reviewers }),
    ...(allowReferences !== undefined && { allowReferences }),
  };
  return { ...(publish !== undefined && { publish }), ...(Object.keys(pullRequest).length > 0 && { pullRequest }) };
}

function collectLabel(name: string, before: string[] = []): string[] {
  return checked("labels", [...before, name]);
}

function collectReviewer(name: string, before: string[] = []): string[] {
  return checked("reviewers", [...before, name]);
}

/** The server would refuse it in other words. */
function checked<K extends keyof PullRequestSettings>(name: K, value: NonNullable<PullRequestSettings[K]>): typeof value {
  const parsed = pullRequestSettingsSchema.shape[name].safeParse(value);
  if (!parsed.success) throw new InvalidArgumentError(`It ${parsed.error.issues[0]?.message ?? "cannot be one"}.`);
  return value;
}
