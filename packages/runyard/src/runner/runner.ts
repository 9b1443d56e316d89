import type { NewEvent } from "@runyard/sdk/contract";
import { QUEUED, type RunState, transition } from "../core/run-machine.ts";
import { CLAIM } from "../engine/wakes.ts";
import { adoptRuns, claimRun } from "../store/runs.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { driveRun } from "./drive.ts";

/** How often the queue is looked at without being woken. */
const POLL_MS = 1_000;

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
  const inHand = new Map<string, { readonly turn: number; readonly driven: Promise<void> }>();
  const take = (row: RunRow): void => {
    // A run that is continued at once comes back before its last turn is let go of.
    const before = inHand.get(row.id)?.driven ?? Promise.resolve();
    const driven = before
      .then(() => driveRun(ctx, row))
      .finally(() => {
        if (inHand.get(row.id)?.driven === driven) inHand.delete(row.id);
        ctx.wakes.notify(CLAIM);
      });
    inHand.set(row.id, { turn: row.turn, driven });
  };
  /** Takes up what was claimed without this process being told so: the answer was lost with its connection. */
  const takeMissed = async (): Promise<void> => {
    for (const row of await adoptRuns(ctx.db, identity)) {
      if ((inHand.get(row.id)?.turn ?? 0) >= row.turn) continue;
      ctx.log("warn", "A run was claimed without an answer", { run: row.id });
      take(row);
    }
  };

  const adopted = await adoptRuns(ctx.db, identity);
  for (const row of adopted) take(row);
  if (adopted.length > 0) ctx.log("info", `Went on with ${adopted.length} living run${adopted.length === 1 ? "" : "s"}`);

  const claiming = claimLoop(ctx, identity, { take, takeMissed });
  return {
    get inHand() {
      return inHand.size;
    },
    done: claiming.then(async () => {
      await Promise.allSettled([...inHand.values()].map(({ driven }) => driven));
    }),
  };
}

async function claimLoop(
  ctx: RunnerContext,
  identity: { readonly owner: string; readonly runnerId: string },
  hands: { readonly take: (row: RunRow) => void; readonly takeMissed: () => Promise<void> },
): Promise<void> {
  const events = claimEvents(identity.runnerId, {});
  const laterEvents = claimEvents(identity.runnerId, { turn: 2 });
  const againEvents = claimEvents(identity.runnerId, { begun: true });
  let wake = (): void => {};
  let rung = true;
  let isUnsure = false;
  const ring = (): void => {
    rung = true;
    wake();
  };
  const unsubscribe = ctx.wakes.subscribe(CLAIM, ring);
  const ending = AbortSignal.any([ctx.leaving, ctx.draining]);
  ending.addEventListener("abort", ring);
  while (!ending.aborted) {
    rung = false;
    try {
      if (isUnsure) await hands.takeMissed();
      isUnsure = false;
      const row = await claimRun(ctx.db, { ...identity, events, laterEvents, againEvents });
      if (row !== undefined) {
        ctx.wakes.notify(row.id);
        hands.take(row);
        continue;
      }
    } catch (error) {
      isUnsure = true;
      ctx.log("error", "The queue could not be read", { error: String(error) });
    }
    if (rung || ending.aborted) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
      setTimeout(resolve, POLL_MS);
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
