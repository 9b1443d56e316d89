import type { Divergence, Replay, RunResult, RunStatus } from "@runyard/sdk/contract";
import type { Database } from "./database.ts";
import type { RunRow } from "./run-row.ts";

/** What is stored of a replay, beside what it shows. */
export interface StoredReplay extends Replay {
  /** How the recorded turn ended: its status, and the commit that it made; null: none. */
  readonly ended: { readonly status: RunStatus; readonly commit: string | null };
  /** A call of it got no answer, for this reason. Then it cannot end well. */
  readonly refused: Divergence | null;
}

/** How a turn of a run ended; undefined: it has not. */
export async function turnEnd(
  db: Database,
  { run, turn }: { readonly run: Pick<RunRow, "id" | "org_id">; readonly turn: number },
): Promise<StoredReplay["ended"] | undefined> {
  const rows = await db.queryInOrganization<{ status: RunStatus; data: { readonly result?: RunResult } }>(
    run.org_id,
    `select substring(type from 5) as status, data from runyard.events
     where run_id = $1 and org_id = runyard.current_org() and turn = $2 and type in ('run.completed', 'run.failed', 'run.cancelled', 'run.timeout')
     order by seq desc limit 1`,
    [run.id, turn],
  );
  const [end] = rows;
  return end && { status: end.status, commit: end.data.result?.headCommit ?? null };
}

/** Notes what came of a replay so far; undefined: somebody else owns the run now, or it has ended. */
export async function noteReplay(
  db: Database,
  { run, replay }: { readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">; readonly replay: StoredReplay },
): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(
    run.org_id,
    `update runyard.runs set replay = $4, updated_at = now()
     where id = $1 and org_id = runyard.current_org() and owner = $2 and attempt = $3 and status <> 'pending' and not runyard.is_terminal(status) returning *`,
    [run.id, run.owner, run.attempt, JSON.stringify(replay)],
  );
  return rows[0];
}

/** The part of a replay that people see. */
export function showReplay({ replay }: Pick<RunRow, "replay">): Replay | null {
  if (replay === null) return null;
  const { of, turn, turns, exchanges, divergence, sameResult } = replay;
  return { of, turn, turns, exchanges, divergence, sameResult };
}
