import type { ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import type { Conversation } from "./conversation.ts";
import {
  type Answer,
  argumentPieces,
  callId,
  contentSchema,
  type Dialect,
  PIECE_DELAY_MS,
  type Question,
  sendJson,
  textOf,
  wordsOf,
} from "./dialect.ts";
import { SCRIPTED_MODEL } from "./model.ts";

/** Chat completions. */
export const chatDialect: Dialect = { doorPath: "/v1/chat/completions", read, sendWhole, sendStream };

const messageSchema = z.looseObject({
  role: z.string(),
  content: contentSchema,
  tool_calls: z
    .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string() }) }))
    .nullish()
    .catch(null),
  tool_call_id: z.string().nullish().catch(null),
});
const requestSchema = z.looseObject({
  messages: z.array(messageSchema),
  tools: z
    .array(z.looseObject({ function: z.looseObject({ name: z.string() }) }))
    .nullish()
    .catch(null),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});
type ChatRequest = z.infer<typeof requestSchema>;

function read(body: unknown): Question {
  const asked = requestSchema.parse(body);
  return {
    conversation: readConversation(asked),
    stream: asked.stream === true,
    includeUsage: asked.stream_options?.include_usage === true,
    counted: [asked.messages, asked.tools ?? []],
  };
}

function readConversation({ messages, tools }: ChatRequest): Conversation {
  const lastUser = messages.findLastIndex((message) => message.role === "user");
  const since = messages.slice(lastUser + 1);
  const calls = since.flatMap((message) => message.tool_calls ?? []);
  const nameOf = (id: string | null | undefined): string => calls.find((call) => call.id === id)?.function.name ?? "";
  return {
    task: textOf(messages[lastUser]?.content),
    turnsDone: since.filter((message) => (message.tool_calls ?? []).length > 0).length,
    results: since
      .filter((message) => message.role === "tool")
      .map((message) => ({ tool: nameOf(message.tool_call_id), text: textOf(message.content) })),
    tools: new Set((tools ?? []).map((tool) => tool.function.name)),
  };
}

function usageOf({ inputTokens, outputTokens }: Answer): object {
  return { prompt_tokens: inputTokens, completion_tokens: outputTokens, total_tokens: inputTokens + outputTokens };
}

function finishReason({ turn }: Answer): string {
  return turn.calls.length > 0 ? "tool_calls" : "stop";
}

interface WireCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

function toolCalls(answer: Answer): WireCall[] {
  return answer.turn.calls.map((call, index) => ({
    id: callId(answer, index),
    type: "function",
    function: { name: call.name, arguments: JSON.stringify(call.input) },
  }));
}

function envelope({ id }: Answer, object: string): Record<string, unknown> {
  return { id: `chatcmpl-${id}`, object, created: Math.floor(Date.now() / 1_000), model: SCRIPTED_MODEL };
}

function sendWhole(response: ServerResponse, answer: Answer): void {
  const calls = toolCalls(answer);
  const message = { role: "assistant", content: answer.turn.say || null, ...(calls.length > 0 ? { tool_calls: calls } : {}) };
  sendJson(response, {
    ...envelope(answer, "chat.completion"),
    choices: [{ index: 0, message, finish_reason: finishReason(answer) }],
    usage: usageOf(answer),
  });
}

async function sendStream(response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (fields: Record<string, unknown>): void =>
    void response.write(`data: ${JSON.stringify({ ...envelope(answer, "chat.completion.chunk"), ...fields })}\n\n`);
  const choose = (delta: unknown, reason: string | null = null): void => send({ choices: [{ index: 0, delta, finish_reason: reason }] });
  choose({ role: "assistant", content: "" });
  for (const delta of pieces(answer)) {
    await wait(PIECE_DELAY_MS);
    if (response.destroyed) return;
    choose(delta);
  }
  choose({}, finishReason(answer));
  if (answer.includeUsage) send({ choices: [], usage: usageOf(answer) });
  response.end("data: [DONE]\n\n");
}

/** The deltas of an answer: a few words at a time, then each call with its arguments in pieces. */
function* pieces(answer: Answer): Generator {
  for (const content of wordsOf(answer.turn.say)) yield { content };
  for (const [index, call] of toolCalls(answer).entries()) {
    const { arguments: text, name } = call.function;
    yield { tool_calls: [{ ...call, index, function: { name, arguments: "" } }] };
    for (const piece of argumentPieces(text)) yield { tool_calls: [{ index, function: { arguments: piece } }] };
  }
}
