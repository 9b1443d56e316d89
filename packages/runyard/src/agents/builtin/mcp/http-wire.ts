import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { cutEnd, oneLine } from "../text.ts";
import type { McpListener, McpMessage, OpenWire } from "./client.ts";

const MAX_ANSWER_CHARS = 16 * 1024 * 1024;

/** Reaches a server over streamable HTTP: each message is a request, whose answer is JSON or a stream of events. */
export function httpWire({ url, headers }: { readonly url: URL; readonly headers: Readonly<Record<string, string>> }): OpenWire {
  return (listener) => {
    const known: Record<string, string> = {};
    const requests = new Set<http.ClientRequest>();
    return {
      async send(message) {
        const answer = await post(url, { headers: { ...headers, ...known }, body: JSON.stringify(message), requests });
        const session = answer.headers["mcp-session-id"];
        if (typeof session === "string") known["mcp-session-id"] = session;
        const { statusCode = 0 } = answer;
        if (statusCode >= 300) throw new Error(`it answered ${statusCode}: ${oneLine(await wholeText(answer), 300)}`);
        const id = "method" in message && "id" in message ? (message.id as number) : null;
        if (id === null) return void answer.resume();
        // Read on its own: what was sent has arrived.
        void hear(answer, listener).then(
          () => listener.onEnd(new Error("it ended its answer before it was complete"), id),
          (error: Error) => listener.onEnd(error, id),
        );
      },
      speaks: (version) => void (known["mcp-protocol-version"] = version),
      close: () => requests.forEach((request) => request.destroy()),
    };
  };
}

interface Posting {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Those under way. */
  readonly requests: Set<http.ClientRequest>;
}

/** The head of the answer. There is no time limit: a tool may work for long before it says anything. */
function post(url: URL, { headers, body, requests }: Posting): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const own = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const request = (url.protocol === "https:" ? https : http).request(url, { method: "POST", headers: { ...headers, ...own } });
    requests.add(request);
    request.once("close", () => requests.delete(request));
    request.once("response", resolve);
    request.on("error", (error) => reject(new Error(`it could not be reached: ${error.message}`)));
    request.end(body);
  });
}

async function hear(answer: IncomingMessage, listener: McpListener): Promise<void> {
  if (!(answer.headers["content-type"] ?? "").includes("text/event-stream")) {
    for (const message of messagesIn(await wholeText(answer))) listener.onMessage(message);
    return;
  }
  let rest = "";
  answer.setEncoding("utf8");
  for await (const piece of answer) {
    const events = (rest + (piece as string)).split(/\r?\n\r?\n/);
    rest = events.pop() ?? "";
    if (rest.length > MAX_ANSWER_CHARS) throw new Error(`it sent an event of more than ${MAX_ANSWER_CHARS} characters`);
    for (const event of events) for (const message of messagesIn(dataOf(event))) listener.onMessage(message);
  }
}

function dataOf(event: string): string {
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice("data:".length).replace(/^ /, "")).join("\n");
}

async function wholeText(answer: IncomingMessage): Promise<string> {
  let text = "";
  answer.setEncoding("utf8");
  for await (const piece of answer) {
    text += piece as string;
    if (text.length > MAX_ANSWER_CHARS) throw new Error(`its answer is longer than ${MAX_ANSWER_CHARS} characters`);
  }
  return text;
}

/** The messages of a text: one or a list, none in an empty one. */
function messagesIn(text: string): McpMessage[] {
  if (text.trim() === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`it answered something that is no JSON: ${cutEnd(oneLine(text), 200)}`);
  }
  return (Array.isArray(value) ? value : [value]).filter((one): one is McpMessage => typeof one === "object" && one !== null);
}
