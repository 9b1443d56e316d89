import type { NewEvent } from "@runyard/sdk/contract";
import { admit, mayTakeAny } from "../core/memory.ts";
import { QUEUED, type RunState, transition } from "../core/run-machine.ts";
import { CLAIM } from "../engine/wakes.ts";
import { readRoom } from "../store/memory.ts";
import { adoptRuns, claimRun } from "../store/runs.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { driveRun } from "./drive.ts";
import { killLeftBehind, livingAttempts } from "./left-behind.ts";

export interface Runner {
  /** How many runs it has in hand. */
  readonly inHand: number;
  /** Resolves when it has no run in hand and takes none any more (after `draining` or `leaving` was aborted). */
  readonly done: Promise<void>;
}

/**
 * Adopts the living runs of this host, then claims queued ones, until `ctx.draining` or `ctx.leaving`. `owner` names this
 * process and fences all earlier ones; `runnerId` names the host and stays the same for ever.
 */
export async function startRunner(ctx: RunnerContext, identity: { readonly owner: string; readonly runnerId: string }): Promise<Runner> {
  const inHand = new Map<string, Promise<void>>();
  const missed = createMissed();
  const take = (row: RunRow): void => {
    // A run that is continued at once comes back before its last turn is let go of.
    const before = inHand.get(row.id);
    const driven = (before ?? Promise.resolve())
      .then(() => driveRun(ctx, row, { isSure: before === undefined }))
      .finally(() => {
        if (inHand.get(row.id) === driven) inHand.delete(row.id);
        missed.letGo(row.id);
        ctx.wakes.notify(CLAIM);
      });
    inHand.set(row.id, driven);
  };
  const takeMissed = async (): Promise<void> => {
    if (!missed.mayBe()) return;
    missed.looking();
    // What is let go of while this looks was in hand, and may have ended since.
    const known = new Set(inHand.keys());
    for (const row of await adoptRuns(ctx.db, identity)) {
      if (known.has(row.id)) continue;
      ctx.log("warn", "A run was claimed without an answer", { run: row.id });
      take(row);
    }
  };

  // Looked for before anything is taken up, so that nothing new is among them.
  const attempts = livingAttempts(ctx.home);
  const adopted = await adoptRuns(ctx.db, identity);
  for (const row of adopted) take(row);
  if (adopted.length > 0) ctx.log("info", `Went on with ${adopted.length} living run${adopted.length === 1 ? "" : "s"}`);

  const clearing = killLeftBehind(ctx, attempts, adopted);
  const claiming = claimLoop(ctx, identity, { take, takeMissed, onFailure: () => missed.failed(inHand.keys()) });
  return {
    get inHand() {
      return inHand.size;
    },
    done: claiming.then(async () => {
      await Promise.allSettled([...inHand.values(), clearing]);
    }),
  };
}

/**
 * Whether a run may have been claimed without this process being told so: the answer was lost with its connection.
 * What was in hand then may have been claimed anew, for its next turn, so it is looked at once more when it is let go.
 */
function createMissed() {
  const doubtful = new Set<string>();
  let isUnsure = false;
  return {
    mayBe: () => isUnsure,
    looking: () => void (isUnsure = false),
    failed(inHand: Iterable<string>) {
      isUnsure = true;
      for (const id of inHand) doubtful.add(id);
    },
    letGo(id: string) {
      if (doubtful.delete(id)) isUnsure = true;
    },
  };
}

async function claimLoop(
  ctx: RunnerContext,
  identity: { readonly owner: string; readonly runnerId: string },
  hands: { readonly take: (row: RunRow) => void; readonly takeMissed: () => Promise<void>; readonly onFailure: () => void },
): Promise<void> {
  const events = claimEvents(identity.runnerId, {});
  const laterEvents = claimEvents(identity.runnerId, { turn: 2 });
  const againEvents = claimEvents(identity.runnerId, { begun: true });
  const claim = async (): Promise<RunRow | undefined> => {
    const { runnerId } = identity;
    const admission = admit(await readRoom(ctx.db, { runnerId, budgetBytes: ctx.memoryBudgetBytes }));
    return mayTakeAny(admission) ? claimRun(ctx.db, { ...identity, events, laterEvents, againEvents, admission }) : undefined;
  };
  let wake = (): void => {};
  let rung = true;
  const ring = (): void => {
    rung = true;
    wake();
  };
  const unsubscribe = ctx.wakes.subscribe(CLAIM, ring);
  const ending = AbortSignal.any([ctx.leaving, ctx.draining]);
  ending.addEventListener("abort", ring);
  while (!ending.aborted) {
    rung = false;
    await ctx.lease.whenHeld(ending);
    if (ending.aborted) break;
    try {
      await hands.takeMissed();
      const row = await claim();
      if (row !== undefined) {
        ctx.wakes.notify(row.id);
        hands.take(row);
        continue;
      }
    } catch (error) {
      hands.onFailure();
      ctx.log("error", "The queue could not be read", { error: String(error) });
    }
    if (rung || ending.aborted) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
      setTimeout(resolve, ctx.pollMs);
    });
  }
  unsubscribe();
}

/** What a claim adds to the log of a run. */
function claimEvents(runnerId: string, of: Partial<RunState>): readonly NewEvent[] {
  const started = transition({ ...QUEUED, ...of }, { type: "claimed", runnerId });
  if (!started.ok) throw new Error("A queued run can always be claimed");
  return started.events;
}
