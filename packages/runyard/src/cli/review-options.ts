import { type CreateRunRequest, REVIEW_EVENTS, type ReviewEvent } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";

/** What options say of the pull request that a run reviews. */
export interface ReviewOptions {
  readonly review?: number | string;
  readonly reviewEvent?: ReviewEvent;
}

export function addReviewOptions(command: Command): Command {
  return command
    .option(
      "--review <pull request>",
      "a pull request to look at, by its number or the address of its page: the answer is posted there as one review",
      parsePullRequest,
    )
    .addOption(new Option("--review-event <event>", "what that review is (default: comment)").choices(REVIEW_EVENTS));
}

export function reviewRequest({ review, reviewEvent }: ReviewOptions): Pick<CreateRunRequest, "review"> {
  if (review === undefined && reviewEvent !== undefined)
    throw new CliError("--review-event belongs to --review.", {
      advice: "Say which pull request is reviewed, for example: --review 7",
      exitCode: EXIT.usage,
    });
  return review === undefined ? {} : { review: { pullRequest: review, ...(reviewEvent !== undefined && { event: reviewEvent }) } };
}

/** The repository of a pull request that is given by its address; undefined: it does not say. */
export function reviewedRepository({ review }: ReviewOptions): string | undefined {
  return typeof review === "string" ? review.replace(/\/pull\/\d+.*$/, "") : undefined;
}

function parsePullRequest(value: string): number | string {
  if (/^[1-9]\d{0,9}$/.test(value)) return Number(value);
  if (/^https?:\/\/\S+\/pull\/[1-9]\d*\S*$/i.test(value)) return value;
  throw new InvalidArgumentError("It must be the number of a pull request, or the address of its page.");
}
