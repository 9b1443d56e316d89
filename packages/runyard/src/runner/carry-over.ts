import type { ChecksSoFar } from "../core/checks.ts";
import { type Carry, type GoingOn, promptOf, type RunRow } from "../store/run-row.ts";
import { type AttemptState, knownState, stateWithoutAttempt } from "./attempt-state.ts";

type Ended = Pick<RunRow, "attempt" | "state" | "carry" | "result" | "task" | "prompt" | "plans">;

/** What the next turn goes on from, of a run whose turn has ended: what this turn left, else what it had itself gone on from. */
export function carryOver(run: Ended): Carry {
  const state = knownState(run);
  const before = run.carry;
  const { result } = run;
  const isUnresolved = unresolved(state);
  return {
    // Half of a merge is nothing to go on from: the next turn begins with what there was before it.
    attempts: isUnresolved ? [] : attemptsOf(run, state),
    head: state.made?.head ?? headBefore(run, state),
    published: publishedOf(result, baseOf(run, state)) ?? before?.published ?? null,
    sessionId: sessionOf(run, state),
    prompt: promptOf(run),
    lastWords: state.summary ?? state.turn?.conversation.lastText ?? before?.lastWords ?? null,
    // The workspace of a plan phase is thrown away, and the conversation goes on all the same.
    ...((run.plans || isUnresolved || before?.homes !== undefined) && { homes: homesOf(run) }),
    ...repositoriesOf(run, state),
    ...baseOf(run, state),
  };
}

/** The base branch is being merged, or files of it conflict, and nobody has resolved that. */
function unresolved({ merging, rebase, made }: AttemptState): boolean {
  return merging !== undefined || (rebase?.outcome === "conflicts" && made === undefined);
}

/** What of the base branch that is in. */
function baseOf({ carry }: Ended, state: AttemptState): Pick<Carry, "base"> {
  const brought = state.rebase === undefined || state.rebase.outcome === "nothing" || unresolved(state) ? undefined : carry?.rebase?.commit;
  const base = brought ?? carry?.base;
  return base === undefined ? {} : { base };
}

/** What a turn that made nothing had gone on from. */
function headBefore({ carry }: Ended, state: AttemptState): string | null {
  const { merging, rebase, headLost } = state;
  if (merging !== undefined) return merging;
  if (rebase !== undefined) return unresolved(state) ? rebase.from : rebase.head;
  return headLost === true ? null : (carry?.head ?? null);
}

/**
 * What the turn goes on from once somebody has decided about its plan: the conversation and the home of the
 * attempt that made it, and the workspace that the turn before left.
 */
export function carryPlanned(run: Ended, next: GoingOn["next"]): Carry {
  const state = knownState(run);
  const before = run.carry;
  return {
    attempts: before?.attempts ?? [],
    head: before?.head ?? null,
    published: before?.published ?? null,
    sessionId: sessionOf(run, state),
    prompt: promptOf(run),
    lastWords: state.summary ?? before?.lastWords ?? null,
    homes: homesOf(run),
    ...(before?.repositories && { repositories: before.repositories }),
    goesOn: { attempt: run.attempt, next },
    ...(before?.base !== undefined && { base: before.base }),
    ...(before?.rebase && { rebase: before.rebase }),
    ...(before?.checks && { checks: before.checks }),
  };
}

/**
 * What a turn goes on from whose agent was let go while it waited for people: its workspace as it is, unless it
 * was only planning there, its home and its conversation.
 */
export function carryReleased(run: Ended): Carry {
  return carryWithin(run, { type: "answered", before: run.carry?.goesOn?.next ?? null });
}

/** The same of a turn whose attempt lost the process that watched its agent, or whose result waits: should that be lost, its agent goes on where it was. */
export function carryLost(run: Ended): Carry {
  return carryWithin(run, { type: "lost", before: run.carry?.goesOn?.next ?? null });
}

/** The same of a turn whose checks failed, with the state that its next attempt begins with: it goes on from what it published. */
export function carryChecked(
  run: Ended,
  { text, soFar, branch }: { readonly text: string; readonly soFar: ChecksSoFar; readonly branch: string },
): { readonly carry: Carry; readonly state: AttemptState } {
  const { commit } = soFar;
  const state = knownState(run);
  const base = baseOf(run, state);
  const { rebase: _, ...within } = { ...carryWithin(run, { type: "checks", text }), ...repositoriesOf(run, state), ...base };
  // What was brought in is in what was published.
  const { rebase: __, ...next } = stateWithoutAttempt(run);
  return { carry: { ...within, head: commit, published: { branch, commit, ...base }, checks: soFar }, state: next };
}

function carryWithin(run: Ended, next: GoingOn["next"]): Carry {
  const state = knownState(run);
  const carried = carryPlanned(run, next);
  return { ...carried, attempts: attemptsOf(run, state), lastWords: state.turn?.conversation.lastText ?? carried.lastWords };
}

function sessionOf({ carry }: Ended, state: AttemptState): string | null {
  return state.sessionId ?? state.turn?.conversation.sessionId ?? carry?.sessionId ?? null;
}

function homesOf({ attempt, carry }: Ended): readonly number[] {
  return [attempt, ...(carry?.homes ?? carry?.attempts ?? [])];
}

/** What was published counts whatever became of the turn: it is in somebody's repository. */
function repositoriesOf({ carry }: Ended, state: AttemptState): Pick<Carry, "repositories"> {
  const before = carry?.repositories ?? {};
  const now = state.repositories ?? {};
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  if (names.length === 0) return {};
  const carried = names.map((name) => {
    const { made, headLost, published } = now[name] ?? {};
    const head = made?.head ?? (headLost === true ? null : (before[name]?.head ?? null));
    const branch = published !== undefined && "branch" in published ? published : (before[name]?.published ?? null);
    return [name, { head, published: branch }] as const;
  });
  return { repositories: Object.fromEntries(carried) };
}

function publishedOf(result: RunRow["result"], base: Pick<Carry, "base">): Carry["published"] {
  return result?.headBranch && result.headCommit ? { branch: result.headBranch, commit: result.headCommit, ...base } : null;
}

/** Where the workspace is: a server that died in the middle of taking it over may have moved it, or not. */
function attemptsOf(run: Ended, state: AttemptState): readonly number[] {
  const before = run.carry?.attempts ?? [];
  if (run.plans) return before;
  if (state.cachePath !== undefined) return [run.attempt];
  return state.workspace === "taken" ? [run.attempt, ...before] : before;
}
