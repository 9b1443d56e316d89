import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ChatMessage {
  readonly role: string;
  readonly content: string | null;
  readonly tool_calls?: { id: string; function: { name: string; arguments: string } }[];
  readonly tool_call_id?: string;
}

export interface ChatRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: {
    model: string;
    messages: ChatMessage[];
    tools: { function: { name: string; parameters: Record<string, unknown> } }[];
    stream: boolean;
  };
}

export interface Answer {
  readonly text?: readonly string[];
  readonly reasoning?: string;
  /** `input` is sent as JSON; a string is sent as it is, which makes broken arguments possible. */
  readonly calls?: readonly { name: string; input: unknown }[];
  readonly finish?: string;
  readonly usage?: { prompt: number; completion: number; cached?: number } | null;
  /** What follows instead of the end: the connection breaks, stays open, or ends without the last events. */
  readonly after?: "destroy" | "hang" | "end";
}

export type Reply =
  | Answer
  | { readonly status: number; readonly body: string; readonly headers?: Record<string, string> }
  | { readonly raw: string };

export interface ChatServer extends AsyncDisposable {
  /** Ends in `/v1`. */
  readonly baseUrl: string;
  readonly requests: ChatRequest[];
  /** Connections that the other side closed while an answer was still open. */
  abandoned: number;
}

/** A chat-completions server that gives its replies in their order; the last one again and again. */
export async function startChatServer(script: readonly Reply[] | ((request: ChatRequest, index: number) => Reply)): Promise<ChatServer> {
  const requests: ChatRequest[] = [];
  const state = { abandoned: 0 };
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const request = {
        path: incoming.url ?? "",
        headers: incoming.headers,
        body: JSON.parse(Buffer.concat(chunks).toString()) as ChatRequest["body"],
      };
      requests.push(request);
      const index = requests.length - 1;
      const reply = typeof script === "function" ? script(request, index) : (script[index] ?? script.at(-1));
      response.on("close", () => (state.abandoned += response.writableFinished ? 0 : 1));
      if (reply !== undefined) send(response, reply);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    get abandoned() {
      return state.abandoned;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(response: ServerResponse, reply: Reply): void {
  if ("status" in reply) {
    response.writeHead(reply.status, { "content-type": "application/json", "retry-after-ms": "5", ...reply.headers }).end(reply.body);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  if ("raw" in reply) {
    response.end(reply.raw);
    return;
  }
  for (const delta of deltasOf(reply)) response.write(event({ choices: [{ index: 0, delta }] }));
  if (reply.after === "hang") return;
  if (reply.after === "end") response.end();
  else if (reply.after === "destroy") setTimeout(() => response.destroy(), 20);
  else finish(response, reply);
}

function deltasOf(answer: Answer): Record<string, unknown>[] {
  const calls = (answer.calls ?? []).map(({ name, input }, index) => ({
    tool_calls: [
      {
        index,
        id: `call_${Math.random().toString(36).slice(2)}`,
        type: "function",
        function: { name, arguments: typeof input === "string" ? input : JSON.stringify(input) },
      },
    ],
  }));
  return [
    ...(answer.reasoning === undefined ? [] : [{ reasoning_content: answer.reasoning }]),
    ...(answer.text ?? []).map((content) => ({ content })),
    ...calls,
  ];
}

function finish(response: ServerResponse, answer: Answer): void {
  const reason = answer.finish ?? (answer.calls === undefined ? "stop" : "tool_calls");
  response.write(event({ choices: [{ index: 0, delta: {}, finish_reason: reason }] }));
  const usage = answer.usage === undefined ? { prompt: 100, completion: 10, cached: 40 } : answer.usage;
  if (usage !== null) {
    const counts = { prompt_tokens: usage.prompt, completion_tokens: usage.completion, total_tokens: usage.prompt + usage.completion };
    response.write(event({ choices: [], usage: { ...counts, prompt_tokens_details: { cached_tokens: usage.cached ?? 0 } } }));
  }
  response.end("data: [DONE]\n\n");
}

function event(value: Record<string, unknown>): string {
  return `data: ${JSON.stringify({ id: "chat-1", object: "chat.completion.chunk", created: 1, model: "scripted", ...value })}\n\n`;
}
