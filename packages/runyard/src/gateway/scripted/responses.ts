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

/** OpenAI's Responses. */
export const responsesDialect: Dialect = { doorPath: "/v1/responses", read, sendWhole, sendStream };

const itemSchema = z.looseObject({
  type: z.string().nullish().catch(null),
  role: z.string().nullish().catch(null),
  content: contentSchema,
  call_id: z.string().nullish().catch(null),
  name: z.string().nullish().catch(null),
  output: contentSchema,
});
const requestSchema = z.looseObject({
  input: z.union([z.string(), z.array(itemSchema)]),
  tools: z
    .array(z.looseObject({ name: z.string().nullish().catch(null) }))
    .nullish()
    .catch(null),
  stream: z.boolean().nullish(),
});
type ResponsesRequest = z.infer<typeof requestSchema>;

function read(body: unknown): Question {
  const asked = requestSchema.parse(body);
  return {
    conversation: readConversation(asked),
    stream: asked.stream === true,
    includeUsage: true,
    counted: [asked.input, asked.tools ?? []],
  };
}

function readConversation({ input, tools }: ResponsesRequest): Conversation {
  const items = typeof input === "string" ? [{ role: "user", content: input }] : input;
  const lastUser = items.findLastIndex((item) => item.role === "user");
  const since: z.infer<typeof itemSchema>[] = items.slice(lastUser + 1);
  const calls = since.filter((item) => item.type === "function_call");
  const nameOf = (id: string | null | undefined): string => calls.find((call) => call.call_id === id)?.name ?? "";
  return {
    task: textOf(items[lastUser]?.content),
    // The ids are our own: each turn that has calls has one with the number 0.
    turnsDone: calls.filter((call) => call.call_id?.endsWith("_0")).length,
    results: since
      .filter((item) => item.type === "function_call_output")
      .map((item) => ({ tool: nameOf(item.call_id), text: textOf(item.output) })),
    tools: new Set((tools ?? []).flatMap((tool) => tool.name ?? [])),
  };
}

type Item = MessageItem | CallItem;
interface MessageItem {
  readonly type: "message";
  readonly id: string;
  readonly role: "assistant";
  readonly status: "completed";
  readonly content: readonly [TextPart];
}
interface TextPart {
  readonly type: "output_text";
  readonly text: string;
  readonly annotations: readonly [];
}
interface CallItem {
  readonly type: "function_call";
  readonly id: string;
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: "completed";
}

function itemsOf(answer: Answer): Item[] {
  const { say, calls } = answer.turn;
  const part: TextPart = { type: "output_text", text: say, annotations: [] };
  const message: MessageItem = { type: "message", id: `msg_${answer.id}`, role: "assistant", status: "completed", content: [part] };
  const callItems = calls.map((call, index): CallItem => ({
    type: "function_call",
    id: `fc_${answer.id}_${index}`,
    call_id: callId(answer, index),
    name: call.name,
    arguments: JSON.stringify(call.input),
    status: "completed",
  }));
  return say === "" ? callItems : [message, ...callItems];
}

function envelope({ id }: Answer): Record<string, unknown> {
  const created_at = Math.floor(Date.now() / 1_000);
  return { id: `resp_${id}`, object: "response", created_at, model: SCRIPTED_MODEL, status: "in_progress", output: [], usage: null };
}

function whole(answer: Answer): Record<string, unknown> {
  const { inputTokens, outputTokens } = answer;
  const usage = {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + outputTokens,
  };
  return { ...envelope(answer), status: "completed", output: itemsOf(answer), usage };
}

function sendWhole(response: ServerResponse, answer: Answer): void {
  sendJson(response, whole(answer));
}

interface StreamEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

async function sendStream(response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  let number = 0;
  const frame = (event: StreamEvent): string =>
    `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: number++ })}\n\n`;
  response.write(frame({ type: "response.created", response: envelope(answer) }));
  for (const [index, item] of itemsOf(answer).entries()) {
    for (const event of item.type === "message" ? messageEvents(item) : callEvents(item)) {
      if (event.type.endsWith(".delta")) await wait(PIECE_DELAY_MS);
      if (response.destroyed) return;
      response.write(frame({ ...event, output_index: index }));
    }
  }
  response.end(frame({ type: "response.completed", response: whole(answer) }));
}

function* messageEvents(item: MessageItem): Generator<StreamEvent> {
  const place = { item_id: item.id, content_index: 0 };
  const [part] = item.content;
  yield { type: "response.output_item.added", item: { ...item, status: "in_progress", content: [] } };
  yield { type: "response.content_part.added", ...place, part: { ...part, text: "" } };
  for (const delta of wordsOf(part.text)) yield { type: "response.output_text.delta", ...place, delta };
  yield { type: "response.output_text.done", ...place, text: part.text };
  yield { type: "response.content_part.done", ...place, part };
  yield { type: "response.output_item.done", item };
}

function* callEvents(item: CallItem): Generator<StreamEvent> {
  const place = { item_id: item.id };
  yield { type: "response.output_item.added", item: { ...item, status: "in_progress", arguments: "" } };
  for (const delta of argumentPieces(item.arguments)) yield { type: "response.function_call_arguments.delta", ...place, delta };
  yield { type: "response.function_call_arguments.done", ...place, arguments: item.arguments };
  yield { type: "response.output_item.done", item };
}
