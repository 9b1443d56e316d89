import { makersApi } from "../core/model-families.ts";
import { MODEL_ALIAS, type Provider, type RegisteredRun } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import { SCRIPTED_MODEL } from "./scripted/model.ts";
import type { QuestionFormat } from "./wire-format.ts";

/** Who answers a call, and the model's name as they know it. */
export interface ChosenModel {
  readonly provider: Provider;
  readonly model: string;
}

/**
 * Who answers a model that a client asked for in some wire format: whoever `provider/model` names, else whoever has it as
 * the default model, else who makes models of that name, else the first who speaks the format. Throws a Refusal when there is nobody.
 */
export function chooseModel(
  asked: string,
  { run, providers, format }: { run: RegisteredRun; providers: readonly Provider[]; format: QuestionFormat },
): ChosenModel {
  // Every name stands for the scripted model, and a real run never falls back to it.
  if (run.simulated && providers[0] !== undefined) return { provider: providers[0], model: SCRIPTED_MODEL };
  if (providers.length === 0) throw noModel();
  const able = providers.filter(({ api }) => format.providerPath(api) !== null);
  const first = able[0];
  if (first === undefined)
    throw new Refusal(400, "format_not_served", {
      message: `No provider that is connected to Runyard answers at ${format.doorPath}. Connected: ${providers.map(({ name, api }) => `${name} (${api})`).join(", ")}.`,
    });
  const name = asked === MODEL_ALIAS ? aliasOf(run, able) : asked;
  const named = providers.find((provider) => name.startsWith(`${provider.name}/`));
  if (named !== undefined && !able.includes(named)) throw notServedBy(named, { name, format, able });
  if (named !== undefined) return { provider: named, model: name.slice(named.name.length + 1) };
  const maker = makersApi(name);
  const provider = able.find(({ model }) => model === name) ?? able.find(({ api }) => api === maker) ?? first;
  return { provider, model: name };
}

export function noModel(): Refusal {
  return new Refusal(400, "no_model_configured", {
    message: "No model is connected to Runyard. Connect one in the server's settings and start the run again.",
  });
}

function notServedBy(
  provider: Provider,
  { name, format, able }: { name: string; format: QuestionFormat; able: readonly Provider[] },
): Refusal {
  const others = able.map((one) => one.name).join(", ");
  return new Refusal(400, "format_not_served", {
    message: `The model ${name} is ${provider.name}'s, who does not answer at ${format.doorPath}. Name a model of one who does: ${others}.`,
  });
}

function aliasOf(run: RegisteredRun, able: readonly Provider[]): string {
  if (run.model !== null) return run.model;
  const withDefault = able.find(({ model }) => model !== null);
  if (withDefault !== undefined) return `${withDefault.name}/${withDefault.model}`;
  throw new Refusal(400, "model_not_found", {
    message: "No model is chosen: name one for the run, or a default one in the server's settings.",
  });
}
