import { NO_USAGE } from "../../core/usage.ts";
import type { Database } from "../../store/database.ts";
import { ensureAdministrator } from "../../store/identities.ts";
import type { RunRow, RunSpec } from "../../store/run-row.ts";
import { cancelRun, claimRun, insertRun } from "../../store/runs.ts";
import { continueRun } from "../../store/turns.ts";

export const ORG = "org_turns";
const SPEC: RunSpec = {
  agent: { profile: "builtin", command: null },
  model: null,
  permissionPolicy: { ask: [], deny: [] },
  timeoutMs: 60_000,
  sandboxDriver: "process",
};

/** The organization of `laterTurn`'s runs. */
export async function makeOrganization(db: Database): Promise<void> {
  const who = { userId: "user_x", userName: "x", tokenId: "token_x", tokenHash: Buffer.from("x"), scopes: [] };
  await ensureAdministrator(db, { orgId: ORG, orgName: ORG, ...who });
  await db.inOrganization(ORG, (tx) => tx.query("update runyard.org_slots set max_active = 100"));
}

/** A run that was just taken up for its second turn, with a minute of time, after a first that took `activeMs`. */
export async function laterTurn(db: Database, how: { id: string; attempts: readonly number[]; activeMs?: number }): Promise<RunRow> {
  const { id, attempts, activeMs = 0 } = how;
  const place = { repositoryId: `repo_${id}`, repositoryUrl: "/r", branch: null, baseCommit: "b".repeat(40) };
  const fresh = { spec: SPEC, simulated: false, usage: NO_USAGE, status: "pending", error: null, events: [] } as const;
  const run = await insertRun(db, { id, orgId: ORG, userId: "user_x", task: "x", ...place, ...fresh });
  await cancelRun(db, { orgId: ORG, runId: id, reason: "x", events: [] });
  await db.inOrganization(ORG, (tx) => tx.query("update runyard.runs set active_ms = $2 where id = $1", [id, activeMs]));
  const carry = { attempts, head: null, published: null, sessionId: null, prompt: "x", lastWords: null };
  await continueRun(db, { run, prompt: "y", spec: SPEC, carry, error: null, events: [] });
  const row = await claimRun(db, { owner: "owner", runnerId: "runner", events: [] });
  if (row?.id !== id) throw new Error("another run was claimed");
  return row;
}
