import type { Database } from "../../store/database.ts";
import type { RunRow } from "../../store/run-row.ts";
import { cancelRun, claimRun } from "../../store/runs.ts";
import { continueRun } from "../../store/turns.ts";
import { makeOrganization as makeOrganizationOf, queueRun } from "../../testing/queue-run.ts";

export const ORG = "org_turns";

/** The organization of `laterTurn`'s runs. */
export async function makeOrganization(db: Database): Promise<void> {
  await makeOrganizationOf(db, ORG);
  await db.inOrganization(ORG, (tx) => tx.query("update runyard.org_slots set max_active = 100"));
}

/** A run that was just taken up for its second turn, with a minute of time, after a first that took `activeMs`. */
export async function laterTurn(db: Database, how: { id: string; attempts: readonly number[]; activeMs?: number }): Promise<RunRow> {
  const { id, attempts, activeMs = 0 } = how;
  const run = await queueRun(db, { orgId: ORG, id });
  await cancelRun(db, { orgId: ORG, runId: id, reason: "x", events: [] });
  await db.inOrganization(ORG, (tx) => tx.query("update runyard.runs set active_ms = $2 where id = $1", [id, activeMs]));
  const carry = { attempts, head: null, published: null, sessionId: null, prompt: "x", lastWords: null };
  await continueRun(db, { run, prompt: "y", spec: run.spec, carry, plans: false, error: null, events: [] });
  const row = await claimRun(db, { owner: "owner", runnerId: "runner", events: [] });
  if (row?.id !== id) throw new Error("another run was claimed");
  return row;
}
