import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import type { StopReason } from "@agentclientprotocol/sdk";
import type { ToolResultPart } from "ai";
import { askModel, configuredModel, type ModelAnswer, type ModelQuestion, type RequestedCall } from "./ask-model.ts";
import { carryOut, notCarriedOut } from "./carry-out.ts";
import type { ClientLink } from "./client-link.ts";
import { fitContext } from "./context-size.ts";
import type { Conversation } from "./conversation.ts";
import { instructionsFor } from "./instructions.ts";
import { ModelFailure } from "./model-failure.ts";
import { TOOLS } from "./tools/index.ts";
import type { AgentTool } from "./tools/tool.ts";

const MAX_STEPS = 100;
/** How often a step is asked for when its answer breaks off: nothing of it had been carried out. */
const MAX_TRIES = 3;
const RETRY_DELAY_MS = 500;
const DEFAULT_CONTEXT_TOKENS = 150_000;

/** Tokens of a turn, as the provider counted them; null where it did not say. */
export interface TurnUsage {
  inputTokens: number | null;
  outputTokens: number | null;
  totalTokens: number | null;
  cachedReadTokens: number | null;
}

export interface Turn {
  /** Real path of the workspace. */
  readonly root: string;
  /** Real paths of the folders that belong to it beside it. */
  readonly further: readonly string[];
  readonly conversation: Conversation;
  /** Tools of the session beside the agent's own. */
  readonly moreTools: Readonly<Record<string, AgentTool<unknown>>>;
  readonly link: ClientLink;
  readonly signal: AbortSignal;
  readonly env: NodeJS.ProcessEnv;
  save(): Promise<void>;
}

/**
 * Works on the conversation's last message until the model has nothing more to do. Throws a
 * `ModelFailure` when the model cannot be used; what was done until then stays in the conversation.
 */
export async function runTurn(turn: Turn): Promise<{ stopReason: StopReason; usage: TurnUsage }> {
  const usage: TurnUsage = { inputTokens: null, outputTokens: null, totalTokens: null, cachedReadTokens: null };
  const model = configuredModel(turn.env);
  const system = await instructionsFor(turn.root, turn.further);
  const tools = { ...TOOLS, ...turn.moreTools };
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const stopReason = await takeStep(turn, { model, system, tools, usage });
    await turn.save();
    if (turn.signal.aborted) return { stopReason: "cancelled", usage };
    if (stopReason !== null) return { stopReason, usage };
  }
  return { stopReason: "max_turn_requests", usage };
}

/** What all model calls of a turn have in common. */
type Terms = Pick<ModelQuestion, "model" | "system" | "tools">;

/** One model call and what it asks for. Returns why the turn ends, or null when it goes on. */
async function takeStep(turn: Turn, step: Terms & { usage: TurnUsage }): Promise<StopReason | null> {
  const { messages } = turn.conversation;
  messages.splice(0, messages.length, ...fitContext(messages, contextLimit(turn.env)));
  const answer = await askPatiently(turn, step);
  if (answer === null) return "cancelled";
  addUsage(step.usage, answer.usage);
  if (answer.message !== null) messages.push(answer.message);
  if (answer.calls.length > 0) messages.push({ role: "tool", content: await carryOutAll(turn, step.tools, answer) });
  return stopReasonOf(answer);
}

function stopReasonOf({ finishReason, calls }: ModelAnswer): StopReason | null {
  if (finishReason === "length") return "max_tokens";
  if (finishReason === "content-filter") return "refusal";
  return calls.length > 0 ? null : "end_turn";
}

async function carryOutAll(turn: Turn, tools: Terms["tools"], answer: ModelAnswer): Promise<ToolResultPart[]> {
  const results: ToolResultPart[] = [];
  for (const call of answer.calls) {
    results.push(answer.finishReason === "length" ? cutShort(call) : await carryOut(call, { ...turn, tools }));
  }
  return results;
}

/** The last call of an answer that was cut at the model's output limit may be a half one that looks whole. */
function cutShort(call: RequestedCall): ToolResultPart {
  return notCarriedOut(call, "Not carried out: the answer was cut off at the model's output limit.");
}

/** The model's answer, or null when the turn was cancelled; what it had said by then stays in the conversation. */
async function askPatiently(turn: Turn, step: Terms): Promise<ModelAnswer | null> {
  for (let tries = 1; ; tries += 1) {
    const heard = hearing(turn.link);
    try {
      return await askModel({ ...step, messages: turn.conversation.messages, signal: turn.signal, onDelta: heard.onDelta });
    } catch (error) {
      if (turn.signal.aborted) return keepHeard(turn, heard.text());
      if (!brokeOff(error)) throw error;
      if (tries === MAX_TRIES) throw new ModelFailure(`${error.message} (${tries} tries)`, { reason: error.reason, cause: error });
      await wait(RETRY_DELAY_MS * tries, undefined, { signal: turn.signal }).catch(() => undefined);
    }
  }
}

function keepHeard(turn: Turn, text: string): null {
  if (text !== "") turn.conversation.messages.push({ role: "assistant", content: text });
  return null;
}

function brokeOff(error: unknown): error is ModelFailure {
  return error instanceof ModelFailure && (error.reason === "cut" || error.reason === "stream-error");
}

/** Passes on what the model says; each try is a message of its own. */
function hearing(link: ClientLink): { onDelta: ModelQuestion["onDelta"]; text: () => string } {
  const ids = { text: randomUUID(), thought: randomUUID() };
  let said = "";
  return {
    onDelta(kind, text) {
      if (text === "") return;
      if (kind === "text") said += text;
      const sessionUpdate = kind === "text" ? "agent_message_chunk" : "agent_thought_chunk";
      link.update({ sessionUpdate, messageId: ids[kind], content: { type: "text", text } });
    },
    text: () => said,
  };
}

function addUsage(total: TurnUsage, usage: ModelAnswer["usage"]): void {
  const add = (sum: number | null, tokens: number | undefined): number | null => (tokens === undefined ? sum : (sum ?? 0) + tokens);
  total.inputTokens = add(total.inputTokens, usage.inputTokens);
  total.outputTokens = add(total.outputTokens, usage.outputTokens);
  total.totalTokens = add(total.totalTokens, usage.totalTokens);
  total.cachedReadTokens = add(total.cachedReadTokens, usage.inputTokenDetails.cacheReadTokens);
}

function contextLimit(env: NodeJS.ProcessEnv): number {
  const given = Number(env["RUNYARD_CONTEXT_TOKENS"]);
  return Number.isFinite(given) && given > 0 ? given : DEFAULT_CONTEXT_TOKENS;
}
