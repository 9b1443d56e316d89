import { setTimeout as sleep } from "node:timers/promises";
import { type ModelList, RunyardError } from "@runyard/sdk/contract";
import { keptFor, type StatusSources } from "./status.ts";

/** What a provider says of its models: the gateway's words. */
export interface ProviderModels {
  readonly provider: string;
  readonly models: readonly {
    readonly id: string;
    readonly name: string | null;
    readonly contextTokens: number | null;
    readonly inputUsdPerMillion: number | null;
    readonly outputUsdPerMillion: number | null;
    readonly cachedInputUsdPerMillion: number | null;
  }[];
  readonly problem: string | null;
}

/** Asks the gateway for the models of every provider; null where this process has no gateway. */
export type AskModels = () => Promise<readonly ProviderModels[]> | null;

const NOBODY_ASKED = "This server executes no runs and asks no provider. Ask one that does.";

/** All models, and every provider with how it answered. */
export async function listModels({ models: ask, providers }: Pick<StatusSources, "models" | "providers">): Promise<ModelList> {
  const asked = ask();
  const told = asked === null ? [] : await asked.catch(giveUp);
  return {
    data: told.flatMap(({ provider, models }) => models.map(({ id, ...model }) => ({ id: `${provider}/${id}`, provider, ...model }))),
    providers: providers().map((one) => {
      const list = told.find(({ provider }) => provider === one.name);
      const problem = list === undefined ? NOBODY_ASKED : list.problem;
      return { ...one, models: problem === null ? (list?.models.length ?? null) : null, problem };
    }),
  };
}

/** How old a list may be that a name is looked up in, and how long a create waits for one. */
const KEPT_MS = 60_000;
const LOOK_UP_MS = 300;

/**
 * Gives what looks a model's name up: where every provider listed its models and none has that name, a notice for the run's log.
 * A run with it starts all the same, since providers know best; where the lists do not come soon, nothing is said.
 */
export function modelLookUp(ask: AskModels, now: () => number): (model: string) => Promise<Notice[]> {
  const lists = keptFor(KEPT_MS, now, async () => (await ask()) ?? []);
  return async (model) => {
    const told = await Promise.race([lists().catch(() => []), sleep(LOOK_UP_MS, [], { ref: false })]);
    const isTold = told.length > 0 && told.every(({ problem }) => problem === null);
    if (!isTold || told.some(({ provider, models }) => models.some(({ id }) => id === model || `${provider}/${id}` === model))) return [];
    const message = `No connected provider lists a model of the name ${model}. It is asked for all the same. \`runyard models\` lists those that there are.`;
    return [{ code: "model-unknown", message }];
  };
}

interface Notice {
  readonly code: string;
  readonly message: string;
}

function giveUp(error: unknown): never {
  throw new RunyardError("unavailable", `The gateway, which asks providers for their models, does not answer: ${(error as Error).message}`);
}
