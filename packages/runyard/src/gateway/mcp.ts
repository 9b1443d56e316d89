import { once } from "node:events";
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import { beginAnswer } from "./answer.ts";
import { checkHost, ForbiddenAddress, guardedLookup } from "./guarded-lookup.ts";
import type { RemoteMcpServer } from "./mcp-server.ts";
import { createRedactor, createStreamRedactor } from "../redact.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";

const METHODS = ["GET", "POST", "DELETE"];
/** What of the agent's headers the server gets, and of the server's the agent: MCP over HTTP needs no others. */
const PASSED_REQUEST_HEADERS = ["accept", "content-type", "mcp-session-id", "mcp-protocol-version", "last-event-id"];
const PASSED_ANSWER_HEADERS = ["content-type", "mcp-session-id", "retry-after"];

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the head of an answer: a tool may work for minutes before it says anything. */
const HEAD_TIMEOUT_MS = 600_000;
/** So that one run cannot take all of the gateway; a server has one stream and a few calls at a time. */
const MAX_OPEN_OF_RUN = 64;

export const MCP_PATH = "/mcp/";

/** True for a request that only listens to a server, for as long as there is an agent. */
export function isMcpListening({ method, url }: IncomingMessage): boolean {
  return method === "GET" && url?.startsWith(MCP_PATH) === true;
}

export interface McpCall {
  /** Of the request, without its query: `/mcp/<name>`. */
  readonly path: string;
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly response: ServerResponse;
}

/**
 * Passes a request of streamable HTTP on to the run's server of that name, with the server's own headers, and the
 * answer back as it comes. Throws a Refusal where nothing could be passed on.
 */
export function createMcpPass(): (run: LiveRun, call: McpCall) => Promise<void> {
  const open = new Map<string, number>();
  return async (run, call) => {
    const server = serverOf(run, call);
    const count = open.get(run.runId) ?? 0;
    if (count >= MAX_OPEN_OF_RUN) {
      const message = `This run has ${MAX_OPEN_OF_RUN} requests to MCP servers under way, which is the most that it may have.`;
      throw new Refusal(429, "too_many_calls", { message, retryAfterSeconds: 5 });
    }
    open.set(run.runId, count + 1);
    try {
      await pass(run, server, call);
    } finally {
      const left = (open.get(run.runId) ?? 1) - 1;
      if (left === 0) open.delete(run.runId);
      else open.set(run.runId, left);
    }
  };
}

function serverOf(run: LiveRun, { path, request }: McpCall): RemoteMcpServer {
  const name = path.slice(MCP_PATH.length);
  const server = run.mcpServers.find((known) => known.name === name);
  if (server === undefined) throw new Refusal(404, "unknown_mcp_server", { message: "This run has no MCP server of this name." });
  if (!METHODS.includes(request.method ?? ""))
    throw new Refusal(405, "method_not_allowed", { message: `An MCP server takes ${METHODS.join(", ")}.` });
  return server;
}

async function pass(run: LiveRun, server: RemoteMcpServer, call: McpCall): Promise<void> {
  const { response } = call;
  const abort = new AbortController();
  const onEnd = (): void => abort.abort();
  response.once("close", onEnd);
  run.closed.addEventListener("abort", onEnd);
  try {
    const answer = await ask(server, call, abort.signal);
    await relay(server, answer, response);
  } catch (error) {
    // Whoever asked has gone, or the run has ended: nobody is told anything.
    if (abort.signal.aborted) response.destroy();
    else throw error;
  } finally {
    response.off("close", onEnd);
    run.closed.removeEventListener("abort", onEnd);
  }
}

/** The head of the server's answer. Where the server really is, no message says: the agent reads it. */
async function ask(server: RemoteMcpServer, { request, body }: McpCall, signal: AbortSignal): Promise<IncomingMessage> {
  const url = new URL(server.url);
  try {
    checkHost(url);
    return await send(url, { method: request.method ?? "", headers: { ...passed(request.headers), ...server.headers }, body, signal });
  } catch (error) {
    signal.throwIfAborted();
    const message = `The MCP server ${server.name} could not be reached: ${reasonOf(error)}.`;
    if (error instanceof ForbiddenAddress) throw new Refusal(403, "forbidden_address", { message });
    throw new Refusal(503, "upstream_unreachable", { message, retryAfterSeconds: 2 });
  }
}

interface Sending {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

async function send(url: URL, { method, headers, body, signal }: Sending): Promise<IncomingMessage> {
  const isSecure = url.protocol === "https:";
  const outgoing = (isSecure ? https : http).request(url, {
    method,
    // Compressed bytes could not be redacted.
    headers: {
      ...headers,
      "accept-encoding": "identity",
      "user-agent": "runyard",
      ...(body.length > 0 && { "content-length": body.length }),
    },
    agent: false,
    lookup: guardedLookup,
    signal,
  });
  const failAfter = (ms: number, what: string): NodeJS.Timeout => setTimeout(() => outgoing.destroy(new Error(what)), ms);
  const timers = [failAfter(CONNECT_TIMEOUT_MS, "it took too long to connect"), failAfter(HEAD_TIMEOUT_MS, "it did not answer")];
  outgoing.once("socket", (socket) => socket.once(isSecure ? "secureConnect" : "connect", () => clearTimeout(timers[0])));
  // Stays after the head: a later error reaches whoever reads the answer.
  outgoing.on("error", () => undefined);
  try {
    const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
    outgoing.end(body.length > 0 ? body : undefined);
    return (await answered)[0];
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

async function relay(server: RemoteMcpServer, answer: IncomingMessage, response: ServerResponse): Promise<void> {
  const status = answer.statusCode ?? 502;
  const encoding = answer.headers["content-encoding"] ?? "identity";
  if (status >= 300 && status < 400)
    throw badAnswer(answer, `The MCP server ${server.name} answered with a redirect (${status}), which Runyard does not follow.`);
  if (encoding !== "identity")
    throw badAnswer(
      answer,
      `The answer of the MCP server ${server.name} is compressed (${encoding}), although it was asked not to compress.`,
    );
  const secrets = secretsOf(server);
  const headers = createRedactor(secrets);
  const shown = PASSED_ANSWER_HEADERS.flatMap((name) => {
    const value = answer.headers[name];
    return typeof value === "string" ? [[name, headers.text(value)]] : [];
  });
  beginAnswer(response, status, Object.fromEntries(shown) as Record<string, string>);
  response.flushHeaders();
  const redactor = createStreamRedactor(secrets);
  try {
    for await (const piece of answer) await write(response, redactor.push(piece as Buffer));
    response.end(redactor.end());
  } catch {
    // It broke in the middle, and must not look whole.
    response.destroy();
  }
}

/** The values of headers, and their words: a token behind its scheme. As text of a tool they may be JSON within JSON. */
function secretsOf({ headers }: RemoteMcpServer): string[] {
  const words = Object.values(headers).flatMap((value) => [value, ...value.split(" ")]);
  return words.flatMap((word) => [word, JSON.stringify(word).slice(1, -1)]);
}

/** At the agent's pace: while it does not read, nothing is read from the server. */
async function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  if (response.destroyed) throw new Error("nobody reads");
  if (bytes.length === 0 || response.write(bytes)) return;
  const waited = new AbortController();
  const until = (event: string): Promise<unknown> => once(response, event, { signal: waited.signal });
  try {
    await Promise.race([until("drain"), until("close")]);
  } finally {
    waited.abort();
  }
}

function badAnswer(answer: IncomingMessage, message: string): Refusal {
  answer.destroy();
  return new Refusal(502, "bad_upstream_answer", { message });
}

function passed(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(PASSED_REQUEST_HEADERS.flatMap((name) => (typeof headers[name] === "string" ? [[name, headers[name]]] : [])));
}

function reasonOf(error: unknown): string {
  if (error instanceof ForbiddenAddress) return `${error.message}, which Runyard does not call`;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REASONS[code] ?? (code === "" && error instanceof Error ? error.message : code);
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "its name could not be looked up just now",
};
