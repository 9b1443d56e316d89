import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { chatWire } from "./scripted-chat.ts";
import { exampleOf } from "../gateway/scripted/example.ts";
import { geminiWire } from "./scripted-gemini.ts";
import { messagesWire } from "./scripted-messages.ts";
import { responsesWire } from "./scripted-responses.ts";
import { toolCalls, type ToolCall } from "./scripted-tools.ts";
import { type ModelMessage, SCRIPTED_USAGE, sendJson, type Wire } from "./scripted-wire.ts";

export { SCRIPTED_USAGE };

const WIRES: readonly Wire[] = [chatWire, responsesWire, messagesWire, geminiWire];

/**
 * One answer of the model. Actions become calls of whatever tools the agent declares; a step without
 * an action ends the agent's turn.
 */
export interface ModelStep {
  readonly say?: string;
  /** Path and content. */
  readonly write?: readonly [path: string, content: string];
  readonly read?: string;
  readonly run?: string;
  /** Path, old text, new text. */
  readonly edit?: readonly [path: string, from: string, to: string];
  /** What to do, with how far it is: `pending`, `in_progress` or `completed`. */
  readonly plan?: Readonly<Record<string, string>>;
  readonly ask?: string;
  /** Calls of tools by name, for what the words above do not say. */
  readonly calls?: readonly ToolCall[];
  /** Answers with this HTTP status instead, `times` times (default: always), and then with the rest of the step. */
  readonly fail?: number;
  readonly times?: number;
  /** What the failure says. */
  readonly message?: string;
  /** For 429 and 503. */
  readonly retryAfterSeconds?: number;
  /** Breaks the connection off after this text. */
  readonly cut?: string;
  /** How long the answer claims to be; default: `SCRIPTED_USAGE.outputTokens`. */
  readonly outputTokens?: number;
  /** Waits this long before it answers, or until the caller is gone. */
  readonly delayMs?: number;
  /** Waits for this before it answers, or until the caller is gone. */
  readonly until?: Promise<unknown>;
}

/** The steps of each conversation; or several scripts, of which a prompt chooses one by `[[name]]`. */
export type ModelScript = readonly ModelStep[] | Readonly<Record<string, readonly ModelStep[]>>;

interface ModelRequest {
  readonly path: string;
  /** As it stands in whatever header the format puts the key into: `Bearer sk-…`, or the key alone. */
  readonly authorization: string | null;
  readonly headers: IncomingMessage["headers"];
  readonly model: string;
  /** Names of the tools that were declared. */
  readonly tools: readonly string[];
  readonly messages: readonly ModelMessage[];
  /** The whole body. */
  readonly text: string;
  /** The step that was answered; null for a request for the agent's own ends: without tools, such as one for a title, or for JSON. */
  readonly step: number | null;
}

export interface ScriptedModel {
  /** With `/v1`, as programs of OpenAI's API take it for a base URL. */
  readonly url: string;
  /** Without, as those of Anthropic's and Gemini's do. */
  readonly root: string;
  readonly requests: readonly ModelRequest[];
  /** From now on it answers by another script, and has seen no request. */
  play(script: ModelScript): void;
  close(): Promise<void>;
}

/**
 * Plays the model of a provider on loopback, over chat completions, Responses, Messages and Gemini's generateContent. It keeps no conversation in mind: the
 * step follows from the messages of the request, so any number of agents may talk to it, and a call that
 * is made again gets the same answer.
 */
export async function startScriptedModel(script: ModelScript): Promise<ScriptedModel> {
  const playing: Playing = { script, requests: [], failures: new Map() };
  const server = createServer((request, response) => {
    answer(playing, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 400, String(error));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    root: `http://127.0.0.1:${port}`,
    requests: playing.requests,
    play(next) {
      playing.script = next;
      playing.requests.length = 0;
      playing.failures.clear();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

interface Playing {
  script: ModelScript;
  readonly requests: ModelRequest[];
  readonly failures: Map<string, number>;
}

async function answer(playing: Playing, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "/").split("?")[0] ?? "";
  const wire = WIRES.find((known) => [known.path, known.streamPath].some((end) => end !== undefined && path.endsWith(end)));
  const count = WIRES.find((known) => known.count !== undefined && path.endsWith(known.count.path))?.count;
  if (path.endsWith("/models")) {
    sendJson(response, 200, { object: "list", data: [{ id: "scripted", object: "model", created: 1, owned_by: "runyard" }] });
  } else if (count) {
    await readBody(request);
    sendJson(response, 200, count.answer);
  } else if (wire) {
    const text = await readBody(request);
    const { authorization, "x-api-key": anthropicKey, "x-goog-api-key": geminiKey } = request.headers;
    const key = authorization ?? [anthropicKey, geminiKey].flat().find((header) => header !== undefined) ?? null;
    await answerCall(playing, { path, authorization: key, headers: request.headers, wire, text }, response);
  } else sendError(response, 404, "not scripted");
}

interface ModelCall {
  readonly path: string;
  readonly authorization: string | null;
  readonly headers: IncomingMessage["headers"];
  readonly wire: Wire;
  readonly text: string;
}

async function answerCall(playing: Playing, call: ModelCall, response: ServerResponse): Promise<void> {
  const { path, authorization, headers, wire, text } = call;
  const { model = "scripted", stream, tools, messages, schema } = wire.read(JSON.parse(text), path);
  const isOwn = tools.length === 0 || schema !== undefined;
  const own = schema === undefined ? "A scripted title" : JSON.stringify(exampleOf(schema));
  const at = isOwn ? { script: "", index: null, step: { say: own } } : findStep(playing.script, messages);
  const step: ModelStep = at.step;
  playing.requests.push({ path, authorization, headers, model, tools: tools.map((tool) => tool.name), messages, text, step: at.index });
  if (step.until !== undefined) await Promise.race([step.until, once(response, "close")]);
  if (step.delayMs !== undefined) await sleep(step.delayMs, undefined, { signal: goneSignal(response) }).catch(() => {});
  if (mustFail(playing.failures, step, `${authorization} ${at.script} ${at.index}`)) {
    sendFailure(response, step);
    return;
  }
  const { outputTokens = SCRIPTED_USAGE.outputTokens } = step;
  const said = { text: step.cut ?? step.say ?? "", calls: toolCalls(step, tools), model, tools, cut: step.cut !== undefined, outputTokens };
  if (stream) wire.sendStream(response, said);
  else if (said.cut) response.destroy();
  else wire.sendWhole(response, said);
}

function sendFailure(response: ServerResponse, step: ModelStep): void {
  if (step.retryAfterSeconds !== undefined) response.setHeader("retry-after", String(step.retryAfterSeconds));
  // What an agent does of its own accord is seconds of nothing in each test.
  else response.setHeader("retry-after-ms", "1");
  sendError(response, step.fail ?? 500, step.message ?? `scripted failure ${step.fail}`);
}

function findStep(
  script: ModelScript,
  messages: readonly ModelMessage[],
): { readonly script: string; readonly index: number; readonly step: ModelStep } {
  const marked = (message: ModelMessage): string | undefined =>
    message.role === "user" ? /\[\[(\w+)\]\]/.exec(textOf(message.content))?.[1] : undefined;
  const start = isSteps(script) ? -1 : messages.findLastIndex((message) => marked(message) !== undefined);
  const name = start < 0 ? "" : (marked(messages[start] as ModelMessage) ?? "");
  const steps = isSteps(script) ? script : script[name];
  if (!steps) throw new Error(`no script is called "${name}"`);
  const index = messages.slice(start + 1).filter((message) => message.role === "assistant").length;
  return { script: name, index, step: steps[index] ?? { say: "Nothing is left to do." } };
}

function isSteps(script: ModelScript): script is readonly ModelStep[] {
  return Array.isArray(script);
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? "").join("\n") : "";
}

/** Counts the failures of a step for each key apart, because one server may serve many runs. */
function mustFail(failures: Map<string, number>, step: ModelStep, key: string): boolean {
  const done = failures.get(key) ?? 0;
  if (step.fail === undefined || done >= (step.times ?? Infinity)) return false;
  failures.set(key, done + 1);
  return true;
}

function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  return gone.signal;
}

function sendError(response: ServerResponse, status: number, message: string): void {
  sendJson(response, status, { error: { message, type: "scripted_error", code: null } });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}
