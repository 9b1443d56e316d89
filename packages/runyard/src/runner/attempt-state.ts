import type { ConversationState } from "../agents/acp/conversation.ts";
import type { BaseOutcome, VerifyResult } from "@runyard/sdk/contract";
import type { Outage } from "../core/outages.ts";
import type { Tries } from "../core/attempts.ts";
import type { RunRow } from "../store/run-row.ts";
import { RunFailure } from "./run-handle.ts";
import type { SetupState } from "./setup-state.ts";

/**
 * Goes up with every change that a server of another version could not go on with: of what is stored here,
 * of a run directory's files, of what a shim does with them.
 */
const FORMAT = 1;

/** What a runner must know to go on in the middle of an attempt; stored in the run's row with every commit. */
export interface AttemptState {
  readonly format: typeof FORMAT;
  /** What the attempts of this turn have used up. Set once one of them broke. */
  readonly tries?: Tries;
  /** How far verifying has come. Set once it has begun. */
  readonly verify?: VerifyState;
  /** In a later turn: whether its workspace is that of the turn before, or a new one. Set before anything is done about it. */
  readonly workspace?: "taken" | "fresh";
  /** The commit of the turns before is nowhere to be had: this turn began from the run's first one. */
  readonly headLost?: true;
  /** The commit that the base branch is being merged into: what is in the workspace meanwhile is nothing to go on from. Set until it was. */
  readonly merging?: string;
  /** What came of bringing in the base branch, in a turn that is to. Set once it was done. */
  readonly rebase?: RebaseState;
  /** How far set-up has come. Set once it was decided what the workspace begins with. */
  readonly setup?: SetupState;
  /** The bare repository that the workspace borrows objects from. Set once there is a workspace. */
  readonly cachePath?: string;
  /** What people answered to the attempt before, which was let go while it waited. Set with the workspace. */
  readonly answers?: readonly GivenAnswer[];
  /** The agent was told that its turn is cancelled, because it waits for too long: the run is to be let out of hand. */
  readonly parting?: true;
  /** How the run's budget stood in the way. Set once it has: the run ends. */
  readonly exceeded?: string;
  /** The agent's turn. Set once it has begun. */
  readonly turn?: TurnState;
  /** The agent's id of the conversation, for a later turn. Set once its turn has succeeded. */
  readonly sessionId?: string | null;
  /** The agent's last words. Set once its turn has succeeded. */
  readonly summary?: string;
  /** The commit that its work became, or null for no change. Set once it is in the cache. */
  readonly made?: { readonly head: string | null };
  /** How many tries to make its pull request the log tells of as failed. Set once it does. */
  readonly pullRequestTries?: number;
  /** How far its further repositories have come, by name. Set with the first of them. */
  readonly repositories?: Readonly<Record<string, RepositoryState>>;
}

/** The base branch, brought into what a run has made. */
export interface RebaseState {
  readonly outcome: BaseOutcome;
  /** The commit of the turns before, with what they left uncommitted. */
  readonly from: string;
  /** What the turn goes on from: `from`, the merge, or the base itself; where files conflict, the merge with the markers in them, which nobody gets to see. */
  readonly head: string;
  /** Files that conflict. */
  readonly conflicts: readonly string[];
}

/** The same of one further repository. */
export interface RepositoryState extends Pick<AttemptState, "headLost" | "cachePath" | "made"> {
  /** The branch that was made of its commit, or why none could be. Set once that was tried. */
  readonly published?: { readonly branch: string; readonly commit: string } | { readonly problem: string };
}

/** A question or a request for permission, and what a person said to it: a text, or `allow` or `deny`. */
export interface GivenAnswer {
  readonly kind: "permission" | "question";
  readonly asked: string;
  readonly answer: string;
}

export interface VerifyState {
  /** 1 for the agent's first work, one more each time that a failure went back to it. */
  readonly round: number;
  /** The command whose turn it is. */
  readonly index: number;
  /** Its beginning is in the log. */
  readonly begun: boolean;
  readonly results: readonly VerifyResult[];
}

export interface TurnState {
  readonly conversation: ConversationState;
  /** The last model call that failed, for the verdict. */
  readonly lastError: { readonly status: number | null; readonly message: string } | null;
  /** What the log was told of the provider that is not over. Set with the first calls. */
  readonly outage?: Outage | null;
  /** Totals of the calls before this turn, so that the verdict goes by this turn's. */
  readonly before: { readonly calls: number; readonly failed: number };
}

/** The state of an attempt that has just begun. */
export function freshState(): AttemptState {
  return { format: FORMAT };
}

/** What the next attempt of a turn is to know of the base branch that this one brought in. */
export function baseInHand(row: Pick<RunRow, "state">): Pick<AttemptState, "merging" | "rebase"> {
  const { merging, rebase } = knownState(row);
  return { ...(merging !== undefined && { merging }), ...(rebase && { rebase }) };
}

/** The merge with conflicts that the workspace is in the middle of, for the agent to resolve; null: there is none. */
export function mergeInHand(row: Pick<RunRow, "state">): RebaseState | null {
  const { rebase } = attemptState(row);
  return rebase?.outcome === "conflicts" ? rebase : null;
}

/** What stays of an attempt's state while its run waits for people without it. */
export function stateWithoutAttempt(row: Pick<RunRow, "state">): AttemptState {
  const { tries } = attemptState(row);
  return { ...freshState(), ...(tries && { tries }), ...baseInHand(row) };
}

/**
 * What is stored of an attempt, or of one that has just begun. Throws RunFailure where another version of
 * Runyard began it in a way that this one does not know.
 */
export function attemptState(row: Pick<RunRow, "state">): AttemptState {
  const stored = row.state as Partial<AttemptState>;
  if (stored.format === FORMAT) return { ...stored, format: FORMAT };
  if (Object.keys(stored).length === 0) return freshState();
  throw new RunFailure({
    type: "lost",
    message:
      "Another version of Runyard was at work on this run, in a way that this version cannot go on with. Start the run again, or end runs before a change of version.",
  });
}

/** The same of an attempt that has ended: nothing, where another version began it. */
export function knownState(row: Pick<RunRow, "state">): AttemptState {
  const stored = row.state as Partial<AttemptState>;
  return stored.format === FORMAT ? { ...stored, format: FORMAT } : { format: FORMAT };
}

/** The commit of the turns before that this one goes on from; null: it begins where the run began. */
export function turnHead(row: Pick<RunRow, "state" | "carry">): string | null {
  const { rebase, merging, headLost } = attemptState(row);
  return rebase?.head ?? merging ?? (headLost === true ? null : (row.carry?.head ?? null));
}

/** The commit of the base branch that what the run makes goes on from: where it began, or what was brought in since. */
export function branchBase(row: Pick<RunRow, "state" | "carry" | "base_commit">): string {
  const { rebase } = attemptState(row);
  const brought = rebase === undefined || rebase.outcome === "nothing" ? undefined : row.carry?.rebase?.commit;
  return brought ?? row.carry?.base ?? row.base_commit;
}

/** What is known of a further repository in this attempt. */
export function repositoryState(row: Pick<RunRow, "state">, name: string): RepositoryState {
  return attemptState(row).repositories?.[name] ?? {};
}

/** The commit of the turns before in a further repository; null: it begins where the run began. */
export function repositoryHead(row: Pick<RunRow, "state" | "carry">, name: string): string | null {
  return repositoryState(row, name).headLost === true ? null : (row.carry?.repositories?.[name]?.head ?? null);
}

/** The cache of a run that has a workspace. */
export function cachePathOf(row: Pick<RunRow, "id" | "state">): string {
  const { cachePath } = attemptState(row);
  if (cachePath === undefined) throw new Error(`Run ${row.id} has no workspace yet`);
  return cachePath;
}
