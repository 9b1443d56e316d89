import type { Database } from "./database.ts";

/** A run that has ended, of any organization. */
export interface EndedRun {
  readonly id: string;
  readonly org_id: string;
  readonly finished_at: string;
}

/** Those of these runs that have ended. */
export async function endedRuns(db: Database, ids: readonly string[]): Promise<EndedRun[]> {
  return ids.length === 0 ? [] : db.query<EndedRun>("select * from runyard.ended_runs($1)", [ids]);
}

/**
 * Does something while a run cannot be continued; false, with nothing done, where it has been since it was read, or
 * somebody is at it right now. `work` may be done several times.
 */
export async function whileEnded(db: Database, run: EndedRun, work: () => void): Promise<boolean> {
  return db.inOrganization(run.org_id, async (tx) => {
    const held = await tx.query(
      `select 1 from runyard.runs where id = $1 and org_id = runyard.current_org() and runyard.is_terminal(status)
         and finished_at = $2 for update skip locked`,
      [run.id, run.finished_at],
    );
    if (held.length > 0) work();
    return held.length > 0;
  });
}
