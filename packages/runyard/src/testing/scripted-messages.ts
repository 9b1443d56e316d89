import type { ServerResponse } from "node:http";
import type { DeclaredTool } from "./scripted-tools.ts";
import { beginStream, type ModelMessage, newId, type Said, SCRIPTED_USAGE, sendJson, type Wire, words } from "./scripted-wire.ts";

interface MessagesBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly messages: readonly { readonly role: string; readonly content: string | readonly Block[] }[];
  readonly tools?: readonly { readonly name: string; readonly input_schema?: DeclaredTool["parameters"] }[];
}
interface Block {
  readonly type: string;
  readonly content?: unknown;
}

/** Anthropic's Messages. */
export const messagesWire: Wire = {
  path: "/messages",
  read(body) {
    const { model, stream, messages, tools = [] } = body as MessagesBody;
    const declared = tools.map(({ name, input_schema: parameters = {} }) => ({ name, parameters }));
    return { model, stream: stream === true, tools: declared, messages: messages.flatMap(messagesOf) };
  },
  count: { path: "/messages/count_tokens", answer: { input_tokens: SCRIPTED_USAGE.inputTokens } },
  sendStream,
  sendWhole,
};

/** What tools gave back comes in the user's messages. */
function messagesOf({ role, content }: MessagesBody["messages"][number]): ModelMessage[] {
  if (typeof content === "string") return [{ role, content }];
  const results = content.filter((block) => block.type === "tool_result");
  const rest = content.filter((block) => block.type !== "tool_result");
  const said = rest.length > 0 || results.length === 0 ? [{ role, content: rest }] : [];
  return [...results.map((block) => ({ role: "tool", content: block.content })), ...said];
}

/** What was read from the cache stands beside the input. */
const usageOf = ({ outputTokens }: Said) => ({
  input_tokens: SCRIPTED_USAGE.inputTokens - SCRIPTED_USAGE.cachedInputTokens,
  cache_read_input_tokens: SCRIPTED_USAGE.cachedInputTokens,
  cache_creation_input_tokens: 0,
  output_tokens: outputTokens,
});

function envelope(said: Said, fields: object): object {
  return {
    id: newId("msg"),
    type: "message",
    role: "assistant",
    model: said.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: usageOf(said),
    ...fields,
  };
}

function contentOf({ text, calls }: Said): object[] {
  const uses = calls.map((call) => ({ type: "tool_use", id: newId("toolu"), name: call.name, input: call.input }));
  return text === "" ? uses : [{ type: "text", text }, ...uses];
}

function stopReason({ calls }: Said): string {
  return calls.length > 0 ? "tool_use" : "end_turn";
}

function sendStream(response: ServerResponse, said: Said): void {
  beginStream(response);
  const send = (type: string, fields: object = {}): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  };
  const begin = (index: number, block: object): void => send("content_block_start", { index, content_block: block });
  const add = (index: number, delta: object): void => send("content_block_delta", { index, delta });
  send("message_start", { message: envelope(said, { usage: { ...usageOf(said), output_tokens: 1 } }) });
  const hasText = said.text !== "";
  if (hasText) {
    begin(0, { type: "text", text: "" });
    for (const text of words(said.text)) add(0, { type: "text_delta", text });
  }
  if (said.cut) {
    setImmediate(() => response.destroy());
    return;
  }
  if (hasText) send("content_block_stop", { index: 0 });
  for (const [at, call] of said.calls.entries()) {
    const index = at + (hasText ? 1 : 0);
    begin(index, { type: "tool_use", id: newId("toolu"), name: call.name, input: {} });
    add(index, { type: "input_json_delta", partial_json: JSON.stringify(call.input) });
    send("content_block_stop", { index });
  }
  send("message_delta", { delta: { stop_reason: stopReason(said), stop_sequence: null }, usage: usageOf(said) });
  send("message_stop");
  response.end();
}

function sendWhole(response: ServerResponse, said: Said): void {
  sendJson(response, 200, envelope(said, { content: contentOf(said), stop_reason: stopReason(said) }));
}
