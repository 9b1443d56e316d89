import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { beginAnswer, breakOff, passedHeaders, refuse } from "./answer.ts";
import { createArraySplitter } from "./json-array.ts";
import type { OutputMeter } from "./output-seen.ts";
import type { CallEnd, CallRecord } from "./recorder.ts";
import type { Redactor } from "../redact.ts";
import { Refusal } from "./refusal.ts";
import { type Block, createSseSplitter } from "./sse.ts";
import { errorMessageOf, NO_TOKENS, type PreparedRequest, readEvent, type StreamWatcher, type WireFormat } from "./wire-format.ts";

/** Longest answer that is not streamed, and longest single event, in bytes. */
const MAX_WHOLE_ANSWER_BYTES = 32 * 1024 * 1024;
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
/** How long nothing may move in the middle of an answer: the provider may be silent, or the client not read. */
const IDLE_MS = 300_000;
/** How long a provider may take to end its stream after its last event, before its connection is given up. */
const AFTER_LAST_EVENT_MS = 1_000;
const RETRY_SECONDS = 2;

/** One answer on its way from the provider to the client. */
export interface Relay {
  readonly answer: IncomingMessage;
  readonly response: ServerResponse;
  readonly format: WireFormat;
  readonly request: PreparedRequest;
  readonly record: CallRecord;
  /** Takes the provider's key out of what goes to the client. */
  readonly redactor: Redactor;
  /** Looks at how long the answer gets, where that is limited by a budget. */
  readonly meter: OutputMeter | null;
  /** Aborted, with an Interruption as its reason, when the call is not to go on. */
  readonly abort: AbortController;
}

/** How a relay came out. `finish` gives the client the end of its answer, and is called once the end has been journalled. */
export interface Ending {
  readonly end: Omit<CallEnd, "headers">;
  readonly finish: () => Promise<void> | void;
}

/** Why a call was broken off from this side; the message says it in plain words. */
export class Interruption extends Error {
  override readonly name = "Interruption";
}

/** Passes an answer on: event by event where it is a stream, else in one piece. */
export async function relayAnswer(relay: Relay): Promise<Ending> {
  const { answer } = relay;
  const status = answer.statusCode ?? 0;
  const encoding = answer.headers["content-encoding"] ?? "identity";
  if (status >= 300 && status < 400)
    return reject(relay, `The model provider answered with a redirect (${status}), which Runyard does not follow. Check its base URL.`);
  if (encoding !== "identity")
    return reject(relay, `The model provider's answer is compressed (${encoding}), although it was asked not to compress.`);
  const type = answer.headers["content-type"] ?? "";
  const { stream, framing } = relay.request;
  const isStream = status < 300 && (type.includes("text/event-stream") || (stream && (framing === "json-array" || !type.includes("json"))));
  return isStream ? await relayStream(relay) : await relayWhole(relay);
}

function reject(relay: Relay, message: string): Ending {
  relay.answer.destroy();
  const end = { status: relay.answer.statusCode ?? null, ok: false, complete: false, error: message, tokens: NO_TOKENS };
  return { end, finish: () => refuse(relay.response, new Refusal(502, "bad_upstream_answer", { message }), relay.format.errorBody) };
}

async function relayStream(relay: Relay): Promise<Ending> {
  const { answer, response, record, redactor, format } = relay;
  const watcher = format.watchStream(relay.request);
  const result = await passEvents(relay, watcher).catch((error: unknown) => ({ fault: faultOf(relay, error), tail: Buffer.alloc(0) }));
  const report = watcher.report();
  const { tokens } = report;
  const status = answer.statusCode ?? null;
  const error = result.fault ?? report.error ?? (report.complete ? null : "The model provider ended its answer before it was complete.");
  if (result.fault === null && report.complete) {
    const tail = redactor.bytes(result.tail);
    if (!response.headersSent) beginStream(relay);
    void record.write(tail);
    return { end: { status, ok: error === null, complete: true, error, tokens }, finish: () => void response.end(tail) };
  }
  const message = redactor.text(error ?? "");
  const end = { status, ok: false, complete: false, error, tokens };
  if (!response.headersSent) return { end, finish: () => refuse(response, interrupted(message), format.errorBody) };
  const lastWords = watcher.errorEvent(message);
  void record.write(lastWords);
  return { end, finish: () => breakOff(response, lastWords) };
}

function beginStream({ answer, response, redactor }: Relay): void {
  beginAnswer(response, answer.statusCode ?? 200, { "content-type": "text/event-stream", ...passedHeaders(answer.headers, redactor) });
}

/** Passes events on until the stream's last one, which is given back to be sent when the call has been journalled. */
async function passEvents(relay: Relay, watcher: StreamWatcher): Promise<{ fault: null; tail: Buffer }> {
  const { answer } = relay;
  const splitter = relay.request.framing === "json-array" ? createArraySplitter() : createSseSplitter();
  const idle = watchIdle(relay.abort);
  try {
    for await (const chunk of answer.iterator({ destroyOnReturn: false })) {
      idle.refresh();
      const { forward, last } = sort(splitter.push(chunk as Buffer), relay, watcher);
      await pass(relay, forward);
      if (last === null && relay.meter?.isOver === true)
        throw new Interruption("The model provider went on with its answer beyond what is left of the run's budget.");
      if (last !== null) {
        letGo(answer);
        return { fault: null, tail: last };
      }
      idle.refresh();
      if (splitter.rest().length > MAX_EVENT_BYTES)
        throw new Interruption(`The model provider sent an event of more than ${MAX_EVENT_BYTES} bytes.`);
    }
  } finally {
    clearTimeout(idle);
  }
  const rest = splitter.rest();
  return { fault: null, tail: watcher.see(readEvent(rest, relay.request.framing)) === "drop" ? Buffer.alloc(0) : endEvent(rest) };
}

/** Gives an event that the provider did not end its blank line: without it, readers throw the event away. */
function endEvent(rest: Buffer): Buffer {
  if (rest.length === 0) return rest;
  return Buffer.concat([rest, Buffer.from(rest.at(-1) === 0x0a ? "\n" : "\n\n")]);
}

/** What of these events goes to the client, and the stream's last one, if it is among them. */
function sort(block: Block, { meter, request }: Relay, watcher: StreamWatcher): { forward: Buffer; last: Buffer | null } {
  // A meter has to see every event.
  if (meter === null && watcher.skim(block.bytes)) return { forward: block.bytes, last: null };
  const forward: Buffer[] = [];
  let last: Buffer | null = null;
  for (const bytes of block.events()) {
    const event = readEvent(bytes, request.framing);
    const fate = watcher.see(event);
    meter?.see(event);
    if (fate === "forward") forward.push(bytes);
    if (fate !== "last") continue;
    last = bytes;
    break;
  }
  return { forward: Buffer.concat(forward), last };
}

/** Sends bytes at the client's pace: while it does not read, nothing is read from the provider. */
async function pass(relay: Relay, events: Buffer): Promise<void> {
  if (events.length === 0) return;
  const { response, record, redactor, abort } = relay;
  const bytes = redactor.bytes(events);
  if (!response.headersSent) beginStream(relay);
  const recorded = record.write(bytes);
  const sent = response.write(bytes) ? undefined : once(response, "drain", { signal: abort.signal });
  await Promise.all([sent, recorded]);
  abort.signal.throwIfAborted();
}

/** Lets a stream that said its last word end by itself, so that its connection can be used again. */
function letGo(answer: IncomingMessage): void {
  const timer = setTimeout(() => answer.destroy(), AFTER_LAST_EVENT_MS);
  answer.once("close", () => clearTimeout(timer));
  answer.on("error", () => undefined);
  answer.resume();
}

function watchIdle(abort: AbortController): NodeJS.Timeout {
  return setTimeout(
    () => abort.abort(new Interruption(`Nothing moved for ${IDLE_MS / 60_000} minutes in the middle of the model's answer.`)),
    IDLE_MS,
  );
}

async function relayWhole(relay: Relay): Promise<Ending> {
  const { answer, response, format, redactor, record } = relay;
  const status = answer.statusCode ?? 0;
  let body: Buffer;
  try {
    body = redactor.bytes(await readAll(relay));
  } catch (error) {
    const message = faultOf(relay, error);
    const end = { status, ok: false, complete: false, error: message, tokens: NO_TOKENS };
    return { end, finish: () => refuse(response, interrupted(redactor.text(message)), format.errorBody) };
  }
  const report =
    status < 300
      ? format.readWholeAnswer(body)
      : { complete: true, error: errorMessageOf(body) ?? `The model provider answered ${status} without words.`, tokens: NO_TOKENS };
  const { complete, error, tokens } = report;
  const end = { status, ok: error === null, complete, error, tokens };
  if (!complete) return { end, finish: () => refuse(response, interrupted(error ?? ""), format.errorBody) };
  void record.write(body);
  return {
    end,
    finish: () => {
      beginAnswer(response, status, { "content-type": "application/json", ...passedHeaders(answer.headers, redactor) });
      response.end(body);
    },
  };
}

async function readAll({ answer, abort }: Relay): Promise<Buffer> {
  const idle = watchIdle(abort);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer) {
      idle.refresh();
      size += (chunk as Buffer).length;
      if (size > MAX_WHOLE_ANSWER_BYTES)
        throw new Interruption(`The model provider's answer is longer than ${MAX_WHOLE_ANSWER_BYTES} bytes.`);
      chunks.push(chunk as Buffer);
    }
  } finally {
    clearTimeout(idle);
  }
  return Buffer.concat(chunks);
}

/** Before the client got anything, a broken answer is an error that it may try again. */
function interrupted(message: string): Refusal {
  return new Refusal(502, "upstream_interrupted", { message, retryAfterSeconds: RETRY_SECONDS });
}

/** Why an answer broke, in plain words; whoever broke it, nothing more comes of it. */
function faultOf({ abort, answer }: Relay, error: unknown): string {
  answer.destroy();
  const reason: unknown = abort.signal.aborted ? abort.signal.reason : error;
  if (reason instanceof Interruption) return reason.message;
  return "The connection to the model provider broke in the middle of its answer.";
}
