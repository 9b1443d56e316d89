import type { ConversationState } from "../agents/acp/conversation.ts";
import type { RunRow } from "../store/run-row.ts";

/** What a runner must know to go on in the middle of an attempt; stored in the run's row with every commit. */
export interface AttemptState {
  /** The bare repository that the workspace borrows objects from. Set once there is a workspace. */
  readonly cachePath?: string;
  /** The agent's turn. Set once it has begun. */
  readonly turn?: TurnState;
  /** The agent's last words. Set once its turn has succeeded. */
  readonly summary?: string;
  /** The commit that its work became, or null for no change. Set once it is in the cache. */
  readonly made?: { readonly head: string | null };
}

export interface TurnState {
  readonly conversation: ConversationState;
  /** The last model call that failed, for the verdict. */
  readonly lastError: { readonly status: number | null; readonly message: string } | null;
  /** Totals of the calls before this turn, so that the verdict goes by this turn's. */
  readonly before: { readonly calls: number; readonly failed: number };
}

export function attemptState(row: Pick<RunRow, "state">): AttemptState {
  return row.state as AttemptState;
}

/** The cache of a run that has a workspace. */
export function cachePathOf(row: Pick<RunRow, "id" | "state">): string {
  const { cachePath } = attemptState(row);
  if (cachePath === undefined) throw new Error(`Run ${row.id} has no workspace yet`);
  return cachePath;
}
