import type { IncomingMessage, ServerResponse } from "node:http";
import { refuse } from "./answer.ts";
import { performExchange } from "./exchange.ts";
import { chooseModel, noModel } from "./choose-model.ts";
import { listModels } from "./models.ts";
import { openaiChat } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import type { Provider } from "./protocol.ts";
import type { Recorder } from "./recorder.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun, Registry } from "./registry.ts";
import type { WireFormat } from "./wire-format.ts";

const FORMATS: readonly WireFormat[] = [openaiChat, openaiResponses];
const SERVED = [...FORMATS.map((format) => `POST ${format.doorPath}`), "GET /v1/models"];

const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** So that one run cannot take all of the gateway; agents with helpers of their own make about ten at a time. */
const MAX_CALLS_OF_RUN = 64;

export interface DoorOptions {
  readonly registry: Registry;
  /** Null until this gateway has its place. */
  readonly recorder: () => Recorder | null;
  /** Who answers runs that are simulated. */
  readonly scripted: () => Promise<Provider>;
  readonly log: (message: string) => void;
}

/** The public door: what agents in sandboxes talk to. */
export interface Door {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Model calls under way. */
  readonly openExchanges: number;
}

export function createDoor(options: DoorOptions): Door {
  const { registry, scripted, log } = options;
  const calls = countCalls();

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Nothing that is chunked, and so shows a cut, can be said in HTTP/1.0.
    if (request.httpVersion !== "1.1") throw new Refusal(505, "http_version", { message: "Runyard's gateway speaks HTTP/1.1 only." });
    const run = authenticate(request, registry);
    const path = (request.url ?? "").split("?", 1)[0];
    const format = request.method === "POST" ? FORMATS.find((known) => known.doorPath === path) : undefined;
    if (format !== undefined) return await callModel(run, format, { request, response });
    if (request.method === "GET" && path === "/v1/models") {
      const [provider] = await providersOf(run);
      if (provider === undefined) throw noModel();
      return await listModels(run, response, provider);
    }
    throw new Refusal(404, "unknown_url", {
      message: `Runyard's gateway has nothing at ${request.method} ${path}. It serves ${SERVED.slice(0, -1).join(", ")} and ${SERVED.at(-1)}.`,
    });
  }

  async function providersOf(run: LiveRun): Promise<readonly Provider[]> {
    return run.simulated ? [await scripted()] : registry.providers();
  }

  async function callModel(
    run: LiveRun,
    format: WireFormat,
    { request, response }: { request: IncomingMessage; response: ServerResponse },
  ): Promise<void> {
    const recorder = options.recorder();
    if (recorder === null)
      throw new Refusal(503, "starting", { message: "Runyard's gateway is about to start. Try again.", retryAfterSeconds: 1 });
    const leave = calls.enter(run.runId);
    try {
      const raw = await readBody(request);
      const providers = await providersOf(run);
      const prepared = format.prepareRequest(raw, (asked) => chooseModel(asked, { run, providers, format }));
      if (response.destroyed) return;
      await performExchange(recorder, { run, format, request: prepared, raw, clientHeaders: request.headers, response });
    } finally {
      leave();
    }
  }

  return {
    handle(request, response) {
      response.on("error", () => undefined);
      route(request, response).catch((error: unknown) => {
        // A client that left in the middle of its request is no fault.
        if (response.destroyed) return;
        if (!(error instanceof Refusal)) log(`a request failed: ${error instanceof Error ? error.stack : String(error)}`);
        if (response.headersSent) response.destroy();
        else refuse(response, error instanceof Refusal ? error : INTERNAL);
      });
    },
    get openExchanges() {
      return calls.total();
    },
  };
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

function authenticate(request: IncomingMessage, registry: Registry): LiveRun {
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
  const run = token === undefined ? null : registry.findByToken(token);
  if (run !== null) return run;
  if (token !== undefined && registry.isExpected(token)) {
    throw new Refusal(503, "starting", {
      message: "Runyard's gateway has just started and waits to be told of this run. Try again.",
      retryAfterSeconds: 1,
    });
  }
  throw new Refusal(401, "invalid_api_key", {
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
