import { type ModelList, RunyardError } from "@runyard/sdk/contract";
import type { StatusSources } from "./status.ts";

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

function giveUp(error: unknown): never {
  throw new RunyardError("unavailable", `The gateway, which asks providers for their models, does not answer: ${(error as Error).message}`);
}
