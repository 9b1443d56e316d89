import { type Carry, promptOf, type RunRow } from "../store/run-row.ts";
import { type AttemptState, knownState } from "./attempt-state.ts";

type Ended = Pick<RunRow, "attempt" | "state" | "carry" | "result" | "task" | "prompt">;

/** What the next turn goes on from, of a run whose turn has ended: what this turn left, else what it had itself gone on from. */
export function carryOver(run: Ended): Carry {
  const state = knownState(run);
  const before = run.carry;
  const conversation = state.turn?.conversation;
  const { result } = run;
  return {
    attempts: attemptsOf(run, state),
    head: state.made?.head ?? (state.headLost === true ? null : (before?.head ?? null)),
    published: publishedOf(result) ?? before?.published ?? null,
    sessionId: state.sessionId ?? conversation?.sessionId ?? before?.sessionId ?? null,
    prompt: promptOf(run),
    lastWords: state.summary ?? conversation?.lastText ?? before?.lastWords ?? null,
  };
}

function publishedOf(result: RunRow["result"]): Carry["published"] {
  return result?.headBranch && result.headCommit ? { branch: result.headBranch, commit: result.headCommit } : null;
}

/** Where the workspace is: a server that died in the middle of taking it over may have moved it, or not. */
function attemptsOf(run: Ended, state: AttemptState): readonly number[] {
  if (state.cachePath !== undefined) return [run.attempt];
  const before = run.carry?.attempts ?? [];
  return state.workspace === "taken" ? [run.attempt, ...before] : before;
}
