import type { SandboxDriverName } from "@runyard/sdk/contract";
import { floorsKept } from "../core/isolation-floor.ts";
import type { RunnerRow } from "../store/runners.ts";
import type { EngineOptions, ModelState, SandboxState } from "./engine.ts";

/** What runs can have at a runner; it tells the processes that serve and execute nothing. */
export interface Offers {
  readonly model: ModelState;
  /** A runner of an earlier version tells nothing of drivers that it does not have. */
  readonly sandboxes: Readonly<Partial<Record<SandboxDriverName, SandboxState | undefined>>>;
  /** What the sandbox of one run can have. */
  readonly hostMemoryBytes: number;
  /** What those of all of its runs may have together: what queued runs wait for is looked at by this. Not there in what runners of earlier versions tell. */
  readonly memoryBudgetBytes?: number;
}

/** The part of the engine's options that tells what runs can have. */
export type OfferSources = Pick<EngineOptions, "model" | "probeSandbox" | "hostMemoryBytes">;

/** What this process's runner has. */
export async function offersOf({
  model,
  probeSandbox,
  hostMemoryBytes,
  memoryBudgetBytes,
}: OfferSources & { readonly memoryBudgetBytes: number }): Promise<Offers> {
  const [bwrap, docker, process] = await Promise.all([probeSandbox("bwrap"), probeSandbox("docker"), probeSandbox("process")]);
  return { model: model(), sandboxes: { bwrap, docker, process }, hostMemoryBytes: hostMemoryBytes(), memoryBudgetBytes };
}

const HARD = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const NONE = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;

/** How much of what an isolation floor may want a sandbox keeps. Whoever keeps less refuses a run before it begins. */
function rankOf({ isolation, limits }: SandboxState): number {
  return floorsKept({ isolation, limits: limits ?? { memory: true, cpus: true, pids: true } }).length;
}

/**
 * What runs can have at one of these runners, for a process that has none of its own. While none of them lives, sandboxes
 * are taken to be there, since a run waits for a runner anyway, and the model is what this process was told of.
 */
export function offeredBy(alive: () => readonly RunnerRow[], own: OfferSources): OfferSources {
  const offers = (): Offers[] => alive().map((runner) => runner.offers as Offers);
  return {
    model: () => {
      const models = offers().map((offer) => offer.model);
      return models.find((model) => model.connected) ?? models[0] ?? own.model();
    },
    probeSandbox: async (driver) => {
      const sandboxes = offers()
        .map((offer) => offer.sandboxes[driver])
        .filter((sandbox) => sandbox !== undefined);
      const assumed = { available: true, reason: null, isolation: driver === "process" ? NONE : HARD };
      const [best] = sandboxes.filter(({ available }) => available).toSorted((one, other) => rankOf(other) - rankOf(one));
      return best ?? sandboxes[0] ?? assumed;
    },
    hostMemoryBytes: () => {
      const bytes = offers().map((offer) => offer.hostMemoryBytes);
      return bytes.length === 0 ? Number.MAX_SAFE_INTEGER : Math.max(...bytes);
    },
  };
}
