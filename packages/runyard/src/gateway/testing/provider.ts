import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { type afterAll, afterEach } from "vitest";
import type { Provider } from "../protocol.ts";

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  readonly body: Record<string, unknown>;
  /** True once the caller broke the connection off before the answer's end. */
  aborted: boolean;
}

export interface TestProvider {
  readonly baseUrl: string;
  readonly seen: SeenRequest[];
  readonly server: Server;
}

/** A provider of OpenAI's API, as a server tells the gateway of it. */
export function openaiAt(at: Pick<Provider, "baseUrl" | "apiKey" | "model">): Provider {
  return { name: "openai", api: "openai", ...at };
}

type Answer = (request: SeenRequest, response: ServerResponse) => void | Promise<void>;

/** A model provider on loopback that answers as the test says; ended `after` each test, or after all where tests run at once. */
export function useProviders(after: typeof afterEach | typeof afterAll = afterEach): (answer: Answer) => Promise<TestProvider> {
  const servers: Server[] = [];
  after(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });
  return async (answer) => {
    const seen: SeenRequest[] = [];
    const server = createServer((request, response) => void receive(request, response, { seen, answer }));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen, server };
  };
}

async function receive(
  request: IncomingMessage,
  response: ServerResponse,
  { seen, answer }: { seen: SeenRequest[]; answer: Answer },
): Promise<void> {
  const text = await textOf(request).catch(() => null);
  // Who asked was killed in the middle of it.
  if (text === null) return;
  const entry: SeenRequest = {
    method: request.method ?? "",
    url: request.url ?? "",
    headers: request.headers,
    text,
    body: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>),
    aborted: false,
  };
  seen.push(entry);
  response.once("close", () => (entry.aborted = !response.writableFinished));
  response.on("error", () => undefined);
  await answer(entry, response);
}

export const QUESTION_OF_CHAT = { model: "runyard", messages: [{ role: "user", content: "Say hello." }] };
export const USAGE = { prompt_tokens: 1_200, completion_tokens: 34, total_tokens: 1_234, prompt_tokens_details: { cached_tokens: 1_000 } };

/** One event of a streamed chat completion. */
export function chunk(fields: Record<string, unknown>): string {
  return `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", ...fields })}\n\n`;
}

export function delta(content: string, reason: string | null = null): string {
  return chunk({ choices: [{ index: 0, delta: { content }, finish_reason: reason }] });
}

export const FINISH = chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
export const USAGE_EVENT = chunk({ choices: [], usage: USAGE });
export const DONE = "data: [DONE]\n\n";

/** Starts a streamed answer. */
export function beginStream(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

/** Answers well: "Hello world", streamed or whole as it was asked for. */
export function answerWell(request: SeenRequest, response: ServerResponse): void {
  if (request.body["stream"] !== true) {
    sendJson(response, 200, {
      id: "chatcmpl-1",
      object: "chat.completion",
      created: 1,
      model: "m",
      choices: [{ index: 0, message: { role: "assistant", content: "Hello world" }, finish_reason: "stop" }],
      usage: USAGE,
    });
    return;
  }
  beginStream(response);
  const options = request.body["stream_options"] as { include_usage?: boolean } | undefined;
  response.end(delta("Hello ") + delta("world") + FINISH + (options?.include_usage === true ? USAGE_EVENT : "") + DONE);
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
