import type { IncomingMessage, ServerResponse } from "node:http";
import { RUN_TOKEN_HEADER } from "../core/own-login.ts";
import { anthropicCount, anthropicMessages } from "./anthropic-messages.ts";
import { refuse } from "./answer.ts";
import { askUncounted } from "./ask-uncounted.ts";
import { chooseModel, noModel } from "./choose-model.ts";
import { type DoorPlace, placeOf } from "./door-place.ts";
import { createEgress, type EgressProxy, isForProxy } from "./egress.ts";
import { performExchange } from "./exchange.ts";
import { geminiCount, geminiGenerate, geminiStream } from "./gemini.ts";
import { createMcpPass, MCP_PATH } from "./mcp.ts";
import { listModels, listShapeAt, sendModels } from "./models.ts";
import { openaiChat } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import { createPacer } from "./pacing.ts";
import type { Ledger } from "./ledger.ts";
import type { Provider } from "./protocol.ts";
import type { ModelLists } from "./provider-models.ts";
import type { Recorder } from "./recorder.ts";
import { isReplaying, type Replays } from "./replay.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun, Registry } from "./registry.ts";
import { createSecretUses } from "./secret-uses.ts";
import type { DoorAddress, QuestionFormat, WireFormat } from "./wire-format.ts";

const FORMATS: readonly WireFormat[] = [openaiChat, openaiResponses, anthropicMessages, geminiGenerate, geminiStream];
/** Questions that call no model. */
const COUNTS: readonly QuestionFormat[] = [anthropicCount, geminiCount];
const SERVED = [...[...FORMATS, ...COUNTS].map((format) => `POST ${format.doorPath}`), "GET /v1/models", "GET /v1beta/models"];

const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** So that one run cannot take all of the gateway; agents with helpers of their own make about ten at a time. */
const MAX_CALLS_OF_RUN = 64;

export interface DoorOptions {
  readonly registry: Registry;
  /** Null until this gateway has its place. */
  readonly recorder: () => Recorder | null;
  readonly ledger: Ledger;
  /** Who answers runs that are simulated. */
  readonly scripted: () => Promise<Provider>;
  readonly lists: ModelLists;
  /** What answers replays. */
  readonly replays: Replays;
  readonly log: (message: string) => void;
}

/** The public door: what agents in sandboxes talk to. */
export interface Door {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** What goes through to hosts that runs may reach. */
  readonly egress: EgressProxy;
  /** Model calls under way. */
  readonly openExchanges: number;
}

export function createDoor(options: DoorOptions): Door {
  const { registry, scripted, lists, replays, log } = options;
  const calls = countCalls();
  const pacer = createPacer();
  const passMcp = createMcpPass();
  const egress = createEgress({
    authenticate: (tokens) => authenticate(tokens, registry, 407),
    uses: createSecretUses((runId, use) => options.recorder()?.secretUsed(runId, use)),
    // Whoever sits at a shell is told by the answer, and has no log of their own.
    onDenied: (run, denied) => (run.egressOnly === true ? undefined : options.recorder()?.denied(run.runId, denied)),
    log,
  });

  async function route(request: IncomingMessage, response: ServerResponse, place: DoorPlace): Promise<void> {
    // Nothing that is chunked, and so shows a cut, can be said in HTTP/1.0.
    if (isForProxy(request)) return await egress.forward(request, response);
    if (request.httpVersion !== "1.1") throw new Refusal(505, "http_version", { message: "Runyard's gateway speaks HTTP/1.1 only." });
    const run = authenticate(tokensOf(request, place.query), registry);
    if (run.egressOnly === true)
      throw new Refusal(403, "no_model", { message: "A shell reaches the hosts that its run may reach, and no model." });
    const { path } = place;
    if (path.startsWith(MCP_PATH)) return await passMcp(run, { path, request, response, body: await readBody(request) });
    if (request.method === "POST") {
      const called = place.find(FORMATS);
      if (called !== null) return await callModel(run, called, { request, response });
      const counted = place.find(COUNTS);
      if (counted !== null) return await countTokens(run, counted, { request, response });
    }
    const shape = request.method === "GET" ? listShapeAt(path, request.headers["anthropic-version"] !== undefined) : null;
    if (shape !== null) {
      if (isReplaying(run)) return sendModels(response, shape, replays.models(run));
      if (run.ownLogin !== undefined)
        throw new Refusal(404, "models_not_served", { message: "An agent with its own login knows by itself which models it has." });
      const providers = await providersOf(run);
      if (providers.length === 0) throw noModel();
      return await listModels(response, { shape, lists, providers });
    }
    throw new Refusal(404, "unknown_url", {
      message: `Runyard's gateway has nothing at ${request.method} ${path}. It serves ${SERVED.slice(0, -1).join(", ")} and ${SERVED.at(-1)}.`,
    });
  }

  async function providersOf(run: LiveRun): Promise<readonly Provider[]> {
    if (run.simulated) return [await scripted()];
    return run.ownLogin === undefined ? registry.providers() : [run.ownLogin.provider];
  }

  async function callModel(run: LiveRun, { format, address }: Asked<WireFormat>, { request, response }: Pair): Promise<void> {
    const recorder = options.recorder();
    if (recorder === null)
      throw new Refusal(503, "starting", { message: "Runyard's gateway is about to start. Try again.", retryAfterSeconds: 1 });
    const leave = calls.enter(run.runId);
    try {
      const raw = await readBody(request);
      if (isReplaying(run)) return await replays.answer(recorder, run, { format, raw, response });
      const providers = await providersOf(run);
      const prepared = format.prepareRequest(raw, (asked) => chooseModel(asked, { run, providers, format }), address);
      if (response.destroyed) return;
      const exchange = { run, format, request: prepared, raw, clientHeaders: request.headers, response, pacer };
      await performExchange({ recorder, ledger: options.ledger }, exchange);
    } finally {
      leave();
    }
  }

  async function countTokens(run: LiveRun, { format, address }: Asked<QuestionFormat>, { request, response }: Pair): Promise<void> {
    if (isReplaying(run))
      throw new Refusal(400, "not_recorded", { message: "How many tokens something has is not recorded, so a replay cannot tell." });
    const leave = calls.enter(run.runId);
    try {
      const raw = await readBody(request);
      const providers = await providersOf(run);
      const prepared = format.prepareRequest(raw, (asked) => chooseModel(asked, { run, providers, format }), address);
      await askUncounted(run, format, { request: prepared, clientHeaders: request.headers, response });
    } finally {
      leave();
    }
  }

  return {
    handle(request, response) {
      response.on("error", () => undefined);
      const place = placeOf(request);
      route(request, response, place).catch((error: unknown) => {
        // A client that left in the middle of its request is no fault.
        if (response.destroyed) return;
        if (!(error instanceof Refusal)) log(`a request failed: ${error instanceof Error ? error.stack : String(error)}`);
        if (response.headersSent) response.destroy();
        else refuse(response, error instanceof Refusal ? error : INTERNAL, place.errorBody);
      });
    },
    egress,
    get openExchanges() {
      return calls.total();
    },
  };
}

interface Asked<Format> {
  readonly format: Format;
  readonly address: DoorAddress;
}

interface Pair {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

const INTERNAL = new Refusal(500, "internal", { message: "Something went wrong in Runyard's gateway.", retryAfterSeconds: 2 });

/** Counts the calls under way. `enter` refuses the one too many of a run, and gives back what ends the call. */
function countCalls(): { enter(runId: string): () => void; total(): number } {
  const counts = new Map<string, number>();
  const add = (runId: string, change: number): void => {
    const count = (counts.get(runId) ?? 0) + change;
    if (count === 0) counts.delete(runId);
    else counts.set(runId, count);
  };
  return {
    enter(runId) {
      if ((counts.get(runId) ?? 0) >= MAX_CALLS_OF_RUN) {
        const message = `This run has ${MAX_CALLS_OF_RUN} model calls under way, which is the most that it may have.`;
        throw new Refusal(429, "too_many_calls", { message, retryAfterSeconds: 5 });
      }
      add(runId, 1);
      return () => add(runId, -1);
    },
    total: () => [...counts.values()].reduce((sum, count) => sum + count, 0),
  };
}

/** Wherever programs put their key, the run's token may stand. */
function tokensOf({ headers }: IncomingMessage, query: URLSearchParams): string[] {
  const bearer = /^Bearer (\S+)$/i.exec(headers.authorization ?? "")?.[1];
  const told = [headers[RUN_TOKEN_HEADER], bearer, headers["x-api-key"], headers["x-goog-api-key"], query.get("key")];
  return told.flatMap((token) => (typeof token === "string" && token !== "" ? token : []));
}

function authenticate(tokens: readonly string[], registry: Registry, status: 401 | 407 = 401): LiveRun {
  for (const token of tokens) {
    const run = registry.findByToken(token);
    if (run !== null) return run;
  }
  if (tokens.some((token) => registry.isExpected(token))) {
    throw new Refusal(503, "starting", {
      message: "Runyard's gateway has just started and waits to be told of this run. Try again.",
      retryAfterSeconds: 1,
    });
  }
  throw new Refusal(status, "invalid_api_key", {
    message: "This is not the token of a living run. Agents get theirs from Runyard when they start.",
  });
}

/** The whole body; what is over the limit is read and thrown away, so that the client gets to read the refusal. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new Refusal(415, "unsupported_encoding", { message: "The body must not be compressed." });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk as Buffer);
    else chunks.length = 0;
    if (size > 2 * MAX_BODY_BYTES) break;
  }
  if (size > MAX_BODY_BYTES)
    throw new Refusal(413, "request_too_large", {
      message: `The request is larger than ${MAX_BODY_BYTES} bytes, which is the most that Runyard's gateway takes.`,
    });
  return Buffer.concat(chunks);
}
