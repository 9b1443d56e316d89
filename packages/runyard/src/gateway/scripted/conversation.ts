import { z } from "zod";

const contentSchema = z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))]).nullish();
const messageSchema = z.looseObject({
  role: z.string(),
  content: contentSchema.catch(null),
  tool_calls: z
    .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string() }) }))
    .nullish()
    .catch(null),
  tool_call_id: z.string().nullish().catch(null),
});
export const scriptedRequestSchema = z.looseObject({
  messages: z.array(messageSchema),
  tools: z
    .array(z.looseObject({ function: z.looseObject({ name: z.string() }) }))
    .nullish()
    .catch(null),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});
export type ScriptedRequest = z.infer<typeof scriptedRequestSchema>;
type Message = ScriptedRequest["messages"][number];

/** What a request tells about where the work stands, all of it since the person's last message. */
export interface Conversation {
  readonly task: string;
  /** How many times the model has asked for tools and got its results. */
  readonly turnsDone: number;
  /** What tools gave back, by tool, in order. */
  readonly results: readonly { readonly tool: string; readonly text: string }[];
  /** The tools that the agent offers. */
  readonly tools: ReadonlySet<string>;
}

export function readConversation(request: ScriptedRequest): Conversation {
  const { messages } = request;
  const lastUser = messages.findLastIndex((message) => message.role === "user");
  const since = messages.slice(lastUser + 1);
  const calls = since.flatMap((message) => message.tool_calls ?? []);
  const nameOf = (callId: string | null | undefined): string => calls.find((call) => call.id === callId)?.function.name ?? "";
  return {
    task: lastUser === -1 ? "" : textOf(messages[lastUser]),
    turnsDone: since.filter((message) => (message.tool_calls ?? []).length > 0).length,
    results: since
      .filter((message) => message.role === "tool")
      .map((message) => ({ tool: nameOf(message.tool_call_id), text: textOf(message) })),
    tools: new Set((request.tools ?? []).map((tool) => tool.function.name)),
  };
}

function textOf(message: Message | undefined): string {
  const content = message?.content ?? "";
  return typeof content === "string" ? content : content.map((part) => part.text ?? "").join("\n");
}
