import { type Budget, type RunError, RunyardError } from "@runyard/sdk/contract";
import type { AgentNeeds, EngineOptions, ModelState } from "./engine.ts";

/** The models as an agent finds them that speaks only some APIs. */
export function modelFor(state: ModelState, { apis }: AgentNeeds): ModelState {
  if (state.simulated || apis.length === 0 || state.providers === undefined) return state;
  const able = state.providers.filter(({ api }) => apis.includes(api));
  return { ...state, connected: able.length > 0, model: able.find(({ model }) => model !== null)?.model ?? null };
}

/** Why a run cannot have a model, in the words that every way in shows. */
export function missingModel(
  connection: ModelState,
  { agent, model }: { readonly agent: AgentNeeds & { readonly profile: string }; readonly model: string | null },
): RunError | null {
  if (agent.apis.length === 0) return null;
  if (!connection.connected) {
    return noModel(
      "No model is connected. Start Runyard with a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY …) or OPENAI_BASE_URL (any OpenAI-compatible endpoint), and RUNYARD_MODEL set, or see it work without a model: npm run demo.",
    );
  }
  if (!modelFor(connection, agent).connected) {
    const api = agent.apis[0] ?? "";
    return noModel(
      `No model is connected that the agent ${agent.profile} could ask: it speaks ${MAKERS[api] ?? api}'s API only. Start Runyard with ${KEYS[api] ?? "a key for that"} set, or take another agent.`,
    );
  }
  if (model === null && !agent.picksModel) {
    return noModel(
      "No model is named. Set RUNYARD_MODEL for the server, or name one for this run (--model, or `model` in the request). `runyard models` lists them.",
    );
  }
  return null;
}

const MAKERS: Readonly<Record<string, string>> = { openai: "OpenAI", anthropic: "Anthropic", gemini: "Gemini" };
const KEYS: Readonly<Record<string, string>> = { openai: "OPENAI_API_KEY", anthropic: "ANTHROPIC_API_KEY", gemini: "GEMINI_API_KEY" };

function noModel(message: string): RunError {
  return { type: "no-model-configured", message };
}

/** A budget in dollars needs a price. Throws RunyardError `price_unknown` where it is certain that there is none. */
export async function requirePrice(
  options: Pick<EngineOptions, "isPriced" | "model">,
  budget: Budget | undefined,
  model: string | null,
): Promise<void> {
  if (budget?.usd === undefined || options.model().simulated || (await options.isPriced(model)) !== false) return;
  throw new RunyardError(
    "price_unknown",
    `A budget in dollars cannot be kept: nobody knows what the model ${model} costs at its provider. Give the run a budget of tokens, or the provider its prices in providers.json.`,
  );
}
