import { setTimeout as sleep } from "node:timers/promises";
import { findEngine } from "../sandbox/docker-driver.ts";
import { EngineAwayError } from "../sandbox/docker-engine.ts";
import { removeStrayContainers } from "../sandbox/docker-remove.ts";
import type { RunnerContext } from "./context.ts";

const LOOK_MS = 60_000;

/**
 * Removes, at the start and every minute, containers of this home whose steps are over: those that a server or whoever
 * watched them left when it was killed, and those of a time when the engine did not answer. Until `leaving`; never rejects.
 */
export async function watchStrayContainers(
  ctx: Pick<RunnerContext, "log"> & { readonly homeId: string },
  leaving: AbortSignal,
): Promise<void> {
  while (!leaving.aborted) {
    await removeStray(ctx).catch((error: unknown) => {
      if (!(error instanceof EngineAwayError))
        ctx.log("warn", "Containers that were left behind could not be removed", { error: String(error) });
    });
    await sleep(LOOK_MS, undefined, { signal: leaving, ref: false }).catch(() => undefined);
  }
}

async function removeStray({ homeId, log }: Parameters<typeof watchStrayContainers>[0]): Promise<void> {
  const found = await findEngine();
  if (!found.available) return;
  const removed = await removeStrayContainers(found.engine, homeId);
  for (const name of removed) log("warn", "A container that was left behind was removed", { container: name });
}
