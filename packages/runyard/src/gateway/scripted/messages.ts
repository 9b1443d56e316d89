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
  toolNames,
  toolSchema,
  wordsOf,
} from "./dialect.ts";
import { SCRIPTED_MODEL } from "./model.ts";

/** Anthropic's Messages. */
export const messagesDialect: Dialect = { doorPath: "/v1/messages", read, sendWhole, sendStream };

const blockSchema = z.looseObject({
  type: z.string(),
  text: z.string().catch(""),
  id: z.string().catch(""),
  name: z.string().catch(""),
  tool_use_id: z.string().catch(""),
  content: contentSchema,
});
const messageSchema = z.looseObject({
  role: z.string(),
  content: z.union([z.string().transform((text) => [blockSchema.parse({ type: "text", text })]), z.array(blockSchema)]),
});
const formatSchema = z.looseObject({ schema: z.unknown().optional() }).nullish().catch(null);
const requestSchema = z.looseObject({
  system: z.unknown().optional(),
  messages: z.array(messageSchema),
  tools: z
    .array(z.looseObject({ name: z.string().nullish().catch(null), input_schema: toolSchema }))
    .nullish()
    .catch(null),
  output_config: z.looseObject({ format: formatSchema }).nullish().catch(null),
  output_format: formatSchema,
  stream: z.boolean().nullish(),
});
type MessagesRequest = z.infer<typeof requestSchema>;

function read(body: unknown): Question {
  const asked = requestSchema.parse(body);
  return {
    conversation: readConversation(asked),
    stream: asked.stream === true,
    includeUsage: true,
    schema: asked.output_config?.format?.schema ?? asked.output_format?.schema,
    counted: [asked.system ?? "", asked.messages, asked.tools ?? []],
  };
}

function readConversation({ messages, tools }: MessagesRequest): Conversation {
  // What tools gave back comes from the user too.
  const isPerson = ({ role, content }: z.infer<typeof messageSchema>): boolean =>
    role === "user" && content.every((block) => block.type !== "tool_result");
  const lastUser = messages.findLastIndex(isPerson);
  const since = messages.slice(lastUser + 1);
  const blocks = since.flatMap((message) => message.content);
  const nameOf = (id: string): string => blocks.find((block) => block.type === "tool_use" && block.id === id)?.name ?? "";
  return {
    task: textOf(messages[lastUser]?.content),
    turnsDone: since.filter((message) => message.content.some((block) => block.type === "tool_use")).length,
    results: blocks
      .filter((block) => block.type === "tool_result")
      .map((block) => ({ tool: nameOf(block.tool_use_id), text: textOf(block.content) })),
    tools: toolNames((tools ?? []).map(({ name, input_schema: schema }) => ({ name, schema }))),
  };
}

type Block = TextBlock | ToolBlock;
interface TextBlock {
  readonly type: "text";
  readonly text: string;
}
interface ToolBlock {
  readonly type: "tool_use";
  readonly id: string;
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}

function blocksOf(answer: Answer): Block[] {
  const { say, calls } = answer.turn;
  const tools = calls.map((call, index): ToolBlock => ({
    type: "tool_use",
    id: callId(answer, index),
    name: call.name,
    input: call.input,
  }));
  return say === "" ? tools : [{ type: "text", text: say }, ...tools];
}

function envelope({ id, inputTokens }: Answer): Record<string, unknown> {
  const usage = { input_tokens: inputTokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 };
  return {
    id: `msg_${id}`,
    type: "message",
    role: "assistant",
    model: SCRIPTED_MODEL,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage,
  };
}

function stopOf({ turn }: Answer): { stop_reason: string; stop_sequence: null } {
  return { stop_reason: turn.calls.length > 0 ? "tool_use" : "end_turn", stop_sequence: null };
}

function sendWhole(response: ServerResponse, answer: Answer): void {
  const { inputTokens, outputTokens } = answer;
  const usage = {
    input_tokens: inputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: outputTokens,
  };
  sendJson(response, { ...envelope(answer), content: blocksOf(answer), ...stopOf(answer), usage });
}

interface StreamEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

async function sendStream(response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const frame = (event: StreamEvent): string => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  response.write(frame({ type: "message_start", message: envelope(answer) }));
  for (const [index, block] of blocksOf(answer).entries()) {
    for (const event of block.type === "text" ? textEvents(block) : toolEvents(block)) {
      if (event.type.endsWith("_delta")) await wait(PIECE_DELAY_MS);
      if (response.destroyed) return;
      response.write(frame({ ...event, index }));
    }
  }
  response.write(frame({ type: "message_delta", delta: stopOf(answer), usage: { output_tokens: answer.outputTokens } }));
  response.end(frame({ type: "message_stop" }));
}

function* textEvents(block: TextBlock): Generator<StreamEvent> {
  yield { type: "content_block_start", content_block: { ...block, text: "" } };
  for (const text of wordsOf(block.text)) yield { type: "content_block_delta", delta: { type: "text_delta", text } };
  yield { type: "content_block_stop" };
}

function* toolEvents(block: ToolBlock): Generator<StreamEvent> {
  yield { type: "content_block_start", content_block: { ...block, input: {} } };
  for (const piece of argumentPieces(JSON.stringify(block.input)))
    yield { type: "content_block_delta", delta: { type: "input_json_delta", partial_json: piece } };
  yield { type: "content_block_stop" };
}
