import type { PullRequest } from "@runyard/sdk/contract";
import { type Byline, bylineWords } from "./byline.ts";
import type { GithubPlace } from "./github-place.ts";
import { codeText, cutText, plural, quoteText } from "./markdown.ts";
import { neutralLine, neutralMarkdown, plainLine } from "./neutral-text.ts";

/** Longest body that is sent; GitHub takes 65,536 characters. */
const MAX_BODY_CHARS = 60_000;
const MAX_TITLE_CHARS = 200;
const MAX_ASKED_CHARS = 4_000;
const MAX_PLAN_CHARS = 12_000;
const MAX_SUMMARY_CHARS = 8_000;
const MAX_FILES = 30;

/** The pull request that an attempt of a run is to have. */
export interface PullRequestWish {
  readonly runId: string;
  readonly attempt: number;
  /** The branch that was pushed, and the one that it is to go to. */
  readonly head: string;
  readonly base: string;
  readonly title: string;
  /** Runyard's part of the body, with its marks. */
  readonly body: string;
  readonly draft: boolean;
  readonly labels: readonly string[];
  readonly reviewers: readonly string[];
}

/** What the outbox keeps of it. */
export interface PullRequestEffect {
  readonly place: GithubPlace;
  readonly wish: PullRequestWish;
}

/** What it keeps of one that was made, or gone on with. */
export interface PerformedPullRequest {
  readonly pullRequest: PullRequest;
  /** The one before it, as it is now, where there is a new one because that was closed or merged. */
  readonly follows: PullRequest | null;
  readonly action: "created" | "updated" | "kept";
  /** What was wished for beside it and could not be had, as sentences. */
  readonly warnings: readonly string[];
}

/** The kind of effect that it is. */
export const PULL_REQUEST_EFFECT = "pull-request";

/** What a pull request tells of its run. */
export interface PullRequestStory extends Byline {
  readonly attempt: number;
  /** The title that was wished for; null: it is made of what was asked. */
  readonly title: string | null;
  /** What this turn was asked. */
  readonly asked: string;
  /** The plan that was approved, and who did that; null: there was none. */
  readonly plan: { readonly text: string; readonly version: number; readonly by: string | null } | null;
  /** The agent's last words. */
  readonly summary: string;
  readonly changed: {
    readonly filesChanged: number;
    readonly insertions: number;
    readonly deletions: number;
    readonly files: readonly { readonly path: string; readonly insertions: number | null; readonly deletions: number | null }[];
  };
  readonly verified: readonly { readonly run: string; readonly kind: string | null; readonly passed: boolean }[];
  readonly allowReferences: boolean;
}

/** The mark by which a run's pull requests are found again. */
export function runMark(runId: string): string {
  return `<!-- runyard:${runId} -->`;
}

/** The mark of what one attempt of a run did: whoever finds it need not do it again. Attempts are counted through all turns. */
export function attemptMark(runId: string, attempt: number): string {
  return `<!-- runyard:${runId}:attempt-${attempt} -->`;
}

const BEGIN = "<!-- runyard:begin -->";
const END = "<!-- runyard:end -->";

export function pullRequestTitle({ title, asked, runId, allowReferences }: PullRequestStory): string {
  // What a person wished for is theirs.
  if (title !== null) return neutralLine(title, { allowReferences: true, longest: 256 });
  const first = asked.split("\n").find((line) => line.trim() !== "") ?? "";
  return neutralLine(first, { allowReferences, longest: MAX_TITLE_CHARS }) || `Result of ${runId}`;
}

/** The part of a pull request's body that is Runyard's: between two marks, so that what people write around it stays. */
export function pullRequestBody(story: PullRequestStory): string {
  const { runId, attempt } = story;
  const parts = [askedPart(story), planPart(story), summaryPart(story), changedPart(story), verifiedPart(story), aboutPart(story)];
  const text = cutText(parts.filter((part) => part !== null).join("\n\n"), MAX_BODY_CHARS);
  return [BEGIN, runMark(runId), attemptMark(runId, attempt), "", text, END].join("\n");
}

function askedPart(story: PullRequestStory): string {
  const head = story.turn === 1 ? "### What was asked" : `### What was asked in turn ${story.turn}`;
  return `${head}\n\n${quoteText(shown(story, story.asked, MAX_ASKED_CHARS))}`;
}

function planPart(story: PullRequestStory): string | null {
  const { plan } = story;
  if (plan === null) return null;
  const by = plan.by === null ? "by the run's policy" : `by ${neutralMarkdown(plainLine(plan.by, 100), { allowReferences: false })}`;
  return `### The plan, version ${plan.version}, approved ${by}\n\n${quoteText(shown(story, plan.text, MAX_PLAN_CHARS))}`;
}

function summaryPart(story: PullRequestStory): string | null {
  const text = shown(story, story.summary, MAX_SUMMARY_CHARS).trim();
  return text === "" ? null : `### What the agent says\n\n${quoteText(text)}`;
}

function changedPart({ changed }: PullRequestStory): string {
  const { files, filesChanged, insertions, deletions } = changed;
  const rows = files.slice(0, MAX_FILES).map((file) => `- ${codeText(file.path)} ${figures(file)}`);
  const more = files.length > MAX_FILES ? [`- and ${files.length - MAX_FILES} more`] : [];
  return [`### What changed`, "", `${plural(filesChanged, "file")}, +${insertions} −${deletions}`, "", ...rows, ...more].join("\n");
}

function figures({ insertions, deletions }: PullRequestStory["changed"]["files"][number]): string {
  return insertions === null || deletions === null ? "binary" : `+${insertions} −${deletions}`;
}

function verifiedPart({ verified }: PullRequestStory): string {
  const rows = verified.map(
    ({ run, kind, passed }) => `- ${codeText(run)}${kind === null ? "" : ` (${kind})`}: ${passed ? "passed" : "failed"}`,
  );
  return ["### What was verified", "", ...(rows.length === 0 ? ["Nothing: the run had no commands to verify with."] : rows)].join("\n");
}

function aboutPart(story: PullRequestStory): string {
  return `Made by ${bylineWords(story)}. \`runyard show ${story.runId}\` tells more.`;
}

function shown({ allowReferences }: PullRequestStory, text: string, longest: number): string {
  return neutralMarkdown(cutText(text, longest), { allowReferences });
}

/** A pull request as a list of them shows it. */
export interface FoundPullRequest extends PullRequest {
  readonly body: string;
}

/** What is to be done so that a turn of a run has its pull request. */
export type PullRequestStep =
  /** It has it: another try was cut off before it could say so. */
  | { readonly type: "keep"; readonly pullRequest: FoundPullRequest }
  /** An open one goes on with the turn's commits; `body` null: people have taken Runyard's part out of it, so it stays as it is. */
  | { readonly type: "update"; readonly pullRequest: FoundPullRequest; readonly body: string | null }
  /** `follows`: the one before it, which was closed or merged. */
  | { readonly type: "create"; readonly follows: FoundPullRequest | null };

/**
 * Decides by all pull requests, open and closed, that there are for the run's branch. One with the mark of this very attempt is it,
 * whatever became of it since. Else the open one goes on; only where none is open is another one made.
 */
export function nextPullRequestStep(
  found: readonly FoundPullRequest[],
  wish: { readonly runId: string; readonly attempt: number; readonly base: string; readonly body: string },
): PullRequestStep {
  const newestFirst = found.toSorted((a, b) => b.number - a.number);
  const ofAttempt = newestFirst.find(({ body }) => body.includes(attemptMark(wish.runId, wish.attempt)));
  if (ofAttempt !== undefined) return { type: "keep", pullRequest: ofAttempt };
  const isOurs = ({ body }: FoundPullRequest): boolean => body.includes(runMark(wish.runId));
  const open = newestFirst.filter(({ state }) => state === "open");
  // GitHub has one at most for a branch and where it goes to, so one that somebody opened by hand is it, too.
  const goesOn = open.find(isOurs) ?? open.find(({ baseBranchName }) => baseBranchName === wish.base);
  if (goesOn !== undefined) return { type: "update", pullRequest: goesOn, body: withOurPart(goesOn.body, wish.body) };
  return { type: "create", follows: newestFirst.find(isOurs) ?? null };
}

/** The body with Runyard's part renewed, and everything around it as it was; null: it has no such part. */
function withOurPart(body: string, part: string): string | null {
  const from = body.indexOf(BEGIN);
  const to = body.indexOf(END, from);
  return from === -1 || to === -1 ? null : body.slice(0, from) + part + body.slice(to + END.length);
}

/** The body of a pull request that follows one that was closed or merged. */
export function bodyThatFollows(body: string, { number, merged }: Pick<PullRequest, "number" | "merged">): string {
  return `Follows #${number}, which was ${merged ? "merged" : "closed"}.\n\n${body}`;
}
