/**
 * Who looks at the runners' leases, and when a runner is lost. It goes by nothing but what the looker saw itself,
 * by its own monotonic clock: no clock of another machine, and no time that was not watched, counts.
 */

/** A runner as one look finds it. */
export interface RunnerSeen {
  readonly id: string;
  /** The process that works for it, and how often it has renewed: whoever lives changes one of the two. */
  readonly owner: string;
  readonly beat: number;
  readonly leaseMs: number;
  /** Somebody has declared it lost before. */
  readonly isLost: boolean;
}

/** One look, by the looker's monotonic clock in milliseconds: when it was asked, and when the answer was there. */
export interface Look {
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly runners: readonly RunnerSeen[];
}

interface Sighting {
  readonly owner: string;
  readonly beat: number;
  /** When it was first seen like this. */
  readonly sinceMs: number;
}

/** What a looker remembers from look to look. */
export interface LeaseWatch {
  readonly sightings: ReadonlyMap<string, Sighting>;
  readonly lastAnswerMs: number | null;
  /** While many look lost at once: since when they are given one more lease. */
  readonly doubtSinceMs: number | null;
}

/** What a look comes to. */
export interface Verdict {
  readonly watch: LeaseWatch;
  /** Runners to declare lost. */
  readonly lost: readonly RunnerSeen[];
  /** Runners that certainly live: they renewed within half of their lease. */
  readonly alive: readonly RunnerSeen[];
  /** Set by the look that begins to wait: how many look lost, of how many. */
  readonly doubt: { readonly silent: number; readonly runners: number } | null;
}

/** Nothing was seen yet; also after any look that failed: what was not watched does not count. */
export const UNWATCHED: LeaseWatch = { sightings: new Map(), lastAnswerMs: null, doubtSinceMs: null };

/**
 * Takes in one look. A runner is lost when it stood still for a whole lease in looks none of which was more than
 * `maxGapMs` after the one before: a process or a machine that was stopped, and a database that was away, begin anew.
 * Where more than half of the runners (and at least two) stand still at once, something else may be wrong than they
 * are: all of them get one more lease.
 */
export function takeIn(before: LeaseWatch, look: Look, maxGapMs: number): Verdict {
  const isWatched = before.lastAnswerMs !== null && look.answeredMs - before.lastAnswerMs <= maxGapMs;
  const known = isWatched ? before : UNWATCHED;
  const sightings = new Map<string, Sighting>();
  const living: RunnerSeen[] = [];
  const alive: RunnerSeen[] = [];
  const due: RunnerSeen[] = [];
  for (const runner of look.runners) {
    const sighting = sightingOf(known, runner, look.answeredMs);
    sightings.set(runner.id, sighting);
    if (runner.isLost) continue;
    living.push(runner);
    // Counted from the answer that first showed it to the question of the last one: never more than it was still.
    const silentMs = look.askedMs - sighting.sinceMs;
    // Runners renew three times in a lease: those that stopped at the same moment are past half of it when the first is past all.
    if (silentMs < runner.leaseMs / 2) alive.push(runner);
    if (silentMs >= runner.leaseMs) due.push(runner);
  }
  const silent = living.length - alive.length;
  const watch = { sightings, lastAnswerMs: look.answeredMs };

  const isDoubtful = due.length > 0 && silent >= 2 && silent > living.length / 2;
  if (!isDoubtful) {
    // Doubt ends with the last of the many, not with the first: those that follow were given their time too.
    const doubtSinceMs = silent > 0 ? known.doubtSinceMs : null;
    const given = doubtSinceMs === null || isOver(doubtSinceMs, due, look);
    return { watch: { ...watch, doubtSinceMs }, lost: given ? due : [], alive, doubt: null };
  }
  const doubtSinceMs = known.doubtSinceMs ?? look.answeredMs;
  const begins = known.doubtSinceMs === null;
  const lost = !begins && isOver(doubtSinceMs, due, look) ? due : [];
  return { watch: { ...watch, doubtSinceMs }, lost, alive, doubt: begins ? { silent, runners: living.length } : null };
}

function sightingOf(known: LeaseWatch, { id, owner, beat }: RunnerSeen, nowMs: number): Sighting {
  const seen = known.sightings.get(id);
  return seen !== undefined && seen.owner === owner && seen.beat === beat ? seen : { owner, beat, sinceMs: nowMs };
}

function isOver(doubtSinceMs: number, due: readonly RunnerSeen[], look: Look): boolean {
  return look.askedMs - doubtSinceMs >= Math.max(...due.map((runner) => runner.leaseMs));
}
