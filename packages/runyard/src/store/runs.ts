import type { NewEvent, RunPhase, RunResult, RunError, RunStatus, SandboxReport, TerminalStatus } from "@runyard/sdk/contract";
import { SANDBOX_LIMITS } from "../core/limits.ts";
import { type Admission, waitsForMemory } from "../core/memory.ts";
import type { UsageTotals } from "../core/usage.ts";
import { attemptSettings } from "./attempts-shown.ts";
import type { Database, Tx } from "./database.ts";
import { readRooms } from "./memory.ts";
import { PLAN_SHOWN } from "./plans-shown.ts";
import { PULL_REQUESTS_SHOWN } from "./pull-requests.ts";
import type { StoredReplay } from "./replays.ts";
import { type NewApproval, type OpenRow, planSettings, type RequestRow, type RunRow, type RunSpec } from "./run-row.ts";

export interface NewRun {
  readonly id: string;
  readonly orgId: string;
  readonly userId: string;
  readonly repositoryId: string;
  readonly task: string;
  readonly repositoryUrl: string;
  readonly branch: string | null;
  readonly baseCommit: string;
  readonly spec: RunSpec;
  readonly simulated: boolean;
  readonly usage: UsageTotals;
  readonly status: "pending" | "failed" | "awaiting_input";
  readonly error: RunError | null;
  readonly events: readonly NewEvent[];
  readonly replay?: StoredReplay;
  /** The only runner that may take it up; default: any. */
  readonly onlyRunner?: string;
  /** The saved agent that it is given. */
  readonly agentId?: string | null;
  /** What it waits for before it begins, as `awaiting_input`. */
  readonly approval?: NewApproval;
}

/** Events as the two arrays that every SQL function takes: types, and data as JSON text that is stored as it is. */
export function eventArrays(events: readonly NewEvent[]): [string[], string[]] {
  return [events.map((event) => event.type), events.map((event) => JSON.stringify(event.data))];
}

/**
 * Stores a run with its first events; a queued one counts in its organization from then on. Where `admit`,
 * asked first in the same transaction, says no, nothing is stored and undefined comes back.
 */
export async function insertRun(db: Database, run: NewRun): Promise<RunRow>;
export async function insertRun(db: Database, run: NewRun, admit: (tx: Tx) => Promise<boolean>): Promise<RunRow | undefined>;
export async function insertRun(db: Database, run: NewRun, admit?: (tx: Tx) => Promise<boolean>): Promise<RunRow | undefined> {
  const [types, data] = eventArrays(run.events);
  return db.inOrganization(run.orgId, async (tx) => {
    if (admit !== undefined && !(await admit(tx))) return undefined;
    // This row is held to the end, so that its count is the run's place in the queue too.
    const enqueue = "update runyard.org_slots set queued = queued + 1 where org_id = $1 returning queued";
    const queuing = run.status === "pending" ? tx.query<{ queued: number }>(enqueue, [run.orgId]) : null;
    // Goes out behind it, without waiting for its answer.
    const inserting = tx.query<RunRow>(
      `with p as (
         insert into runyard.repositories (id, org_id, url) values ($3, $2, $6)
         on conflict (org_id, url) do update set url = excluded.url returning id
       ), r as (
         insert into runyard.runs (id, org_id, repository_id, created_by, task, repository_url, branch, base_commit, spec, simulated, usage,
                                   status, phase, error, last_seq, finished_at, plans, replay, only_runner, agent_id, open_requests, memory_bytes)
         select $1, $2, p.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'queued', $13, cardinality($14::text[]), case when $12 = 'failed' then now() end, $16, $17, $18,
                $19, case when $12 = 'awaiting_input' then 1 else 0 end, $20
           from p
         returning *
       ), e as (
         insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
         select r.id, o, r.org_id, r.turn, r.attempt, t, d::json from r, unnest($14::text[], $15::text[]) with ordinality e(t, d, o)
       )
       select * from r`,
      [
        run.id,
        run.orgId,
        run.repositoryId,
        run.userId,
        run.task,
        run.repositoryUrl,
        run.branch,
        run.baseCommit,
        JSON.stringify(run.spec),
        run.simulated,
        JSON.stringify(run.usage),
        run.status,
        run.error === null ? null : JSON.stringify(run.error),
        types,
        data,
        planSettings(run).wanted,
        run.replay === undefined ? null : JSON.stringify(run.replay),
        run.onlyRunner ?? null,
        run.agentId ?? null,
        memoryOf(run),
      ],
    );
    const [queue, rows] = await Promise.all([queuing, inserting]);
    if (run.approval !== undefined) {
      const ask = "select runyard.request_approval(r, $2, $3) from runyard.runs r where r.id = $1";
      await tx.query(ask, [run.id, run.approval.id, JSON.stringify(run.approval.request)]);
    }
    return { ...one(rows), queue_position: queue === null ? null : one(queue).queued };
  });
}

/** Of the sandbox that the run asks for, in bytes. */
function memoryOf(run: Pick<NewRun, "spec">): number {
  return SANDBOX_LIMITS[attemptSettings(run).sandboxType].memoryBytes;
}

/** The rows, with what is said of those that are queued and wait for memory. */
async function sayWhoWaits<Row extends RunRow>(tx: Tx, rows: readonly Row[]): Promise<Row[]> {
  if (!rows.some((row) => row.status === "pending")) return [...rows];
  const rooms = await readRooms(tx);
  return rows.map((row) => {
    const mayHave = rooms.filter(({ runnerId }) => row.only_runner === null || row.only_runner === runnerId);
    const memoryBytes = (row.begun ? row.recovery_bytes : null) ?? row.memory_bytes;
    return { ...row, waits_for_memory: row.status === "pending" && waitsForMemory({ id: row.id, memoryBytes }, mayHave) };
  });
}

export interface StoredRun {
  readonly run: RunRow;
  readonly open: readonly OpenRow[];
}

/** The place in the queue is counted on the index of queued runs, up to the run itself. */
const FIND_RUN = `
  select r.*, case when r.status = 'pending' then
      (select count(*)::int from runyard.runs q where q.org_id = r.org_id and q.status = 'pending' and q.num <= r.num)
    end as queue_position, runyard.waits_for_cap(r) as waits_for_cap, runyard.egress_denied(r.id) as egress_denied, ${PULL_REQUESTS_SHOWN}, ${PLAN_SHOWN}
  from runyard.runs r where r.id = $1`;

/**
 * What is queued on one page stands in one row in the queue too, so one count is enough for all of them. A statement
 * for each way to ask: one that leaves open what is asked for has one plan for all, which reads the list from its top.
 */
const listStatement = (options: { before: number | null; status: RunStatus | null }): string => `
  with page as materialized (
    select r.*, runyard.waits_for_cap(r) as waits_for_cap, runyard.egress_denied(r.id) as egress_denied, ${PULL_REQUESTS_SHOWN}, ${PLAN_SHOWN} from runyard.runs r
    where r.org_id = runyard.current_org() and ${options.before === null ? "$1::bigint is null" : "num < $1"}
      and ${options.status === null ? "$2::text is null" : "status = $2"} order by num desc limit $3
  )
  select page.*, case when page.status = 'pending' then
      (select count(*) from runyard.runs q
         where q.org_id = runyard.current_org() and q.status = 'pending'
           and q.num < (select min(p.num) from page p where p.status = 'pending'))::int
      + (row_number() over (partition by page.status order by page.num))::int
    end as queue_position
  from page order by page.num desc`;

/** A run with its open requests, or undefined (also for a run of another organization). */
export async function findRun(db: Database, orgId: string, runId: string): Promise<StoredRun | undefined> {
  return db.inOrganization(orgId, async (tx) => {
    const rows = await sayWhoWaits(tx, await tx.query<RunRow>(FIND_RUN, [runId]));
    const run = rows[0];
    return run && { run, open: run.open_requests === 0 ? [] : await openRequests(tx, [runId]) };
  });
}

async function openRequests(tx: Tx, runIds: readonly string[]): Promise<(OpenRow & { readonly run_id: string })[]> {
  return tx.query(
    `select run_id, id, attempt, kind, request, answer, closed_at from runyard.requests
     where run_id = any($1) and closed_at is null order by attempt, off`,
    [runIds],
  );
}

/** A request of a run's agent, answered or not, or undefined. */
export async function findRequest(
  db: Database,
  options: { orgId: string; runId: string; requestId: string },
): Promise<RequestRow | undefined> {
  return db.inOrganization(options.orgId, async (tx) => {
    const rows = await tx.query<RequestRow>(
      "select id, attempt, kind, request, answer, closed_at from runyard.requests where run_id = $1 and id = $2 and kind <> 'approval'",
      [options.runId, options.requestId],
    );
    return rows[0];
  });
}

/** Runs of an organization, newest first, from before the run with number `before`; one more than `limit` tells that more follow. */
export async function listRuns(
  db: Database,
  options: { orgId: string; before: number | null; status: RunStatus | null; limit: number },
): Promise<StoredRun[]> {
  return db.inOrganization(options.orgId, async (tx) => {
    const rows = await sayWhoWaits(tx, await tx.query<RunRow>(listStatement(options), [options.before, options.status, options.limit]));
    const waiting = rows.filter((run) => run.open_requests > 0).map((run) => run.id);
    const open = waiting.length === 0 ? [] : await openRequests(tx, waiting);
    return rows.map((run) => ({ run, open: open.filter((request) => request.run_id === run.id) }));
  });
}

/**
 * Claims a queued run for a runner, with the events that say so (where they are given: `laterEvents` in a turn
 * after the first, `againEvents` in a turn that was begun before); undefined: nothing may be claimed now.
 */
export async function claimRun(
  db: Database,
  options: {
    owner: string;
    runnerId: string;
    events: readonly NewEvent[];
    laterEvents?: readonly NewEvent[];
    againEvents?: readonly NewEvent[];
    /** What it may take up by its memory; left out: anything. */
    admission?: Admission;
  },
): Promise<RunRow | undefined> {
  const { owner, runnerId, events, laterEvents = events, againEvents = events, admission } = options;
  const words = [owner, runnerId, ...eventArrays(events), ...eventArrays(laterEvents), ...eventArrays(againEvents)];
  const memory = [admission?.roomBytes ?? null, admission?.first ?? null, admission?.passed ?? null];
  const rows = await db.query<RunRow>("select * from runyard.claim_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", [
    ...words,
    ...memory,
  ]);
  return rows[0];
}

/** Takes over every living run of a runner; earlier owners are fenced from then on. */
export async function adoptRuns(db: Database, options: { owner: string; runnerId: string }): Promise<RunRow[]> {
  return db.query<RunRow>("select * from runyard.adopt_runs($1, $2)", [options.owner, options.runnerId]);
}

/** What one commit of a runner changes beside cursors; what is left out stays. */
export interface RunChange {
  readonly status?: TerminalStatus;
  readonly phase?: RunPhase;
  readonly state?: unknown;
  readonly sandbox?: SandboxReport;
  readonly result?: RunResult;
  readonly error?: RunError;
  readonly usage?: UsageTotals;
  readonly percentage?: number;
}

export interface StepCommit {
  /** The run as this runner last saw it: owner, attempt and cursors must still be these. */
  readonly run: RunRow;
  readonly outTo?: number;
  readonly usageTo?: number;
  readonly events?: readonly NewEvent[];
  /** Open requests of the agent, each with `id`, `kind` and `offset`. */
  readonly requests?: readonly { readonly id: string; readonly kind: string; readonly offset: number }[];
  /** Whole lines for the agent's `in`. */
  readonly lines?: readonly string[];
  readonly change?: RunChange;
}

/** Requests as the arrays that every SQL function takes: ids, kinds, offsets, and the whole as JSON text. */
export function requestArrays(requests: NonNullable<StepCommit["requests"]>): [string[], string[], number[], string[]] {
  return [
    requests.map((request) => request.id),
    requests.map((request) => request.kind),
    requests.map((request) => request.offset),
    requests.map((request) => JSON.stringify(request)),
  ];
}

const COMMIT_STEP = `select * from runyard.commit_step(${Array.from({ length: 23 }, (_, i) => `$${i + 1}`).join(", ")})`;

/** What a commit gives back of a run: what it may have changed, and what people may change of a run in hand. */
type AfterStep = Pick<
  RunRow,
  | "status"
  | "phase"
  | "spec"
  | "cancel_reason"
  | "open_requests"
  | "last_seq"
  | "out_cursor"
  | "usage_cursor"
  | "in_size"
  | "percentage"
  | "active_ms"
  | "active_since"
  | "finished_at"
  | "updated_at"
>;

/** What a commit stores as JSON, in the order of its parameters. */
const DOCUMENTS = ["state", "sandbox", "result", "error", "usage"] as const;

/**
 * The fenced write of a runner, all in one commit and one statement; resolves with the run as it is then. Undefined:
 * somebody else owns the run now, or it has ended.
 */
export async function commitStep(db: Database, step: StepCommit): Promise<RunRow | undefined> {
  const { run, requests = [], change = {} } = step;
  const documents = DOCUMENTS.map((name) => (change[name] === undefined ? null : JSON.stringify(change[name])));
  const rows = await db.query<AfterStep>(COMMIT_STEP, [
    run.id,
    run.owner,
    run.attempt,
    run.out_cursor,
    step.outTo ?? run.out_cursor,
    run.usage_cursor,
    step.usageTo ?? run.usage_cursor,
    ...eventArrays(step.events ?? []),
    ...requestArrays(requests),
    step.lines ?? [],
    change.status ?? null,
    change.phase ?? null,
    ...documents,
    change.percentage ?? null,
    run.org_id,
  ]);
  const after = rows[0];
  if (after === undefined) return undefined;
  // As the database would give it back, whatever the caller does with what it gave.
  const given = documents.flatMap((text, at) => (text === null ? [] : [[DOCUMENTS[at], JSON.parse(text) as unknown]]));
  return { ...run, ...(Object.fromEntries(given) as Pick<RunChange, (typeof DOCUMENTS)[number]>), ...after };
}

/** Lines for an attempt's `in` from a byte offset on, in order. */
export async function readInputs(
  db: Database,
  options: { run: Pick<RunRow, "id" | "org_id" | "attempt">; from: number },
): Promise<{ off: number; line: string }[]> {
  const { run, from } = options;
  return db.queryInOrganization(
    run.org_id,
    "select off, line from runyard.inputs where run_id = $1 and attempt = $2 and off >= $3 order by off",
    [run.id, run.attempt, from],
  );
}

/** The first answer to an open request; no row: it was answered before, or its attempt is over. */
export const ANSWER_REQUEST = "select * from runyard.answer_request($1, $2, $3, $4, $5, $6, $7)";

interface RequestAnswer {
  readonly runId: string;
  readonly requestId: string;
  /** Null: nobody waits for one any more. */
  readonly answer: string | null;
  /** A person's id; null: nobody, or the recording of a replay. */
  readonly by: string | null;
  readonly line: string;
  readonly event: NewEvent;
}

export function answerValues(answer: RequestAnswer): unknown[] {
  const { runId, requestId, by, line, event } = answer;
  return [runId, requestId, answer.answer, by, line, event.type, JSON.stringify(event.data)];
}

/** Answers an open request; undefined: it was answered before, or its attempt is over. */
export async function answerRequest(db: Database, options: RequestAnswer & { readonly orgId: string }): Promise<RunRow | undefined> {
  const rows = await db.queryInOrganization<RunRow>(options.orgId, ANSWER_REQUEST, answerValues(options));
  return rows[0];
}

/** Cancels a queued run, or notes the wish for a living one; undefined: the run has ended or does not exist. */
export async function cancelRun(
  db: Database,
  options: { orgId: string; runId: string; reason: string; events: readonly NewEvent[] },
): Promise<RunRow | undefined> {
  const [types, data] = eventArrays(options.events);
  const rows = await db.queryInOrganization<RunRow>(options.orgId, "select * from runyard.cancel_run($1, $2, $3, $4)", [
    options.runId,
    options.reason,
    types,
    data,
  ]);
  return rows[0];
}

/**
 * Reads a run again, as its runner: to see a wish to cancel, or that a wait is over. `active_now_ms` is its
 * active time up to now by the database's clock, which is the one that its times were taken by.
 */
export async function reloadRun(
  db: Database,
  run: Pick<RunRow, "id" | "org_id">,
): Promise<(RunRow & { readonly active_now_ms: number }) | undefined> {
  const rows = await db.queryInOrganization<RunRow & { active_now_ms: number }>(
    run.org_id,
    "select *, runyard.active_ms_until_now(active_ms, active_since) as active_now_ms from runyard.runs where id = $1",
    [run.id],
  );
  return rows[0];
}

/** The living runs of a runner (neither queued nor ended), of every organization. */
export async function livingRuns(db: Database, runnerId: string): Promise<{ id: string; attempt: number }[]> {
  return db.query<{ id: string; attempt: number }>("select id, attempt from runyard.living_runs($1)", [runnerId]);
}

/** Notes the wish to cancel for every run that a runner has in hand, of every organization; gives their ids. */
export async function cancelLivingRuns(db: Database, options: { runnerId: string; reason: string }): Promise<string[]> {
  const words = [options.runnerId, options.reason];
  const rows = await db.query<{ id: string }>("select id from runyard.cancel_living_runs($1, $2) as id", words);
  return rows.map(({ id }) => id);
}

function one<T>(rows: readonly T[]): T {
  const row = rows[0];
  if (row === undefined) throw new Error("The database gave no row where one was certain");
  return row;
}
