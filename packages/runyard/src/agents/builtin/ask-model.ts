import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  streamText,
  tool,
  type AssistantModelMessage,
  type FinishReason,
  type LanguageModel,
  type LanguageModelUsage,
  type ModelMessage,
  type ToolSet,
} from "ai";
import { ModelFailure, readModelFailure } from "./model-failure.ts";
import type { AgentTool } from "./tools/tool.ts";

/** A tool call as the model asked for it; `problem` says why it cannot be carried out at all. */
export interface RequestedCall {
  readonly toolCallId: string;
  readonly toolName: string;
  readonly input: unknown;
  readonly problem: string | null;
}

export interface ModelAnswer {
  /** Null when the model said nothing. */
  readonly message: AssistantModelMessage | null;
  readonly calls: readonly RequestedCall[];
  readonly finishReason: FinishReason;
  readonly usage: LanguageModelUsage;
}

export interface ModelQuestion {
  readonly model: LanguageModel;
  readonly system: string;
  readonly messages: readonly ModelMessage[];
  /** By the names that the model calls them by. */
  readonly tools: Readonly<Record<string, AgentTool<unknown>>>;
  readonly signal: AbortSignal;
  onDelta(kind: "text" | "thought", text: string): void;
}

/** The model that the environment names; throws a `ModelFailure` when it names none. */
export function configuredModel(env: NodeJS.ProcessEnv): LanguageModel {
  const baseURL = env["OPENAI_BASE_URL"];
  const model = env["RUNYARD_MODEL"];
  if (!baseURL || !model) {
    throw new ModelFailure("No model is configured: OPENAI_BASE_URL and RUNYARD_MODEL must be set", { reason: "configuration" });
  }
  const apiKey = env["OPENAI_API_KEY"];
  return createOpenAICompatible({ name: "openai", baseURL, includeUsage: true, ...(apiKey ? { apiKey } : {}) })(model);
}

/** The tools without their doing: what a model asks for is carried out after its answer has come whole. */
function offered(tools: ModelQuestion["tools"]): ToolSet {
  return Object.fromEntries(
    Object.entries(tools).map(([name, { description, inputSchema }]) => [name, tool({ description, inputSchema })]),
  );
}

/**
 * One model call. Throws a `ModelFailure` for whatever goes wrong with it, a broken stream included, and
 * the signal's reason when it was aborted.
 */
export async function askModel(question: ModelQuestion): Promise<ModelAnswer> {
  // Its own controller, so that an answer that is not read to its end does not keep its connection.
  const call = new AbortController();
  const result = streamText({
    model: question.model,
    system: question.system,
    messages: [...question.messages],
    tools: offered(question.tools),
    maxRetries: 2,
    abortSignal: AbortSignal.any([question.signal, call.signal]),
    // Errors come as parts of the stream; what the SDK does by default is to print them.
    onError: () => undefined,
  });
  try {
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") question.onDelta("text", part.text);
      else if (part.type === "reasoning-delta") question.onDelta("thought", part.text);
      else if (part.type === "error") throw part.error;
      else if (part.type === "abort") break;
    }
    question.signal.throwIfAborted();
    return await readAnswer(result);
  } catch (error) {
    question.signal.throwIfAborted();
    throw readModelFailure(error);
  } finally {
    call.abort();
  }
}

async function readAnswer(result: ReturnType<typeof streamText>): Promise<ModelAnswer> {
  const [response, toolCalls, finishReason, usage] = await Promise.all([
    result.response,
    result.toolCalls,
    result.finishReason,
    result.usage,
  ]);
  const calls = toolCalls.map((call) => ({
    toolCallId: call.toolCallId,
    toolName: call.toolName,
    input: call.input,
    problem: call.dynamic === true && call.invalid === true ? invalidCallText(call.error) : null,
  }));
  const message = response.messages.find((candidate) => candidate.role === "assistant") ?? null;
  return { message, calls, finishReason, usage };
}

function invalidCallText(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  return `This call could not be carried out. ${words}`;
}
