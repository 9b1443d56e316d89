import type { RunError } from "@runyard/sdk/contract";
import type { ModelState } from "./engine.ts";

/** Why a run cannot have a model, in the words that every way in shows. */
export function missingModel(connection: ModelState, model: string | null): RunError | null {
  if (!connection.connected) {
    return {
      type: "no-model-configured",
      message:
        "No model is connected. Start Runyard with a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY …) or OPENAI_BASE_URL (any OpenAI-compatible endpoint), and RUNYARD_MODEL set, or see it work without a model: npm run demo.",
    };
  }
  if (model === null) {
    return {
      type: "no-model-configured",
      message:
        "No model is named. Set RUNYARD_MODEL for the server, or name one for this run (--model, or `model` in the request). `runyard models` lists them.",
    };
  }
  return null;
}
