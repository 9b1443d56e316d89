import { control, type Wakes } from "../engine/wakes.ts";
import type { Database } from "../store/database.ts";
import type { RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import { EndRequest } from "./run-handle.ts";

/** How often a run is looked at without being woken: a wake-up from another process may be missing. */
const FALLBACK_MS = 2_000;

/** Watches a run for a wish to cancel it and for its deadline. */
export interface EndWatch {
  /** Aborted with an EndRequest when the run is to end. */
  readonly signal: AbortSignal;
  close(): void;
}

/**
 * Looks at the run whenever it is woken. Its deadline counts active time of this turn: while it waits for people
 * `active_since` is null and the clock stands still.
 */
export function watchForEnd(deps: { readonly db: Database; readonly wakes: Wakes }, run: RunRow): EndWatch {
  const { db, wakes } = deps;
  const abort = new AbortController();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let looking = false;
  let again = false;

  const look = async (): Promise<void> => {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    clearTimeout(timer);
    let nextMs = FALLBACK_MS;
    try {
      const row = await reloadRun(db, run);
      if (row !== undefined && !closed) {
        const leftMs = row.spec.timeoutMs - (row.active_now_ms - row.turn_active_ms);
        if (row.cancel_reason !== null) abort.abort(new EndRequest({ type: "cancelled", reason: row.cancel_reason }));
        else if (leftMs <= 0 && row.active_since !== null) abort.abort(new EndRequest(deadlinePassed(row.spec.timeoutMs)));
        else if (row.active_since !== null) nextMs = Math.min(nextMs, leftMs + 1);
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
  void look();
  return {
    signal: abort.signal,
    close() {
      closed = true;
      clearTimeout(timer);
      unsubscribe();
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
