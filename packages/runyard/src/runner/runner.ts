import type { NewEvent } from "@runyard/sdk/contract";
import { transition } from "../core/run-machine.ts";
import { CLAIM } from "../engine/wakes.ts";
import { adoptRuns, claimRun } from "../store/runs.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { driveRun } from "./drive.ts";
import { killLeftBehind, livingAttempts } from "./left-behind.ts";

export interface Runner {
  /** How many runs it has in hand. */
  readonly inHand: number;
  /** Resolves when it has let go of every run (after `leaving` was aborted). */
  readonly done: Promise<void>;
}

/**
 * Adopts the living runs of this host, then claims queued ones, until `ctx.leaving`. `owner` names this
 * process and fences all earlier ones; `runnerId` names the host and stays the same for ever.
 */
export async function startRunner(ctx: RunnerContext, identity: { readonly owner: string; readonly runnerId: string }): Promise<Runner> {
  const inHand = new Map<string, Promise<void>>();
  const take = (row: RunRow): void => {
    // A run that is continued at once comes back before its last turn is let go of.
    const before = inHand.get(row.id) ?? Promise.resolve();
    const driven = before
      .then(() => driveRun(ctx, row))
      .finally(() => {
        if (inHand.get(row.id) === driven) inHand.delete(row.id);
        ctx.wakes.notify(CLAIM);
      });
    inHand.set(row.id, driven);
  };

  // Looked for before anything is taken up, so that nothing new is among them.
  const attempts = livingAttempts(ctx.home);
  const adopted = await adoptRuns(ctx.db, identity);
  for (const row of adopted) take(row);
  if (adopted.length > 0) ctx.log("info", `Went on with ${adopted.length} living run${adopted.length === 1 ? "" : "s"}`);

  const clearing = killLeftBehind(ctx, attempts, adopted);
  const claiming = claimLoop(ctx, identity, take);
  return {
    get inHand() {
      return inHand.size;
    },
    done: claiming.then(async () => {
      await Promise.allSettled([...inHand.values(), clearing]);
    }),
  };
}

async function claimLoop(
  ctx: RunnerContext,
  identity: { readonly owner: string; readonly runnerId: string },
  take: (row: RunRow) => void,
): Promise<void> {
  const events = claimEvents(identity.runnerId, 1);
  const laterEvents = claimEvents(identity.runnerId, 2);
  let wake = (): void => {};
  let rung = true;
  const ring = (): void => {
    rung = true;
    wake();
  };
  const unsubscribe = ctx.wakes.subscribe(CLAIM, ring);
  ctx.leaving.addEventListener("abort", ring);
  while (!ctx.leaving.aborted) {
    rung = false;
    await ctx.lease.whenHeld(ctx.leaving);
    if (ctx.leaving.aborted) break;
    try {
      const row = await claimRun(ctx.db, { ...identity, events, laterEvents });
      if (row !== undefined) {
        ctx.wakes.notify(row.id);
        take(row);
        continue;
      }
    } catch (error) {
      ctx.log("error", "The queue could not be read", { error: String(error) });
    }
    if (rung || ctx.leaving.aborted) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
      setTimeout(resolve, ctx.pollMs);
    });
  }
  unsubscribe();
  ctx.leaving.removeEventListener("abort", ring);
}

/** What a claim adds to the log of a run in this turn. */
function claimEvents(runnerId: string, turn: number): readonly NewEvent[] {
  const started = transition({ status: "pending", phase: "queued", turn, attempt: 0, openRequests: 0 }, { type: "claimed", runnerId });
  if (!started.ok) throw new Error("A queued run can always be claimed");
  return started.events;
}
