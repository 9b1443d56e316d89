import type { RunReview } from "@runyard/sdk/contract";
import { type Byline, bylineWords } from "./byline.ts";
import type { GithubPlace } from "./github-place.ts";
import { cutText } from "./markdown.ts";
import { neutralMarkdown } from "./neutral-text.ts";

/** Longest review that is sent; GitHub takes 65,536 characters. */
const MAX_ANSWER_CHARS = 50_000;

/** A file that a pull request changes. */
export interface ReviewedFile {
  readonly path: string;
  readonly insertions: number;
  readonly deletions: number;
}

/** A pull request as it is looked at before a run reviews it. */
export interface PullRequestToReview extends Omit<RunReview, "event"> {
  /** What its author wrote about it. */
  readonly body: string;
  /** The commit of the branch that it is to go to. */
  readonly baseCommit: string;
  readonly filesChanged: number;
  readonly insertions: number;
  readonly deletions: number;
  /** The first 100. */
  readonly files: readonly ReviewedFile[];
}

/** The same as a run keeps it. */
export interface ReviewSpec extends PullRequestToReview, Pick<RunReview, "event"> {
  readonly place: GithubPlace;
  /** By chance, and told to nobody: what the marks of its reviews are made of. */
  readonly markKey: string;
}

/** The kind of effect that posts a review. */
export const REVIEW_EFFECT = "github-review";

/** Its payload. */
export interface ReviewEffect {
  readonly place: GithubPlace;
  readonly number: number;
  readonly commit: string;
  readonly event: RunReview["event"];
  /** With the mark. */
  readonly body: string;
  /** By which it is found again: whoever finds it need not post it again. */
  readonly mark: string;
}

/** What a review tells of its run. */
export interface ReviewStory extends Byline {
  /** The agent's last words. */
  readonly answer: string;
  readonly commit: string;
  /** The sign of its turn, which nobody can know before its review is there. */
  readonly sign: string;
}

/** A turn has one review, whichever of its attempts posts it. Whoever may comment could post one before it that looks the same. */
export function reviewMark({ runId, turn, sign }: Pick<ReviewStory, "runId" | "turn" | "sign">): string {
  return `<!-- runyard:${runId}:review-${turn}:${sign} -->`;
}

/** The agent's answer, which does nothing but be read, and who gave it. */
export function reviewBody(story: ReviewStory): string {
  const { answer, commit } = story;
  const shown = neutralMarkdown(cutText(answer, MAX_ANSWER_CHARS), { allowReferences: false }).trim();
  const about = `An agent's review of ${commit.slice(0, 10)}, by ${bylineWords(story)}.`;
  return [reviewMark(story), shown === "" ? "The agent had nothing to say." : shown, "---", about].join("\n\n");
}
