import type { NewEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { createWakes } from "../../src/engine/wakes.ts";
import { type Database, DatabaseUnavailableError } from "../../src/store/database.ts";
import { limitRuns } from "../../src/store/run-counts.ts";
import type { RunRow } from "../../src/store/run-row.ts";
import { createTestDatabase } from "../../src/testing/database.ts";
import { makeOrganization } from "../../src/testing/queue-run.ts";
import { MAX_ACTIVE, type Seen } from "./model.ts";

/** What becomes of a statement: it is answered; it never arrives; or it is done, and its answer is lost. */
export type Fault = "none" | "before" | "after";

/** What a statement with a fault came to: `done` is what its caller would have been told, and undefined where it never arrived. */
export interface Told<T> {
  readonly lost: boolean;
  readonly done: { readonly answer: T } | undefined;
}

/** A process that works for a home: its name fences those before it; what it remembers may be stale. */
export interface Owner {
  readonly name: string;
  readonly runnerId: string;
  /** The rows as last seen; `unsure`: an answer was lost, so the row must be read again before anything else. */
  readonly rows: Map<string, RunRow | "unsure">;
  /** The rows as they were one write before. */
  readonly before: Map<string, RunRow>;
}

export interface World {
  readonly db: Database;
  readonly wakes: ReturnType<typeof createWakes>;
  readonly orgIds: readonly string[];
  readonly owners: Owner[];
  /** True while several acts happen at once. */
  racing: boolean;
  /** Runs that are in an owner's hands this moment: one owner does one thing after the other with a run. */
  readonly busy: Set<string>;
  newName(kind: string): string;
  look(): Promise<Seen>;
}

export const said = (text: string): NewEvent => ({ type: "log", data: { text } });

const LOOK = `
  select json_build_object(
    'runs', (select coalesce(json_agg(json_build_object(
        'id', r.id, 'status', r.status, 'phase', r.phase, 'turn', r.turn, 'attempt', r.attempt, 'open_requests', r.open_requests,
        'owner', r.owner, 'last_seq', r.last_seq, 'out', r.out_cursor, 'in', r.in_size,
        'cancel_wanted', r.cancel_reason is not null, 'begun', r.begun, 'plans', r.plans, 'plan_version', r.plan_version,
        'versions', (select coalesce(json_agg(json_build_array(n.version, n.state) order by n.version), '[]')
                       from runyard.plans n where n.run_id = r.id), 'clock_runs', r.active_since is not null, 'has_ended', r.finished_at is not null,
        'log', (select coalesce(json_agg(e.seq || ': ' || e.turn || '/' || e.attempt || ' ' || e.type order by e.seq), '[]')
                  from runyard.events e where e.run_id = r.id),
        'open', (select coalesce(json_agg(q.id order by q.id collate "C") filter (where q.closed_at is null), '[]')
                   from runyard.requests q where q.run_id = r.id),
        'answered', (select coalesce(json_agg(q.id order by q.id collate "C") filter (where q.answer is not null), '[]')
                       from runyard.requests q where q.run_id = r.id),
        'inputs', (select coalesce(json_agg(json_build_array(i.off, octet_length(i.line)) order by i.off), '[]')
                     from runyard.inputs i where i.run_id = r.id and i.attempt = r.attempt)
      )), '[]') from runyard.runs r where r.org_id = any($1)),
    'slots', (select json_agg(json_build_object('org_id', s.org_id, 'active', s.active, 'queued', s.queued))
                from runyard.org_slots s where s.org_id = any($1)),
    'keys', (select coalesce(json_agg(json_build_object('key', k.org_id || ' ' || k.key, 'run_id', k.run_id)), '[]')
               from runyard.idempotency_keys k where k.org_id = any($1))
  ) as seen`;

/** The real store, and a look at it that nothing hides anything from. */
export interface Store {
  readonly outside: pg.Client;
  /** Two organizations and two homes that nobody has used, with one living process each. */
  newWorld(): Promise<World>;
  /** What is queued there is nobody's any more. */
  leave(world: World): Promise<void>;
  drop(): Promise<void>;
}

export async function openStore(): Promise<Store> {
  const database = await createTestDatabase();
  const outside = new pg.Client({ connectionString: database.connectionString });
  await outside.connect();
  let worlds = 0;
  return {
    outside,
    async newWorld() {
      const w = (worlds += 1);
      const orgIds = [`org_${w}_a`, `org_${w}_b`];
      for (const orgId of orgIds) {
        await makeOrganization(database.db, orgId);
        await limitRuns(database.db, orgId, MAX_ACTIVE);
      }
      let names = 0;
      const newName = (kind: string): string => `${kind}_${w}_${(names += 1)}`;
      return {
        db: database.db,
        wakes: createWakes(),
        orgIds,
        owners: ["a", "b"].map((home) => ({ name: newName("owner"), runnerId: `runner_${w}_${home}`, rows: new Map(), before: new Map() })),
        racing: false,
        busy: new Set(),
        newName,
        look: async () => (await outside.query<{ seen: Seen }>(LOOK, [orgIds])).rows[0]?.seen as Seen,
      };
    },
    async leave(world) {
      await outside.query("update runyard.org_slots set queued = 0 where org_id = any($1)", [world.orgIds]);
    },
    async drop() {
      await outside.end();
      await database.drop();
    },
  };
}

/** Does something in one transaction, with a fault of the line to the database. */
export async function withFault<T>(world: World, fault: Fault, work: (db: Database) => Promise<T>): Promise<Told<T>> {
  if (fault === "before") return { lost: true, done: undefined };
  return { lost: fault === "after", done: { answer: await work(world.db) } };
}

/** The same line for code that holds a database and is to meet the fault itself; `done` tells what the lost answer was. */
export function faulty(world: World, fault: Fault): { readonly db: Database; readonly done: () => unknown[] | undefined } {
  let done: unknown[] | undefined;
  const { db } = world;
  const onBadLine = async <Row>(ask: () => Promise<Row[]>): Promise<Row[]> => {
    if (fault === "before") throw lostLine(false);
    const rows = await ask();
    // What a writer looks up after a refusal is no write.
    done ??= rows;
    if (fault === "after") throw lostLine(true);
    return rows;
  };
  const queryInOrganization: Database["queryInOrganization"] = (...words) => onBadLine(() => db.queryInOrganization(...words));
  const query: Database["query"] = (...words) => onBadLine(() => db.query(...words));
  return { db: { ...db, queryInOrganization, query }, done: () => done };
}

function lostLine(mayHaveCommitted: boolean): DatabaseUnavailableError {
  return new DatabaseUnavailableError("The connection was lost", { cause: null, mayHaveCommitted });
}
