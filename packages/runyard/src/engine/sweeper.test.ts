import type { NewEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { attemptSettingsOf } from "../core/attempts.ts";
import { MAX_LOSSES } from "../core/lost-runs.ts";
import { triesOf } from "../store/attempts-shown.ts";
import { readEvents } from "../store/events.ts";
import type { RunRow } from "../store/run-row.ts";
import { holdRunnerLease, type RunnerLease } from "../store/runner-lease.ts";
import { allRunners } from "../store/runners.ts";
import { cancelRun, claimRun, commitStep, findRun, reloadRun } from "../store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { type Sweeper, startSweeper } from "./sweeper.ts";
import { createWakes } from "./wakes.ts";

const ORG = "org_swept";
/** So long that nothing happens by itself: the test's own clock moves, and looks are asked for. */
const LEASE_MS = 600_000;
const STEP_MS = LEASE_MS / 6;
const PATIENCE = { timeout: 50_000 };

let database: TestDatabase;
let nowMs = 0;
let logged: string[] = [];
const open: { close(): Promise<void> }[] = [];
const wakes = createWakes();

beforeAll(async () => {
  database = await createTestDatabase();
  await makeOrganization(database.db, ORG);
});
afterAll(() => database.drop());
afterEach(async () => {
  vi.useRealTimers();
  for (const one of open.splice(0)) await one.close();
  logged = [];
  await superuser("truncate runyard.runners");
  await superuser("delete from runyard.runs");
  await superuser("update runyard.org_slots set active = 0, queued = 0");
});

/** As the tables' owner, whom row-level security does not see as the server. */
async function superuser(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: database.connectionString });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** A runner that says once that it lives. */
async function runner(id: string, owner = `${id}-process`): Promise<void> {
  const lease = await holdRunnerLease({
    connectionString: database.connectionString,
    runnerId: id,
    owner,
    leaseMs: LEASE_MS,
    offers: async () => ({}),
    onLog: () => undefined,
  });
  await lease.close();
}

async function sweeper(ownRunnerId: string | null = null): Promise<Sweeper> {
  const started = await startSweeper({
    db: database.db,
    wakes,
    leaseMs: LEASE_MS,
    ownRunnerId,
    monotonicMs: () => nowMs,
    withdraw: (request) => ({ type: "log", data: { text: `withdrawn: ${request.title}` } }),
    log: (_, message) => void logged.push(message),
  });
  open.push(started);
  return started;
}

/** Looks until a lease has passed; meanwhile, these runners renew. */
async function passLease(looking: Sweeper, living: readonly string[]): Promise<void> {
  for (let spentMs = 0; spentMs <= LEASE_MS; spentMs += STEP_MS) {
    nowMs += STEP_MS;
    for (const id of living) await runner(id);
    await looking.look();
  }
}

let serial = 0;
async function claimed(runnerId: string, owner = `${runnerId}-process`): Promise<RunRow> {
  const { id } = await queueRun(database.db, { orgId: ORG, id: `run_${(serial += 1)}` });
  const row = await claimRun(database.db, {
    owner,
    runnerId,
    events: began("a run"),
    laterEvents: began("a turn"),
    againEvents: began("a turn").slice(-1),
  });
  if (row?.id !== id) throw new Error("another run was claimed");
  return row;
}

const began = (what: string): NewEvent[] => [
  { type: "log", data: { text: `${what} begins` } },
  { type: "run.phase", data: { phase: "preparing" } },
];
const claimAs = (runnerId: string): Promise<RunRow | undefined> =>
  claimRun(database.db, {
    owner: `${runnerId}-process`,
    runnerId,
    events: began("a run"),
    laterEvents: began("a turn"),
    againEvents: began("a turn").slice(-1),
  });

async function rowOf(id: string): Promise<RunRow> {
  const row = await reloadRun(database.db, { id, org_id: ORG });
  if (row === undefined) throw new Error("there is no such run");
  return row;
}

async function logOf(runId: string): Promise<{ type: string; attempt: number; data: Record<string, unknown> }[]> {
  const read = await readEvents(database.db, { orgId: ORG, runId, after: 0, limit: 100 });
  return (read?.events ?? []).map((event) => JSON.parse(event.json) as { type: string; attempt: number; data: Record<string, unknown> });
}

/** The counters are what they stand for. */
async function expectExactSlots(): Promise<void> {
  const [slots] = await superuser(
    `select active, queued, (select count(*)::int from runyard.runs where status in ('running', 'awaiting_input')) as living,
            (select count(*)::int from runyard.runs where status = 'pending') as pending
     from runyard.org_slots where org_id = $1`,
    [ORG],
  );
  expect([slots?.["active"], slots?.["queued"]]).toEqual([slots?.["living"], slots?.["pending"]]);
}

test("a lost runner's run is queued again, and goes on as the next attempt with what it has used up", async () => {
  await runner("a");
  await runner("b");
  const run = await claimed("a");
  const tries = { retries: 1, timeoutMs: 120_000, sandboxType: null, activeBeforeMs: 0, notBeforeMs: null, failed: [] };
  const request = { id: "perm_1", kind: "permission", offset: 0, title: "May I?" };
  await commitStep(database.db, { run, outTo: 10, usageTo: 70, change: { state: { format: 1, tries } }, requests: [request] });
  const woken: string[] = [];
  for (const topic of [run.id, `control:${run.id}`, "claim"]) wakes.subscribe(topic, () => void woken.push(topic));

  const looking = await sweeper("b");
  await passLease(looking, ["b"]);
  expect(woken.toSorted()).toEqual(["claim", `control:${run.id}`, run.id]);
  expect((await allRunners(database.db)).map(({ id, lost_at: lost }) => [id, lost === null])).toEqual([
    ["a", false],
    ["b", true],
  ]);
  const queued = await rowOf(run.id);
  expect(queued).toMatchObject({ status: "pending", phase: "queued", owner: null, attempt: 1, losses: 1, active_since: null, state: {} });
  expect(triesOf(queued)).toMatchObject({ retries: 1, timeoutMs: 120_000, failed: [{ attempt: 1, error: { type: "lost" } }] });
  expect((await findRun(database.db, ORG, run.id))?.open).toEqual([]);
  await expectExactSlots();
  // To its last runner, and to another process of it, the run is gone.
  expect(await commitStep(database.db, { run: await rowOf(run.id), change: { status: "completed" } })).toBeUndefined();
  expect(await commitStep(database.db, { run: { ...run, out_cursor: 10, usage_cursor: 70 } })).toBeUndefined();

  const next = await claimAs("b");
  expect(next).toMatchObject({ id: run.id, attempt: 2, status: "running", usage_cursor: 0, out_cursor: 0 });
  if (next === undefined) throw new Error("nothing was claimed");
  expect(triesOf(next)).toEqual(triesOf(queued));
  expect((await logOf(run.id)).map(({ type, attempt, data }) => [type, attempt, data["text"]])).toEqual([
    ["log", 0, "created"],
    ["log", 1, "a run begins"],
    ["run.phase", 1, undefined],
    ["log", 1, "withdrawn: May I?"],
    ["run.retrying", 1, undefined],
    ["run.phase", 2, undefined],
  ]);
  await commitStep(database.db, { run: next, usageTo: 30 });

  // Back at its first runner, its journal of model calls is read on from where it was.
  await superuser("update runyard.runners set lost_at = null, beat = beat + 1 where id = 'a'");
  await passLease(await sweeper("a"), ["a"]);
  expect(await claimAs("a")).toMatchObject({ id: run.id, attempt: 3, usage_cursor: 70, losses: 2 });
  await expectExactSlots();
});

test(`with more than ${MAX_LOSSES} runners in a turn a run is given up`, async () => {
  await runner("b");
  await claimed("a0");
  for (let n = 0; n <= MAX_LOSSES; n += 1) {
    await runner(`a${n}`);
    const looking = await sweeper("b");
    await passLease(looking, ["b"]);
    await looking.close();
    await expectExactSlots();
    if (n < MAX_LOSSES) expect(await claimAs(`a${n + 1}`)).toMatchObject({ attempt: n + 2, losses: n + 1 });
  }
  const log = await logOf(`run_${serial}`);
  expect(log.filter(({ type }) => type === "run.retrying")).toHaveLength(MAX_LOSSES);
  expect(log.at(-1)).toMatchObject({ type: "run.failed", data: { error: { type: "lost" } } });
  expect(await rowOf(`run_${serial}`)).toMatchObject({ status: "failed", error: { type: "lost" }, owner: null });
}, 60_000);

test("a wish to cancel and a deadline hold without the runner, and without any other", async () => {
  await runner("a");
  const [wished, late, kept, published] = [await claimed("a"), await claimed("a"), await claimed("a"), await claimed("a")];
  await cancelRun(database.db, { orgId: ORG, runId: wished.id, reason: "Enough.", events: [] });
  await superuser("update runyard.runs set active_since = now() - interval '61 s' where id = $1", [late.id]);
  await commitStep(database.db, { run: published, change: { phase: "publishing", state: { format: 1, made: { head: "a".repeat(40) } } } });
  await passLease(await sweeper(), []);
  expect(await rowOf(wished.id)).toMatchObject({ status: "cancelled" });
  expect(await rowOf(late.id)).toMatchObject({ status: "timeout", error: { type: "timeout" } });
  expect(await rowOf(published.id)).toMatchObject({ status: "failed", error: { type: "lost" } });
  // Nobody could take it up: its runner may still come back to it.
  expect(await rowOf(kept.id)).toMatchObject({ status: "running", owner: "a-process" });
  await expectExactSlots();
  await runner("a");
  expect((await allRunners(database.db))[0]?.lost_at).toBeNull();
  expect(await commitStep(database.db, { run: kept })).toBeDefined();
});

test("a doubled deadline is one more attempt", async () => {
  await runner("a");
  await runner("b");
  const late = await claimed("a");
  const attempts = JSON.stringify(attemptSettingsOf({ recovery: { timeout: "double" } }));
  await superuser(
    "update runyard.runs set active_since = now() - interval '61 s', spec = (spec::jsonb || jsonb_build_object('attempts', $2::jsonb))::json where id = $1",
    [late.id, attempts],
  );
  await passLease(await sweeper("b"), ["b"]);
  const next = await claimAs("b");
  if (next === undefined) throw new Error("nothing was claimed");
  expect(triesOf(next)).toMatchObject({ timeoutMs: 120_000, retries: 0 });
  expect(triesOf(next).activeBeforeMs).toBeGreaterThanOrEqual(60_000);
});

test("a restarted server of the same home, and a runner that renews at the last moment, keep what they have", async () => {
  await runner("b");
  for (const id of ["a", "c"]) await runner(id);
  const [mine, other] = [await claimed("a"), await claimed("c")];
  const looking = await sweeper("b");
  await passLeaseBut(looking, 1);
  await runner("a", "a-next-process");
  await runner("c");
  nowMs += STEP_MS;
  await looking.look();
  for (const { id } of [mine, other]) expect(await rowOf(id)).toMatchObject({ status: "running", attempt: 1 });
  expect(logged).toEqual([]);
});

test("nobody is lost for a clock that was put right, a looker that slept, or a database that was away", async () => {
  for (const id of ["a", "b"]) await runner(id);
  const run = await claimed("a");
  const looking = await sweeper("b");
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
  await superuser("update runyard.runners set seen_at = seen_at - interval '1 hour'");
  for (let n = 0; n < 5; n += 1) {
    nowMs += STEP_MS;
    await looking.look();
  }
  // One step before the end of the lease: an hour in which nothing was looked at.
  nowMs += 3_600_000;
  await looking.look();
  await passLeaseBut(looking, 2);
  // And a look that fails.
  await superuser("alter function runyard.all_runners() rename to away");
  await looking.look();
  await superuser("alter function runyard.away() rename to all_runners");
  await passLeaseBut(looking, 2);
  expect(await rowOf(run.id)).toMatchObject({ status: "running", attempt: 1 });
  expect(logged).toEqual(["The runners' leases could not be looked at"]);
  await runner("b");
  await passLease(looking, ["b"]);
  expect(await rowOf(run.id)).toMatchObject({ status: "pending" });
});

/** Looks for as many steps less than a lease. */
async function passLeaseBut(looking: Sweeper, steps: number): Promise<void> {
  for (let n = 0; n < LEASE_MS / STEP_MS - steps; n += 1) {
    nowMs += STEP_MS;
    await runner("b");
    await looking.look();
  }
}

test("most runners at once get one more lease, and those that come back in it keep their runs", async () => {
  for (const id of ["a", "b", "c", "d"]) await runner(id);
  const [first, second] = [await claimed("a"), await claimed("b")];
  const looking = await sweeper("d");
  await passLease(looking, ["d"]);
  expect(logged).toEqual(["Many runners look lost at once, so they are given one more lease"]);
  for (const { id } of [first, second]) expect(await rowOf(id)).toMatchObject({ status: "running" });
  await passLease(looking, ["d", "b", "c"]);
  expect(await rowOf(first.id)).toMatchObject({ status: "pending" });
  expect(await rowOf(second.id)).toMatchObject({ status: "running" });
});

test("a run that a stopped process holds locked does not keep the others from being seen to", async () => {
  await runner("a");
  await runner("b");
  const [held, free] = [await claimed("a"), await claimed("a")];
  const looking = await sweeper("b");
  let letGo = (): void => undefined;
  let isHeld = (): void => undefined;
  const locked = new Promise<void>((resolve) => (isHeld = resolve));
  const holding = database.db.inOrganization(ORG, async (tx) => {
    await tx.query("select 1 from runyard.runs where id = $1 for update", [held.id]);
    isHeld();
    await new Promise<void>((resolve) => (letGo = resolve));
  });
  await locked;
  await passLease(looking, ["b"]);
  expect(await rowOf(free.id)).toMatchObject({ status: "pending" });
  letGo();
  await holding;
  await looking.look();
  expect(await rowOf(held.id)).toMatchObject({ status: "pending" });
  await expectExactSlots();
});

test("the lease of a runner is held by its newest process alone, and again after its connection was lost", async () => {
  const hold = async (owner: string): Promise<RunnerLease> => {
    const lease = await holdRunnerLease({
      connectionString: database.connectionString,
      runnerId: "a",
      owner,
      leaseMs: 2_000,
      offers: async () => ({}),
      onLog: (_, message) => void logged.push(message),
    });
    open.push(lease);
    return lease;
  };
  const beats = async (): Promise<number> => (await allRunners(database.db))[0]?.beat ?? 0;
  const first = await hold("first");
  expect(first.isHeld()).toBe(true);
  await superuser(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runyard-lease' and datname = current_database()",
  );
  const before = await beats();
  await vi.waitFor(async () => expect(await beats()).toBeGreaterThan(before), PATIENCE);
  await first.whenHeld(AbortSignal.timeout(PATIENCE.timeout));
  expect(first.isHeld()).toBe(true);

  const second = await hold("second");
  await vi.waitFor(() => expect(first.isHeld()).toBe(false), PATIENCE);
  expect(second.isHeld()).toBe(true);
  await vi.waitFor(() => expect(logged.join()).toContain("another process works for this runner now"), PATIENCE);
  const over = new AbortController();
  const waiting = first.whenHeld(over.signal);
  over.abort();
  await waiting;
  expect((await allRunners(database.db)).map((row) => row.owner)).toEqual(["second"]);
});
