import type { Database, Tx } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import { insertRun, type NewRun } from "./runs.ts";

/** Who creates, and under which key. */
export interface CreateRequest {
  readonly orgId: string;
  readonly tokenId: string;
  /** null: a create that is not to be repeated. */
  readonly key: string | null;
  /** SHA-256 of what is asked for: the same key with another one is a mistake. */
  readonly bodyHash: Buffer;
}

/** How many creates a token has left of those that it has in any minute. */
export interface CreateRate {
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until there is one more. */
  readonly resetMs: number;
}

/** What becomes of a create; `runId` is the run that the key stands for, for a replay or a mismatch. */
export interface CreateDecision {
  readonly outcome: "new" | "replay" | "mismatch" | "limited";
  readonly runId: string | null;
  /** null: the token has no limit. */
  readonly rate: CreateRate | null;
}

interface DecisionRow {
  readonly outcome: CreateDecision["outcome"];
  readonly known_run: string | null;
  readonly quota: number | null;
  readonly remaining: number;
  readonly reset_ms: number;
}

function decisionOf(row: DecisionRow | undefined): CreateDecision {
  if (row === undefined) throw new Error("The database did not decide on a create");
  const { outcome, known_run: runId, quota, remaining, reset_ms: resetMs } = row;
  return { outcome, runId, rate: quota === null ? null : { limit: quota, remaining, resetMs } };
}

/** What would become of a create now; decides nothing, and waits for nobody. */
export async function lookBeforeCreate(db: Database, request: CreateRequest): Promise<CreateDecision> {
  const rows = await db.queryInOrganization<DecisionRow>(request.orgId, "select * from runyard.look_before_create($1, $2, $3)", [
    request.tokenId,
    request.key,
    request.bodyHash,
  ]);
  return decisionOf(rows[0]);
}

/**
 * Decides on a create and stores its run, in one transaction. A run comes back with the outcome `new`
 * alone. Another create under the same key that is under way is waited for. What `mayBegin` throws keeps the run from being made.
 */
export async function createRunOnce(
  db: Database,
  run: NewRun,
  request: CreateRequest & { readonly mayBegin?: (tx: Tx) => Promise<void> },
): Promise<CreateDecision & { readonly run: RunRow | undefined }> {
  // The transaction may be tried several times.
  const decisions: CreateDecision[] = [];
  const stored = await insertRun(db, run, async (tx) => {
    const rows = await tx.query<DecisionRow>("select * from runyard.admit_create($1, $2, $3, $4)", [
      request.tokenId,
      request.key,
      request.bodyHash,
      run.id,
    ]);
    const decision = decisionOf(rows[0]);
    decisions.push(decision);
    if (decision.outcome !== "new") return false;
    await request.mayBegin?.(tx);
    return true;
  });
  const decision = decisions.at(-1);
  if (decision === undefined) throw new Error("A create was not decided on");
  return { ...decision, run: stored };
}
