import type { Database, Tx } from "./database.ts";
import type { RunRow } from "./run-row.ts";

/** A row of `outbox`: an effect on somebody else's system. */
export interface EffectRow {
  readonly id: string;
  readonly org_id: string;
  readonly kind: string;
  readonly run_id: string | null;
  readonly attempt: number | null;
  readonly payload: unknown;
  readonly status: "due" | "done" | "failed" | "withdrawn";
  readonly tries: number;
  readonly next_attempt_at: string;
  /** Fences the try: whoever comes with another one writes nothing. */
  readonly lease: string | null;
  /** Null: no try is under way. */
  readonly leased_until: string | null;
  readonly problem: unknown;
  readonly outcome: unknown;
  readonly created_at: string;
}

/**
 * Asks for an effect in the name of a run's attempt, once for each `key`; a second time gives what was asked for before.
 * Undefined: the run is not this owner's any more, or has ended.
 */
export async function requestEffect(
  db: Database,
  wish: {
    readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">;
    readonly id: string;
    readonly kind: string;
    readonly key: string;
    readonly payload: unknown;
  },
): Promise<EffectRow | undefined> {
  const { run, id, kind, key, payload } = wish;
  const rows = await db.queryInOrganization<EffectRow>(
    run.org_id,
    `with r as (
       select id, org_id, attempt from runyard.runs
       where id = $1 and org_id = runyard.current_org() and owner = $2 and attempt = $3 and not runyard.is_terminal(status)
     ), i as (
       insert into runyard.outbox (id, org_id, kind, key, run_id, attempt, payload)
         select $4, r.org_id, $5, $6, r.id, r.attempt, $7 from r
       on conflict (org_id, kind, key) do nothing returning *
     )
     select * from i union all
     select o.* from runyard.outbox o, r where o.org_id = r.org_id and o.kind = $5 and o.key = $6`,
    [run.id, run.owner, run.attempt, id, kind, key, JSON.stringify(payload)],
  );
  return rows[0];
}

export async function findEffect(db: Database, orgId: string, id: string): Promise<EffectRow | undefined> {
  const rows = await db.queryInOrganization<EffectRow>(
    orgId,
    "select * from runyard.outbox where id = $1 and org_id = runyard.current_org()",
    [id],
  );
  return rows[0];
}

/** Takes what is due; nobody else does for as long as the lease. */
export async function claimEffects(
  db: Database,
  claim: {
    readonly performer: string;
    readonly lease: string;
    readonly leaseMs: number;
    readonly kinds: readonly string[];
    readonly limit: number;
  },
): Promise<(EffectRow & { readonly lease: string })[]> {
  const { performer, lease, leaseMs, kinds, limit } = claim;
  return db.query("select * from runyard.claim_effects($1, $2, $3, $4, $5)", [performer, lease, leaseMs, kinds, limit]);
}

/** Gives free what this performer was at when it was last seen: nothing of it is under way any more. */
export async function releaseEffects(db: Database, performer: string): Promise<void> {
  await db.query("select runyard.release_effects($1)", [performer]);
}

type Leased = Pick<EffectRow, "id" | "org_id" | "lease">;

/** Notes that a try failed, and when the next one is; false: somebody else is at it by now. */
export async function postponeEffect(
  db: Database,
  effect: Leased,
  next: { readonly delayMs: number; readonly problem: unknown },
): Promise<boolean> {
  const rows = await db.queryInOrganization(
    effect.org_id,
    `update runyard.outbox set next_attempt_at = now() + $3 * interval '1 millisecond', leased_until = null, problem = $4
     where id = $1 and org_id = runyard.current_org() and lease = $2 and status = 'due' returning id`,
    [effect.id, effect.lease, next.delayMs, JSON.stringify(next.problem)],
  );
  return rows.length > 0;
}

/**
 * Notes how an effect ended, and in the same transaction what `also` has to store; false: somebody else is at it by now, or was
 * faster. What was withdrawn while it was under way, and done all the same, is done.
 */
export async function settleEffect(
  db: Database,
  effect: Leased,
  end: { readonly status: "done" | "failed"; readonly outcome: unknown; readonly also?: ((tx: Tx) => Promise<void>) | undefined },
): Promise<boolean> {
  return db.inOrganization(effect.org_id, async (tx) => {
    const rows = await tx.query(
      `update runyard.outbox set status = $3, outcome = $4, leased_until = null, finished_at = now()
       where id = $1 and org_id = runyard.current_org() and lease = $2 and (status = 'due' or (status = 'withdrawn' and $3 = 'done')) returning id`,
      [effect.id, effect.lease, end.status, JSON.stringify(end.outcome)],
    );
    if (rows.length === 0) return false;
    await end.also?.(tx);
    return true;
  });
}

/** Nobody waits for the effect any more: no further try is begun. Gives it as it is then. */
export async function withdrawEffect(db: Database, orgId: string, id: string): Promise<EffectRow | undefined> {
  await db.queryInOrganization(
    orgId,
    "update runyard.outbox set status = 'withdrawn', finished_at = now() where id = $1 and org_id = runyard.current_org() and status = 'due'",
    [id],
  );
  return findEffect(db, orgId, id);
}
