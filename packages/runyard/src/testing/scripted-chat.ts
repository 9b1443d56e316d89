import type { ServerResponse } from "node:http";
import type { DeclaredTool, ToolCall } from "./scripted-tools.ts";
import { beginStream, type ModelMessage, newId, type Said, SCRIPTED_USAGE, sendJson, type Wire, words } from "./scripted-wire.ts";

interface ChatBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly messages: readonly ModelMessage[];
  readonly tools?: readonly { readonly function: DeclaredTool }[];
}

/** Chat completions. */
export const chatWire: Wire = {
  path: "/chat/completions",
  read(body) {
    const { model, stream, messages, tools = [] } = body as ChatBody;
    return { model, stream: stream === true, tools: tools.map((tool) => tool.function), messages };
  },
  sendStream,
  sendWhole,
};

const usageOf = ({ outputTokens }: Said) => ({
  prompt_tokens: SCRIPTED_USAGE.inputTokens,
  completion_tokens: outputTokens,
  total_tokens: SCRIPTED_USAGE.inputTokens + outputTokens,
  prompt_tokens_details: { cached_tokens: SCRIPTED_USAGE.cachedInputTokens },
});

function sendStream(response: ServerResponse, said: Said): void {
  beginStream(response);
  const base = { id: newId("chatcmpl"), object: "chat.completion.chunk", created: 1, model: said.model };
  const send = (delta: object, finishReason: string | null = null): void => {
    response.write(`data: ${JSON.stringify({ ...base, choices: [{ index: 0, delta, finish_reason: finishReason }] })}\n\n`);
  };
  send({ role: "assistant", content: "" });
  for (const content of words(said.text)) send({ content });
  if (said.cut) {
    setImmediate(() => response.destroy());
    return;
  }
  wireCalls(said.calls).forEach((call, index) => send({ tool_calls: [{ index, ...call }] }));
  send({}, said.calls.length > 0 ? "tool_calls" : "stop");
  response.write(`data: ${JSON.stringify({ ...base, choices: [], usage: usageOf(said) })}\n\n`);
  response.end("data: [DONE]\n\n");
}

function sendWhole(response: ServerResponse, said: Said): void {
  const calls = wireCalls(said.calls);
  const message = { role: "assistant", content: said.text || null, ...(calls.length > 0 ? { tool_calls: calls } : {}) };
  const choice = { index: 0, message, finish_reason: calls.length > 0 ? "tool_calls" : "stop" };
  sendJson(response, 200, {
    id: newId("chatcmpl"),
    object: "chat.completion",
    created: 1,
    model: said.model,
    choices: [choice],
    usage: usageOf(said),
  });
}

function wireCalls(calls: readonly ToolCall[]): object[] {
  return calls.map((call) => ({
    id: newId("call"),
    type: "function",
    function: { name: call.name, arguments: JSON.stringify(call.input) },
  }));
}
