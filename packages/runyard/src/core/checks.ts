import type { Check, CheckConclusion, ChecksSettings, EventData, PullRequest, RunError, RunResult } from "@runyard/sdk/contract";
import type { GithubPlace } from "./github-place.ts";
import { escapeGlob, matchesGlob } from "./glob.ts";
import { plural } from "./markdown.ts";
import { plainLine } from "./neutral-text.ts";

/** A check run or a commit status, as a GitHub server tells of it. */
export interface SeenCheck extends Check {
  /** Tells this run of a check from earlier ones: of two, the higher one is the newer. */
  readonly id: number;
  /** What belongs together: the suite of a check run; null: it is a status. A name is one check within it. */
  readonly suite: number | null;
  /** The commit that it is about. */
  readonly commit: string;
}

/** How the checks of what a run publishes are waited for, and where they are asked for. */
export interface WatchedChecks extends ChecksSettings {
  readonly place: GithubPlace;
}

/** What has failed in a turn so far. */
export interface ChecksSoFar {
  /** The commit whose failures the agent was told of last. */
  readonly commit: string;
  /** How often it was told of any. */
  readonly rounds: number;
  /** How often of each check, by its name. */
  readonly fedBack: Readonly<Record<string, number>>;
}

/** The kind of effect that looks at the checks of a commit until something can be decided. */
export const CHECKS_EFFECT = "github-checks";

/** Its payload: what is looked at, and what the run ends with where nothing has to be put right. */
export interface ChecksEffect {
  readonly checks: WatchedChecks;
  readonly commit: string;
  readonly branch: string;
  readonly before: ChecksSoFar | null;
  readonly result: RunResult;
  readonly pullRequest: PullRequest | null;
}

/** How the checks of a commit are waited for, in milliseconds. */
export interface ChecksPace {
  /** Between the first two looks; half as long again with each one after them. */
  readonly firstMs: number;
  readonly longestMs: number;
  /** How long no check at all may be there before that is taken for the answer. */
  readonly graceMs: number;
}

/** The pace by how often everything is looked at without being woken, in milliseconds: a second, but in tests. */
export function checksPace(pollMs: number): ChecksPace {
  return { firstMs: 10 * pollMs, longestMs: 60 * pollMs, graceMs: 90 * pollMs };
}

/** What one look at the checks of a commit is decided by. */
export interface ChecksLook {
  readonly settings: ChecksSettings;
  readonly pace: ChecksPace;
  /** The commit that was published. */
  readonly commit: string;
  readonly seen: readonly SeenCheck[];
  /** What the agent was told in this turn before; null: nothing. */
  readonly before: ChecksSoFar | null;
  /** Since the commit was published, and how often it was looked at before. */
  readonly ageMs: number;
  readonly looks: number;
  /** `picture` of the look before; null: there was none. */
  readonly picture: string | null;
}

export type ChecksDecision =
  /** `picture`: what the checks looked like, for the next look. */
  | { readonly type: "wait"; readonly delayMs: number; readonly picture: string }
  | { readonly type: "passed"; readonly checks: readonly SeenCheck[] }
  /** There are no checks that count. */
  | { readonly type: "none" }
  /** `checks`: those that the agent is told of. */
  | { readonly type: "feed-back"; readonly checks: readonly SeenCheck[] }
  | { readonly type: "failed"; readonly checks: readonly SeenCheck[] }
  /** The time is over; `checks` are those that nobody knows the end of. */
  | { readonly type: "gave-up"; readonly checks: readonly SeenCheck[] };

type Class = "open" | "good" | "bad" | "unfixable";

/**
 * What each conclusion means. What waits for a person's consent may still run. What was cancelled or has become stale did
 * not succeed, and nothing in the code would change that.
 */
const CLASS: Readonly<Record<CheckConclusion, Class>> = {
  pending: "open",
  action_required: "open",
  success: "good",
  neutral: "good",
  skipped: "good",
  failure: "bad",
  error: "bad",
  timed_out: "bad",
  startup_failure: "bad",
  cancelled: "unfixable",
  stale: "unfixable",
};

/**
 * What the checks of a published commit lead to. Nothing but waiting is decided before two looks have seen the same,
 * because checks that need others are not there before those have ended. What has failed by the end of the time has
 * failed, whatever else is still open.
 */
export function decideChecks(look: ChecksLook): ChecksDecision {
  const { settings, pace, ageMs } = look;
  const checks = newestOf(look.seen.filter(({ name, commit }) => commit === look.commit && !isIgnored(settings.ignored, name)));
  const open = checks.filter((check) => CLASS[check.conclusion] === "open");
  const failed = checks.filter((check) => isFailure(check));
  const picture = pictureOf(checks);
  const isTimeOver = ageMs >= settings.timeout;
  const mayBeMore = open.length > 0 || picture !== look.picture || (checks.length === 0 && ageMs < pace.graceMs);
  if (!isTimeOver && mayBeMore) return { type: "wait", delayMs: delayOf(look), picture };
  if (failed.length === 0) {
    if (open.length > 0) return { type: "gave-up", checks: open };
    return checks.length === 0 ? { type: "none" } : { type: "passed", checks };
  }
  const told = isSpent(look) ? [] : failed.filter((check) => mayGoBack(look, check));
  return told.length === 0 ? { type: "failed", checks: failed } : { type: "feed-back", checks: told };
}

function isFailure({ conclusion }: SeenCheck): boolean {
  return CLASS[conclusion] === "bad" || CLASS[conclusion] === "unfixable";
}

function mayGoBack({ settings, before }: ChecksLook, { name, conclusion }: SeenCheck): boolean {
  return CLASS[conclusion] === "bad" && (own(before?.fedBack ?? {}, name) ?? 0) < (own(settings.retriesByCheck, name) ?? settings.retries);
}

/**
 * Whether nothing goes back any more: the agent was told of this very commit and changed nothing, or as often as the check
 * with the most retries may have. Others that fail in between do not add to it.
 */
function isSpent({ before, commit, settings: { retries, retriesByCheck } }: ChecksLook): boolean {
  return before !== null && (before.commit === commit || before.rounds >= Math.max(retries, ...Object.values(retriesByCheck)));
}

/** By names that others give, nothing is found but what was put there. */
function own<T>(entries: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(entries, name) ? entries[name] : undefined;
}

/** What has failed in the turn, once these go back to the agent. */
export function soFarWith(before: ChecksSoFar | null, commit: string, checks: readonly SeenCheck[]): ChecksSoFar {
  const fedBack = before?.fedBack ?? {};
  const names = [...new Set(checks.map(({ name }) => name))];
  const counted = names.map((name) => [name, (own(fedBack, name) ?? 0) + 1] as const);
  return { commit, rounds: (before?.rounds ?? 0) + 1, fedBack: { ...fedBack, ...Object.fromEntries(counted) } };
}

function isIgnored(ignored: readonly string[], name: string): boolean {
  return ignored.some((pattern) => matchesGlob(pattern.split("*").map(escapeGlob).join("*"), name, { isPath: false }));
}

/** Of each check its newest run, by name. */
function newestOf(seen: readonly SeenCheck[]): SeenCheck[] {
  const newest = new Map<string, SeenCheck>();
  for (const check of seen) {
    const key = JSON.stringify([check.suite, check.name]);
    const other = newest.get(key);
    if (other === undefined || other.id < check.id) newest.set(key, check);
  }
  return [...newest.values()].toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
}

function pictureOf(checks: readonly SeenCheck[]): string {
  return checks.map(({ id, conclusion }) => `${id}:${conclusion}`).join(" ");
}

/** Grows from look to look, and never goes past the end of the time. */
function delayOf({ pace, looks, settings, ageMs }: ChecksLook): number {
  const usual = Math.min(pace.longestMs, pace.firstMs * 1.5 ** looks);
  return Math.max(1, Math.ceil(Math.min(usual, settings.timeout - ageMs)));
}

/** Most checks that an event holds. */
const MOST_TOLD = 100;

/** What a decision is told as, where it is one. */
export function checksFinished(
  decided: Exclude<ChecksDecision, { type: "wait" }>,
  { commit, before }: { readonly commit: string; readonly before: ChecksSoFar | null },
): EventData<"checks.finished"> {
  const checks = decided.type === "none" ? [] : decided.checks;
  const rounds = (before?.rounds ?? 0) + (decided.type === "feed-back" ? 1 : 0);
  const short = commit.slice(0, 10);
  const told = checks.slice(0, MOST_TOLD).map(({ name, conclusion, url }) => ({ name, conclusion, url }));
  const finished = (outcome: EventData<"checks.finished">["outcome"], message: string) => ({
    commit,
    outcome,
    rounds,
    checks: told,
    message,
  });
  switch (decided.type) {
    case "passed":
      return finished("passed", `${plural(checks.length, "check")} of the commit ${short} succeeded.`);
    case "none":
      return finished("none", `The commit ${short} has no checks that count, so there is nothing to wait for.`);
    case "feed-back":
      return finished("fed-back", `The agent is told of checks of the commit ${short} that did not succeed: ${namesOf(checks)}.`);
    case "gave-up":
      return finished("gave-up", `The time for the checks of the commit ${short} is over, and some have not ended: ${namesOf(checks)}.`);
    case "failed":
      return finished("failed", failureOf({ short, rounds, checks, isSame: before?.commit === commit }));
  }
}

function failureOf(what: {
  readonly short: string;
  readonly rounds: number;
  readonly checks: readonly SeenCheck[];
  readonly isSame: boolean;
}): string {
  const { short, rounds, checks, isSame } = what;
  const told =
    rounds === 0
      ? "They did not go back to the agent."
      : `The agent was told of failures ${times(rounds)}${isSame ? ", and has changed nothing since" : ""}.`;
  return `Checks of the published commit ${short} did not succeed: ${namesOf(checks)}. ${told}`;
}

/** The error of a run whose checks have failed for good. */
export function checksError({ message }: EventData<"checks.finished">): RunError {
  return { type: "test-failure", message: `${message} What was published stays as it is; go on with \`runyard continue\`.` };
}

function times(rounds: number): string {
  return rounds === 1 ? "once" : `${rounds} times`;
}

const MOST_NAMED = 10;

/** Checks in a sentence, each with how it stands and where one reads about it. */
export function namesOf(checks: readonly Check[]): string {
  const named = checks.slice(0, MOST_NAMED).map(({ name, conclusion, url }) => {
    const where = url === null ? "" : `, ${plainLine(url, 500)}`;
    return `${plainLine(name, 200)} (${conclusion}${where})`;
  });
  const more = checks.length - named.length;
  return `${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
