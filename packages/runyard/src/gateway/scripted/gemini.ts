import type { ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import type { Conversation } from "./conversation.ts";
import {
  type Answer,
  callId,
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

/** Gemini's generateContent. */
export const geminiDialect: Dialect = {
  doorPath: "/v1beta/models/{model}:generateContent",
  read: (body) => read(body, false),
  sendWhole,
  sendStream,
};

/** The same as a stream. */
export const geminiStreamDialect: Dialect = {
  ...geminiDialect,
  doorPath: "/v1beta/models/{model}:streamGenerateContent",
  read: (body, query) => ({ ...read(body, true), asArray: query.get("alt") !== "sse" }),
};

const partSchema = z.looseObject({
  text: z.string().optional().catch(undefined),
  functionCall: z.looseObject({ name: z.string() }).optional().catch(undefined),
  functionResponse: z.looseObject({ name: z.string(), response: z.unknown().optional() }).optional().catch(undefined),
});
const contentSchema = z.looseObject({ role: z.string().catch("user"), parts: z.array(partSchema).catch([]) });
const requestSchema = z.looseObject({
  contents: z.array(contentSchema),
  systemInstruction: z.unknown().optional(),
  tools: z
    .array(
      z.looseObject({
        functionDeclarations: z
          .array(z.looseObject({ name: z.string(), parameters: toolSchema, parametersJsonSchema: toolSchema }))
          .nullish()
          .catch(null),
      }),
    )
    .nullish()
    .catch(null),
  generationConfig: z
    .looseObject({ responseSchema: z.unknown().optional(), responseJsonSchema: z.unknown().optional() })
    .nullish()
    .catch(null),
});
type GenerateRequest = z.infer<typeof requestSchema>;

function read(body: unknown, stream: boolean): Question {
  const asked = requestSchema.parse(body);
  const { generationConfig: config } = asked;
  return {
    conversation: readConversation(asked),
    stream,
    includeUsage: true,
    schema: config?.responseJsonSchema ?? config?.responseSchema,
    counted: [asked.systemInstruction ?? "", asked.contents, asked.tools ?? []],
  };
}

function readConversation({ contents, tools }: GenerateRequest): Conversation {
  // What tools gave back comes from the user too.
  const lastUser = contents.findLastIndex(
    ({ role, parts }) => role === "user" && parts.every((part) => part.functionResponse === undefined),
  );
  const since = contents.slice(lastUser + 1);
  const responses = since.flatMap(({ parts }) => parts.flatMap((part) => part.functionResponse ?? []));
  const declared = (tools ?? []).flatMap((tool) => tool.functionDeclarations ?? []);
  return {
    task: textOf(contents[lastUser]?.parts),
    turnsDone: since.filter(({ parts }) => parts.some((part) => part.functionCall !== undefined)).length,
    results: responses.map(({ name, response }) => ({ tool: name, text: outputIn(response) })),
    tools: toolNames(declared.map(({ name, parameters, parametersJsonSchema }) => ({ name, schema: parametersJsonSchema ?? parameters }))),
  };
}

const outputSchema = z.looseObject({ output: z.string() });

function outputIn(response: unknown): string {
  return outputSchema.safeParse(response).data?.output ?? JSON.stringify(response ?? "");
}

function usageOf({ inputTokens, outputTokens }: Answer): object {
  return { promptTokenCount: inputTokens, candidatesTokenCount: outputTokens, totalTokenCount: inputTokens + outputTokens };
}

function eventOf(answer: Answer, parts: readonly object[], end: object = {}): Record<string, unknown> {
  const candidate = { content: { role: "model", parts }, index: 0, ...end };
  return { candidates: [candidate], modelVersion: SCRIPTED_MODEL, responseId: answer.id };
}

function callParts(answer: Answer): object[] {
  return answer.turn.calls.map((call, index) => ({ functionCall: { id: callId(answer, index), name: call.name, args: call.input } }));
}

const STOP = { finishReason: "STOP" };

function sendWhole(response: ServerResponse, answer: Answer): void {
  const { say } = answer.turn;
  const parts = [...(say === "" ? [] : [{ text: say }]), ...callParts(answer)];
  sendJson(response, { ...eventOf(answer, parts, STOP), usageMetadata: usageOf(answer) });
}

async function sendStream(response: ServerResponse, answer: Answer): Promise<void> {
  const { asArray } = answer;
  response.writeHead(200, { "content-type": asArray ? "application/json" : "text/event-stream" });
  let isFirst = true;
  const send = (event: object): void => {
    const text = JSON.stringify(event);
    response.write(asArray ? `${isFirst ? "[" : ",\r\n"}${text}` : `data: ${text}\r\n\r\n`);
    isFirst = false;
  };
  for (const text of wordsOf(answer.turn.say)) {
    await wait(PIECE_DELAY_MS);
    if (response.destroyed) return;
    send(eventOf(answer, [{ text }]));
  }
  send({ ...eventOf(answer, callParts(answer), STOP), usageMetadata: usageOf(answer) });
  response.end(asArray ? "]\n" : "");
}
