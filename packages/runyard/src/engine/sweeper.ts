import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent } from "@runyard/sdk/contract";
import { type LeaseWatch, type RunnerSeen, takeIn, UNWATCHED } from "../core/leases.ts";
import { decideLost, type Fate } from "../core/lost-runs.ts";
import { transition } from "../core/run-machine.ts";
import { attemptSettings, mayBeOut, triesOf } from "../store/attempts-shown.ts";
import { type Database, DatabaseUnavailableError } from "../store/database.ts";
import { machineState, type RequestRow } from "../store/run-row.ts";
import {
  allRunners,
  endLostAttempt,
  type LostAttempt,
  type LostRunRow,
  lostRuns,
  markRunnerLost,
  type RunnerRow,
} from "../store/runners.ts";
import { findRun } from "../store/runs.ts";
import { CLAIM, control, type Wakes } from "./wakes.ts";

/** Looks in one lease, so that a renewal is seen soon after it was made. */
const LOOKS = 10;
/** Runs that are seen to after one look; the others come with the next. */
const RUNS_A_LOOK = 100;

export interface SweeperOptions {
  readonly db: Database;
  readonly wakes: Wakes;
  /** The lease of this process's own runner, or what it would be: how often to look goes by it. */
  readonly leaseMs: number;
  /** This process's own runner, which it never declares lost; null: it has none. */
  readonly ownRunnerId: string | null;
  /** Monotonic, in milliseconds: no clock that people or machines put right. */
  readonly monotonicMs: () => number;
  /** The event that takes a request of the agent's back. */
  readonly withdraw: (request: RequestRow["request"]) => NewEvent;
  readonly log: (level: "info" | "warn" | "error", message: string, detail?: Readonly<Record<string, unknown>>) => void;
}

export interface Sweeper {
  /** The runners that lived at the last look. */
  alive(): readonly RunnerRow[];
  /** One look now, and all that follows from it. For tests: looks are made by themselves. */
  look(): Promise<void>;
  close(): Promise<void>;
}

/** Looks at the runners' leases until it is closed, and sees to the runs of those that are lost. Has looked once when it resolves. */
export async function startSweeper(options: SweeperOptions): Promise<Sweeper> {
  const closing = new AbortController();
  const everyMs = options.leaseMs / LOOKS;
  let watch: LeaseWatch = UNWATCHED;
  let alive: readonly RunnerRow[] = [];
  let wasAway = false;

  const lookOnce = async (): Promise<void> => {
    const askedMs = options.monotonicMs();
    const rows = await allRunners(options.db);
    const verdict = takeIn(watch, { askedMs, answeredMs: options.monotonicMs(), runners: rows.map(seenOf) }, options.leaseMs / 2);
    watch = verdict.watch;
    const living = new Set(verdict.alive.map((runner) => runner.id));
    alive = rows.filter((row) => living.has(row.id));
    if (verdict.doubt !== null)
      options.log("warn", "Many runners look lost at once, so they are given one more lease", { ...verdict.doubt });
    const lost = verdict.lost.filter((runner) => runner.id !== options.ownRunnerId);
    for (const runner of lost)
      if (await markRunnerLost(options.db, runner)) options.log("warn", "A runner is lost", { runner: runner.id, leaseMs: runner.leaseMs });
    if (lost.length > 0 || rows.some((row) => row.lost_at !== null)) await seeToRuns(options, alive.length > 0);
  };
  const look = async (): Promise<void> => {
    try {
      await lookOnce();
      wasAway = false;
    } catch (error) {
      // Nobody is lost for what was not watched.
      watch = UNWATCHED;
      if (!wasAway) options.log("warn", "The runners' leases could not be looked at", { error: String(error) });
      wasAway = true;
    }
  };

  await look();
  const looking = (async () => {
    while (!closing.signal.aborted) {
      await sleep(everyMs, undefined, { signal: closing.signal }).catch(() => undefined);
      if (!closing.signal.aborted) await look();
    }
  })();
  return {
    alive: () => alive,
    look,
    async close() {
      closing.abort();
      await looking;
    },
  };
}

function seenOf(row: RunnerRow): RunnerSeen {
  return { id: row.id, owner: row.owner, beat: row.beat, leaseMs: row.lease_ms, isLost: row.lost_at !== null };
}

async function seeToRuns(options: SweeperOptions, someoneLives: boolean): Promise<void> {
  for (const row of await lostRuns(options.db, RUNS_A_LOOK)) {
    try {
      await seeToRun(options, row, someoneLives);
    } catch (error) {
      if (error instanceof DatabaseUnavailableError) throw error;
      // Somebody holds it, a stopped process perhaps: the next look comes soon.
      options.log("warn", "A lost runner's run could not be seen to yet", { run: row.id, error: String(error) });
    }
  }
}

async function seeToRun(options: SweeperOptions, row: LostRunRow, someoneLives: boolean): Promise<void> {
  const fate = decideLost(
    {
      runnerId: row.runner_id ?? "",
      phase: row.phase,
      mayBeOut: mayBeOut(row),
      attempt: row.attempt,
      cancelReason: row.cancel_reason,
      losses: row.lost_turn === row.turn ? row.losses : 0,
      settings: attemptSettings(row),
      timeoutMs: row.spec.timeoutMs,
      tries: triesOf(row),
      activeMs: row.active_now_ms,
      turnActiveMs: row.turn_active_ms,
      isActive: row.active_since !== null,
    },
    someoneLives,
  );
  if (fate === null) return;
  const withdrawn = await withdrawnRequests(options, row);
  const ended = await endLostAttempt(options.db, { run: row, ...outcomeOf(row, fate), events: [...withdrawn, ...eventsOf(row, fate)] });
  if (ended === undefined) return;
  options.log("info", "A lost runner's run was seen to", { run: row.id, attempt: row.attempt, status: ended.status });
  for (const topic of [row.id, control(row.id), CLAIM]) options.wakes.notify(topic);
}

function outcomeOf(row: LostRunRow, fate: NonNullable<Fate>): Pick<LostAttempt, "status" | "resume" | "error"> {
  switch (fate.fact.type) {
    case "requeued":
      return { status: "pending", resume: "tries" in fate ? { tries: fate.tries } : null, error: null };
    case "cancelled":
      return { status: "cancelled", resume: null, error: null };
    case "broke":
      return { status: "failed", resume: null, error: fate.fact.error };
    case "deadline_passed":
      return { status: "timeout", resume: null, error: fate.fact.error };
    default:
      return fate.fact satisfies never;
  }
}

function eventsOf(row: LostRunRow, { fact }: NonNullable<Fate>): readonly NewEvent[] {
  const decided = transition(machineState(row), fact);
  if (!decided.ok) throw new Error(`${fact.type} cannot happen to run ${row.id}, which is ${row.status}`);
  return decided.events;
}

async function withdrawnRequests({ db, withdraw }: SweeperOptions, row: LostRunRow): Promise<NewEvent[]> {
  if (row.open_requests === 0) return [];
  const stored = await findRun(db, row.org_id, row.id);
  return (stored?.open ?? []).map((open) => withdraw(open.request));
}
