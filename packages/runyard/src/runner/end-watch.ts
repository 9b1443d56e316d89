import { control, type Wakes } from "../engine/wakes.ts";
import type { Database } from "../store/database.ts";
import { timeoutInForce, triesOf } from "../store/attempts-shown.ts";
import { agentWaitOf, type RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import { EndRequest, FencedError, ReleaseRequest } from "./run-handle.ts";

/** Watches a run for a wish to cancel it, for its deadline, for a wait that takes too long, and for its being somebody else's. */
export interface EndWatch {
  /**
   * Aborted with an EndRequest when the run is to end, with a ReleaseRequest when its agent is to be let go, and with a
   * FencedError when another runner has it or may.
   */
  readonly signal: AbortSignal;
  /** Resolves once it has looked for the first time: what ended a run before this server came is known then. */
  readonly looked: Promise<void>;
  close(): void;
}

/**
 * Looks at the run whenever it is woken. Its deadline counts active time of this turn: while it waits for people
 * `active_since` is null and the clock stands still.
 */
export function watchForEnd(deps: { readonly db: Database; readonly wakes: Wakes; readonly pollMs: number }, run: RunRow): EndWatch {
  const { db, wakes, pollMs } = deps;
  const abort = new AbortController();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let looking = false;
  let again = false;
  const wait = waitClock();

  const look = async (): Promise<void> => {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    clearTimeout(timer);
    let nextMs = 2 * pollMs;
    try {
      const row = await reloadRun(db, run);
      if (row !== undefined && !closed) {
        const timeoutMs = timeoutInForce(row);
        // Each turn has its time, and so has an attempt behind one that ran out of it.
        const leftMs = timeoutMs - (row.active_now_ms - Math.max(row.turn_active_ms, triesOf(row).activeBeforeMs));
        if (row.owner !== run.owner || row.attempt !== run.attempt)
          abort.abort(new FencedError(`Run ${run.id} is not this runner's any more`));
        else if (row.cancel_reason !== null) abort.abort(new EndRequest({ type: "cancelled", reason: row.cancel_reason }));
        else if (leftMs <= 0 && row.active_since !== null) abort.abort(new EndRequest(deadlinePassed(timeoutMs)));
        else if (row.active_since !== null) nextMs = Math.min(nextMs, leftMs + 1);
        const waitedMs = wait.look(row);
        if (waitedMs >= agentWaitOf(row)) abort.abort(new ReleaseRequest("The agent has waited for long enough"));
      }
    } catch {
      // The database is away: whoever writes next will meet the same and say so. Look again later.
    }
    looking = false;
    if (closed || abort.signal.aborted) return;
    if (again) {
      again = false;
      void look();
    } else timer = setTimeout(() => void look(), nextMs);
  };

  const unsubscribe = wakes.subscribe(control(run.id), () => void look());
  const looked = look();
  return {
    signal: abort.signal,
    looked,
    close() {
      closed = true;
      clearTimeout(timer);
      unsubscribe();
    },
  };
}

/** How long the run has waited for people since somebody last answered something, in milliseconds; a new server begins anew. */
function waitClock(): { look(row: RunRow): number } {
  let since: { readonly atMs: number; readonly inSize: number } | null = null;
  return {
    look(row) {
      if (row.status !== "awaiting_input") since = null;
      else if (since?.inSize !== row.in_size) since = { atMs: performance.now(), inSize: row.in_size };
      return since === null ? 0 : performance.now() - since.atMs;
    },
  };
}

function deadlinePassed(timeoutMs: number): EndRequest["fact"] {
  const minutes = Math.round(timeoutMs / 6_000) / 10;
  return {
    type: "deadline_passed",
    error: {
      type: "timeout",
      message: `The run used up its ${minutes} minutes of active time. Give it more with settings.timeout (milliseconds) or --timeout.`,
    },
  };
}
