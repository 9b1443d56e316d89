import type { ServerResponse } from "node:http";
import type { DeclaredTool, ToolCall } from "./scripted-tools.ts";
import { beginStream, type ModelMessage, newId, type Said, SCRIPTED_USAGE, sendJson, type Wire, words } from "./scripted-wire.ts";

interface ResponsesBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly input: string | readonly InputItem[];
  readonly tools?: readonly ToolDeclaration[];
}
interface InputItem {
  readonly type?: string;
  /** Of an item `additional_tools`, in which codex declares the tools of its newest models. */
  readonly tools?: readonly ToolDeclaration[];
  readonly role?: string;
  readonly content?: unknown;
  readonly output?: unknown;
}
interface ToolDeclaration {
  readonly type: string;
  readonly name?: string;
  readonly parameters?: DeclaredTool["parameters"];
  /** Of a namespace. */
  readonly tools?: readonly ToolDeclaration[];
}

/** OpenAI's Responses. */
export const responsesWire: Wire = {
  path: "/responses",
  read(body) {
    const { model, stream, input, tools = [] } = body as ResponsesBody;
    const items = typeof input === "string" ? [{ role: "user", content: input }] : input;
    return {
      model,
      stream: stream === true,
      tools: [...tools, ...items.flatMap((item) => item.tools ?? [])].flatMap((tool) => declaredTools(tool)),
      messages: messagesOf(items),
    };
  },
  sendStream,
  sendWhole,
};

function declaredTools({ type, name, parameters = {}, tools = [] }: ToolDeclaration, namespace?: string): DeclaredTool[] {
  if (type === "namespace") return tools.flatMap((tool) => declaredTools(tool, name));
  const isKnown = type === "function" || type === "custom";
  return isKnown && name !== undefined ? [{ name, parameters, namespace, isFreeText: type === "custom" }] : [];
}

/** A turn of the model is several items (thoughts, words, calls), one behind the other. */
function messagesOf(items: readonly InputItem[]): ModelMessage[] {
  const messages: ModelMessage[] = [];
  for (const item of items.filter(({ type }) => type !== "additional_tools")) {
    const message = messageOf(item);
    if (message.role !== "assistant" || messages.at(-1)?.role !== "assistant") messages.push(message);
  }
  return messages;
}

function messageOf({ type = "message", role = "assistant", content, output }: InputItem): ModelMessage {
  if (type === "message") return { role, content };
  return type.endsWith("_output") ? { role: "tool", content: output } : { role: "assistant", content };
}

const usageOf = ({ outputTokens }: Said) => ({
  input_tokens: SCRIPTED_USAGE.inputTokens,
  input_tokens_details: { cached_tokens: SCRIPTED_USAGE.cachedInputTokens },
  output_tokens: outputTokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: SCRIPTED_USAGE.inputTokens + outputTokens,
});

function envelope(said: Said, fields: object): object {
  return {
    id: newId("resp"),
    object: "response",
    created_at: 1,
    model: said.model,
    status: "completed",
    output: [],
    usage: usageOf(said),
    ...fields,
  };
}

function sendStream(response: ServerResponse, said: Said): void {
  beginStream(response);
  let number = 0;
  const send = (type: string, fields: object): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...fields })}\n\n`);
  };
  send("response.created", { response: envelope(said, { status: "in_progress", usage: null }) });
  const output = itemsOf(said);
  for (const [index, item] of output.entries()) {
    send("response.output_item.added", { output_index: index, item: { ...item, status: "in_progress" } });
    const place = { output_index: index, item_id: item.id, content_index: 0 };
    if (item.type === "message") for (const delta of words(said.text)) send("response.output_text.delta", { ...place, delta });
    if (said.cut) {
      setImmediate(() => response.destroy());
      return;
    }
    send("response.output_item.done", { output_index: index, item });
  }
  send("response.completed", { response: envelope(said, { output }) });
  response.end();
}

function sendWhole(response: ServerResponse, said: Said): void {
  sendJson(response, 200, envelope(said, { output: itemsOf(said) }));
}

interface OutputItem {
  readonly type: string;
  readonly id: string;
}

function itemsOf(said: Said): OutputItem[] {
  const message = {
    type: "message",
    id: newId("msg"),
    role: "assistant",
    status: "completed",
    content: [{ type: "output_text", text: said.text, annotations: [] }],
  };
  const calls = said.calls.map((call) => callItem(call, said.tools));
  return said.text === "" ? calls : [message, ...calls];
}

function callItem(call: ToolCall, tools: readonly DeclaredTool[]): OutputItem {
  const tool = tools.find((declared) => declared.name === call.name);
  const base = { call_id: newId("call"), name: call.name, namespace: tool?.namespace, status: "completed" };
  if (tool?.isFreeText === true) return { type: "custom_tool_call", id: newId("ctc"), ...base, input: call.input["text"] } as OutputItem;
  return { type: "function_call", id: newId("fc"), ...base, arguments: JSON.stringify(call.input) } as OutputItem;
}
