import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { placeOf } from "../door-place.ts";
import { openaiError } from "../error-shapes.ts";
import type { Provider } from "../protocol.ts";
import { chatDialect } from "./chat.ts";
import { type Dialect, type Question, sendJson } from "./dialect.ts";
import { exampleOf } from "./example.ts";
import { geminiDialect, geminiStreamDialect } from "./gemini.ts";
import { messagesDialect } from "./messages.ts";
import { nextTurn, SCRIPTED_MODEL } from "./model.ts";
import { responsesDialect } from "./responses.ts";
import type { Turn } from "./turn.ts";

const CHARS_PER_TOKEN = 4;
const DIALECTS: readonly Dialect[] = [chatDialect, responsesDialect, messagesDialect, geminiDialect, geminiStreamDialect];
/** Who asks how long a request is. */
const COUNTS = [
  { doorPath: "/v1/messages/count_tokens", dialect: messagesDialect, tell: (tokens: number) => ({ input_tokens: tokens }) },
  { doorPath: "/v1beta/models/{model}:countTokens", dialect: geminiDialect, tell: (tokens: number) => ({ totalTokens: tokens }) },
] as const;

/**
 * Starts the scripted model: an HTTP server on loopback that speaks what the gateway speaks, so that
 * simulated runs take the way that real ones take. It lives as long as its process.
 */
export async function startScriptedServer(): Promise<Provider> {
  const apiKey = randomBytes(24).toString("hex");
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    const { authorization, "x-api-key": anthropicKey, "x-goog-api-key": geminiKey } = request.headers;
    if (![authorization?.replace(/^Bearer /, ""), anthropicKey, geminiKey].includes(apiKey))
      return sendError(response, 401, "This is not the scripted model's key.");
    serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 400, error instanceof Error ? error.message : String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { name: "scripted", api: "scripted", baseUrl, apiKey, model: SCRIPTED_MODEL, prices: "free" };
}

function sendError(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(openaiError({ status, code: "scripted_model", message }));
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET" && request.url === "/v1/models") {
    return sendJson(response, { object: "list", data: [{ id: SCRIPTED_MODEL, object: "model", created: 0, owned_by: "runyard" }] });
  }
  const place = placeOf(request);
  const isAsked = request.method === "POST";
  const dialect = isAsked ? place.find(DIALECTS)?.format : undefined;
  const count = isAsked ? place.find(COUNTS)?.format : undefined;
  if (dialect === undefined && count === undefined)
    return sendError(response, 404, "The scripted model serves the formats of the gateway, their counts, and the list of models.");
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const value: unknown = JSON.parse(body.toString());
  if (count !== undefined) sendJson(response, count.tell(inputTokensOf(count.dialect.read(value, place.query))));
  if (dialect !== undefined) await answer(response, dialect, { body, question: dialect.read(value, place.query) });
}

async function answer(response: ServerResponse, dialect: Dialect, { body, question }: { body: Buffer; question: Question }): Promise<void> {
  const turn = turnFor(question);
  const given = {
    id: createHash("sha256").update(body).digest("hex").slice(0, 24),
    turn,
    inputTokens: inputTokensOf(question),
    outputTokens: tokensIn(turn),
    includeUsage: question.includeUsage,
    asArray: question.asArray ?? false,
  };
  if (question.stream) await dialect.sendStream(response, given);
  else dialect.sendWhole(response, given);
}

/** An answer that must fit a schema is for the agent's own ends, such as a choice between models: it is no turn of the script. */
function turnFor({ schema, conversation }: Question): Turn {
  return schema === undefined || schema === null ? nextTurn(conversation) : { say: JSON.stringify(exampleOf(schema)), calls: [] };
}

function inputTokensOf({ counted }: Question): number {
  return counted.reduce((sum: number, part) => sum + tokensIn(part), 0);
}

/** From the lengths of the real texts, so that longer conversations count more. */
function tokensIn(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / CHARS_PER_TOKEN);
}
