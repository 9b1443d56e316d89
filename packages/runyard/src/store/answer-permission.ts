import { RunyardError, type NewEvent } from "@runyard/sdk/contract";
import { hasRoomFor, type NormalRule, normalizePolicy, withRuleInFront } from "../core/permission-policy.ts";
import type { Database, Tx } from "./database.ts";
import type { RunRow } from "./run-row.ts";
import { ANSWER_REQUEST, answerValues } from "./runs.ts";

/** A person, as others see one. */
export interface Answerer {
  readonly userId: string;
  readonly userName?: string;
}

/**
 * Answers an open request for permission and, with a rule, remembers the answer for the rest of the run, all in one
 * commit; undefined: it was answered before, or its attempt is over. Throws RunyardError where the policy has no room.
 */
export async function answerPermission(
  db: Database,
  options: {
    orgId: string;
    runId: string;
    requestId: string;
    answer: string;
    by: string;
    rule: NormalRule | null;
    say: (person: Answerer) => { readonly line: string; readonly event: NewEvent };
  },
): Promise<RunRow | undefined> {
  return db.inOrganization(options.orgId, async (tx) => {
    const person = await answerer(tx, options.by);
    const rows = await tx.query<RunRow>(ANSWER_REQUEST, answerValues({ ...options, ...options.say(person) }));
    const run = rows[0];
    if (run === undefined || options.rule === null) return run;
    return addRule(tx, run, { permissionId: options.requestId, rule: options.rule, ...person });
  });
}

async function answerer(tx: Tx, userId: string): Promise<Answerer> {
  const [user] = await tx.query<{ name: string }>("select name from runyard.users where id = $1", [userId]);
  return { userId, ...(user && { userName: user.name }) };
}

/** Who decides, as others see them. */
export async function personOf(db: Database, { orgId, userId }: { readonly orgId: string; readonly userId: string }): Promise<Answerer> {
  return db.inOrganization(orgId, (tx) => answerer(tx, userId));
}

/** The row is locked by the answer, and nothing else writes the `spec` of a run whose turn goes on (continue_run takes one that has ended). */
async function addRule(
  tx: Tx,
  run: RunRow,
  added: { readonly permissionId: string; readonly rule: NormalRule } & Answerer,
): Promise<RunRow | undefined> {
  const policy = normalizePolicy(run.spec.permissionPolicy);
  if (!hasRoomFor(policy, added.rule)) {
    const message = "The run's policy has no room for one more rule. Answer without remembering.";
    throw new RunyardError("invalid_request", message, { errors: [{ path: "remember", message }] });
  }
  const spec = { ...run.spec, permissionPolicy: withRuleInFront(policy, added.rule) };
  const event: NewEvent = { type: "permission.rule_added", data: added };
  const rows = await tx.query<RunRow>(
    `with r as (
       update runyard.runs set spec = $2, last_seq = last_seq + 1, updated_at = now() where id = $1 returning *
     ), e as (
       insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
       select r.id, r.last_seq, r.org_id, r.turn, r.attempt, $3, $4::json from r
     )
     select * from r`,
    [run.id, JSON.stringify(spec), event.type, JSON.stringify(event.data)],
  );
  return rows[0];
}
