import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { errorBody } from "../openai-chat.ts";
import type { Target } from "../exchange.ts";
import { readConversation, type ScriptedRequest, scriptedRequestSchema } from "./conversation.ts";
import { nextTurn, SCRIPTED_MODEL } from "./model.ts";
import type { Turn } from "./turn.ts";

/** So that a person can see an answer come. */
const PIECE_DELAY_MS = 15;
const WORDS_OF_PIECE = /(?:\S+\s*){1,3}/g;
const ARGUMENT_PIECE_CHARS = 120;
const CHARS_PER_TOKEN = 4;

/**
 * Starts the scripted model: an HTTP server on loopback that speaks chat completions, so that simulated
 * runs take the way that real ones take. It lives as long as its process.
 */
export async function startScriptedServer(): Promise<Target> {
  const apiKey = randomBytes(24).toString("hex");
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    if (request.headers.authorization !== `Bearer ${apiKey}`) return sendError(response, 401, "This is not the scripted model's key.");
    serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 400, error instanceof Error ? error.message : String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, apiKey };
}

function sendError(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(errorBody({ status, code: "scripted_model", message }));
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET" && request.url === "/v1/models") {
    return sendJson(response, { object: "list", data: [{ id: SCRIPTED_MODEL, object: "model", created: 0, owned_by: "runyard" }] });
  }
  if (request.method !== "POST" || request.url !== "/v1/chat/completions")
    return sendError(response, 404, "The scripted model serves chat completions and the list of models.");
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const asked = scriptedRequestSchema.parse(JSON.parse(body.toString()));
  const turn = nextTurn(readConversation(asked));
  const answer = { id: createHash("sha256").update(body).digest("hex").slice(0, 24), turn, usage: usageOf(asked, turn) };
  if (asked.stream === true) await sendStream(response, { ...answer, includeUsage: asked.stream_options?.include_usage === true });
  else sendWhole(response, answer);
}

interface Answer {
  /** The same for the same request. */
  readonly id: string;
  readonly turn: Turn;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number };
}

/** From the lengths of the real texts, so that longer conversations count more. */
function usageOf(asked: ScriptedRequest, turn: Turn): Answer["usage"] {
  const tokens = (value: unknown): number => Math.ceil(JSON.stringify(value).length / CHARS_PER_TOKEN);
  const prompt = tokens(asked.messages) + tokens(asked.tools ?? []);
  const completion = tokens(turn);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function finishReason(turn: Turn): string {
  return turn.calls.length > 0 ? "tool_calls" : "stop";
}

interface WireCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

function toolCalls({ id, turn }: Answer): WireCall[] {
  return turn.calls.map((call, index) => ({
    id: `call_${id.slice(0, 16)}_${index}`,
    type: "function",
    function: { name: call.name, arguments: JSON.stringify(call.input) },
  }));
}

function sendWhole(response: ServerResponse, answer: Answer): void {
  const calls = toolCalls(answer);
  const message = { role: "assistant", content: answer.turn.say || null, ...(calls.length > 0 ? { tool_calls: calls } : {}) };
  sendJson(response, {
    ...envelope(answer, "chat.completion"),
    choices: [{ index: 0, message, finish_reason: finishReason(answer.turn) }],
    usage: answer.usage,
  });
}

function envelope({ id }: Answer, object: string): Record<string, unknown> {
  return { id: `chatcmpl-${id}`, object, created: Math.floor(Date.now() / 1_000), model: SCRIPTED_MODEL };
}

async function sendStream(response: ServerResponse, answer: Answer & { readonly includeUsage: boolean }): Promise<void> {
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
  choose({}, finishReason(answer.turn));
  if (answer.includeUsage) send({ choices: [], usage: answer.usage });
  response.end("data: [DONE]\n\n");
}

/** The deltas of an answer: a few words at a time, then each call with its arguments in pieces. */
function* pieces(answer: Answer): Generator {
  for (const content of answer.turn.say.match(WORDS_OF_PIECE) ?? []) yield { content };
  for (const [index, call] of toolCalls(answer).entries()) {
    const { arguments: text, name } = call.function;
    yield { tool_calls: [{ ...call, index, function: { name, arguments: "" } }] };
    for (let at = 0; at < text.length; at += ARGUMENT_PIECE_CHARS) {
      yield { tool_calls: [{ index, function: { arguments: text.slice(at, at + ARGUMENT_PIECE_CHARS) } }] };
    }
  }
}
