import type { ServerResponse } from "node:http";
import { anthropicMessages } from "./anthropic-messages.ts";
import { beginAnswer } from "./answer.ts";
import { geminiGenerate } from "./gemini.ts";
import { openaiChat } from "./openai-chat.ts";
import { MODEL_ALIAS, type Provider, type ProviderModels } from "./protocol.ts";
import type { ModelLists } from "./provider-models.ts";
import type { QuestionFormat } from "./wire-format.ts";

/** A list of models as the programs of one API read it. */
interface ListShape {
  /** Only who speaks this is listed. */
  readonly format: QuestionFormat;
  write(models: readonly NamedModel[]): object;
}

interface NamedModel {
  /** The alias, or `provider/model`. */
  readonly id: string;
  readonly name: string | null;
  readonly owner: string;
  readonly contextTokens: number | null;
}

const openaiShape: ListShape = {
  format: openaiChat,
  write: (models) => ({
    object: "list",
    data: models.map(({ id, owner }) => ({ id, object: "model", created: 0, owned_by: owner })),
  }),
};

const anthropicShape: ListShape = {
  format: anthropicMessages,
  write: (models) => ({
    data: models.map(({ id, name }) => ({ type: "model", id, display_name: name ?? id, created_at: "1970-01-01T00:00:00Z" })),
    has_more: false,
    first_id: models[0]?.id ?? null,
    last_id: models.at(-1)?.id ?? null,
  }),
};

const geminiShape: ListShape = {
  format: geminiGenerate,
  write: (models) => ({
    models: models.map(({ id, name, contextTokens }) => ({
      name: `models/${id}`,
      displayName: name ?? id,
      supportedGenerationMethods: ["generateContent", "countTokens"],
      ...(contextTokens === null ? {} : { inputTokenLimit: contextTokens }),
    })),
  }),
};

/** What is listed of one provider's models. */
export interface ListedModels {
  readonly provider: string;
  readonly models: readonly Pick<ProviderModels["models"][number], "id" | "name" | "contextTokens">[];
}

/** The shape of the list at a path of the door, for a client that does or does not speak Anthropic's API; null: there is none. */
export function listShapeAt(path: string, isAnthropic: boolean): ListShape | null {
  if (path === "/v1beta/models") return geminiShape;
  if (path !== "/v1/models") return null;
  return isAnthropic ? anthropicShape : openaiShape;
}

/**
 * Answers with the models of all providers, the alias in front: it is a name that the gateway takes. Providers that do not answer
 * are left out. No model is called, so nothing is journalled.
 */
export async function listModels(
  response: ServerResponse,
  { shape, lists, providers }: { shape: ListShape; lists: ModelLists; providers: readonly Provider[] },
): Promise<void> {
  const able = providers.filter(({ api }) => shape.format.providerPath(api) !== null);
  sendModels(response, shape, await lists.of(able));
}

/** Answers with these models, the alias in front. */
export function sendModels(response: ServerResponse, shape: ListShape, lists: readonly ListedModels[]): void {
  const alias: NamedModel = { id: MODEL_ALIAS, name: "The run's model", owner: "runyard", contextTokens: null };
  const models = [alias, ...lists.flatMap(named)];
  if (response.destroyed) return;
  beginAnswer(response, 200, { "content-type": "application/json" });
  response.end(JSON.stringify(shape.write(models)));
}

function named({ provider, models }: ListedModels): NamedModel[] {
  return models.map(({ id, name, contextTokens }) => ({ id: `${provider}/${id}`, name, owner: provider, contextTokens }));
}
