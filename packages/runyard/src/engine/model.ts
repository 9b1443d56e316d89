import { type Budget, type RunError, RunyardError } from "@runyard/sdk/contract";
import type { AgentNeeds, EngineOptions, ModelState } from "./engine.ts";

/** The models as an agent finds them that speaks only some APIs. */
export function modelFor(state: ModelState, { apis }: Pick<AgentNeeds, "apis">): ModelState {
  if (state.simulated || apis.length === 0 || state.providers === undefined) return state;
  const able = state.providers.filter(({ api }) => apis.includes(api));
  return { ...state, connected: able.length > 0, model: able.find(({ model }) => model !== null)?.model ?? null };
}

/** Why a run cannot have a model, in the words that every way in shows. */
export function missingModel(
  connection: ModelState,
  {
    agent,
    model,
  }: { readonly agent: Pick<AgentNeeds, "apis" | "picksModel"> & { readonly profile: string }; readonly model: string | null },
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

/** Throws RunyardError `login_not_usable` for an agent that cannot call with a login of its own. */
export function requireOwnLogin({ ownLogin }: Pick<AgentNeeds, "ownLogin">): void {
  if (typeof ownLogin !== "string") return;
  throw new RunyardError("login_not_usable", `${ownLogin} Leave out --own-login (\`agent.login\`), or take claude or codex.`);
}

/**
 * A run whose agent calls with its own login needs that login, and a budget that is no more than it can be: what a subscription
 * is charged for a call nobody knows, and what the program asks its maker goes out as it is. Throws RunyardError
 * `login_not_usable`, `price_unknown` and `budget_not_enforced`.
 */
export function requireLogin({ whyNoLogin }: Pick<EngineOptions, "whyNoLogin">, profile: string, budget: Budget | null): void {
  const why = whyNoLogin(profile);
  if (why !== null) throw new RunyardError("login_not_usable", why);
  const { usd, tokens, advisory = false } = budget ?? {};
  if (usd !== undefined)
    throw new RunyardError(
      "price_unknown",
      "A budget in dollars cannot be kept for an agent that calls with its own login: nobody knows what a subscription is charged for a call. Give the run a budget of tokens with --budget-advisory (`budget.advisory`), or leave the budget out.",
    );
  if (tokens !== undefined && !advisory)
    throw new RunyardError(
      "budget_not_enforced",
      "A budget is only advisory for an agent that calls with its own login: the answer that is under way may pass it. If that is enough, say so with --budget-advisory (`budget.advisory: true`); else leave out --own-login.",
    );
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
