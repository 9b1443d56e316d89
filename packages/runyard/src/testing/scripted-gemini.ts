import type { ServerResponse } from "node:http";
import type { DeclaredTool } from "./scripted-tools.ts";
import { beginStream, type ModelMessage, newId, type Said, SCRIPTED_USAGE, sendJson, type Wire, words } from "./scripted-wire.ts";

interface GenerateBody {
  readonly contents: readonly { readonly role?: string; readonly parts?: readonly Part[] }[];
  readonly tools?: readonly {
    readonly functionDeclarations?: readonly {
      readonly name: string;
      readonly parameters?: DeclaredTool["parameters"];
      readonly parametersJsonSchema?: DeclaredTool["parameters"];
    }[];
  }[];
  readonly generationConfig?: { readonly responseJsonSchema?: unknown; readonly responseSchema?: unknown };
}
interface Part {
  readonly text?: string;
  readonly functionResponse?: { readonly response?: unknown };
}

/** Gemini's generateContent. */
export const geminiWire: Wire = {
  path: ":generateContent",
  streamPath: ":streamGenerateContent",
  count: { path: ":countTokens", answer: { totalTokens: SCRIPTED_USAGE.inputTokens } },
  read(body, path) {
    const { contents, tools = [], generationConfig: config } = body as GenerateBody;
    const declared = tools
      .flatMap((tool) => tool.functionDeclarations ?? [])
      .map(({ name, parameters, parametersJsonSchema }) => ({ name, parameters: parametersJsonSchema ?? parameters ?? {} }));
    return {
      model: /models\/([^:]+):/.exec(path)?.[1],
      stream: path.includes(":streamGenerateContent"),
      tools: declared,
      messages: contents.flatMap(messagesOf),
      schema: config?.responseJsonSchema ?? config?.responseSchema,
    };
  },
  sendStream,
  sendWhole,
};

/** What tools gave back comes in the user's contents. */
function messagesOf({ role = "user", parts = [] }: GenerateBody["contents"][number]): ModelMessage[] {
  const results = parts.flatMap((part) => (part.functionResponse === undefined ? [] : [part.functionResponse]));
  const said = parts.filter((part) => part.functionResponse === undefined);
  const messages = results.map(({ response }) => ({ role: "tool", content: JSON.stringify(response ?? "") }));
  const own = said.length > 0 || results.length === 0 ? [{ role: role === "model" ? "assistant" : role, content: said }] : [];
  return [...messages, ...own];
}

const usageOf = ({ outputTokens }: Said) => ({
  promptTokenCount: SCRIPTED_USAGE.inputTokens,
  cachedContentTokenCount: SCRIPTED_USAGE.cachedInputTokens,
  candidatesTokenCount: outputTokens,
  totalTokenCount: SCRIPTED_USAGE.inputTokens + outputTokens,
});

function answerOf({ model }: Said, parts: readonly object[], end: object = {}): object {
  return { candidates: [{ content: { role: "model", parts }, index: 0, ...end }], modelVersion: model };
}

function callParts({ calls }: Said): object[] {
  return calls.map((call) => ({ functionCall: { id: newId("fc"), name: call.name, args: call.input } }));
}

const STOP = { finishReason: "STOP" };

function sendStream(response: ServerResponse, said: Said): void {
  beginStream(response);
  const send = (event: object): void => void response.write(`data: ${JSON.stringify(event)}\r\n\r\n`);
  for (const text of words(said.text)) send(answerOf(said, [{ text }]));
  if (said.cut) {
    setImmediate(() => response.destroy());
    return;
  }
  send({ ...answerOf(said, callParts(said), STOP), usageMetadata: usageOf(said) });
  response.end();
}

function sendWhole(response: ServerResponse, said: Said): void {
  const parts = [...(said.text === "" ? [] : [{ text: said.text }]), ...callParts(said)];
  sendJson(response, 200, { ...answerOf(said, parts, STOP), usageMetadata: usageOf(said) });
}
