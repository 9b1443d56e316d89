import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Amount } from "../core/spending.ts";
import { passedHeaders, refuse } from "./answer.ts";
import type { Pacer } from "./pacing.ts";
import type { Grant, Ledger } from "./ledger.ts";
import { withOutputLimit } from "./output-limit.ts";
import { headersOf, ownTokenOf } from "./own-login.ts";
import { meterOutput, type OutputMeter } from "./output-seen.ts";
import { type Rates, ratesOf } from "./prices.ts";
import type { CallEnd, CallRecord, Recorder } from "./recorder.ts";
import { createRedactor, type Redactor } from "../redact.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";
import { type Ending, Interruption, relayAnswer } from "./relay.ts";
import { type UpstreamCall, urlBelow } from "./upstream.ts";
import { UpstreamFailure } from "./upstream-failure.ts";
import { NO_TOKENS, type PreparedRequest, type QuestionFormat, type WireFormat } from "./wire-format.ts";

const RETRY_SECONDS = 2;

export interface Exchange {
  readonly run: LiveRun;
  readonly format: WireFormat;
  readonly request: PreparedRequest;
  /** The request's body as the client sent it. */
  readonly raw: Buffer;
  readonly clientHeaders: IncomingHttpHeaders;
  readonly response: ServerResponse;
  readonly pacer: Pacer;
}

/** Where calls are written down, and what keeps them within budgets. */
export interface Books {
  readonly recorder: Recorder;
  readonly ledger: Ledger;
}

/**
 * One model call, from its journalled beginning to its journalled end. Throws a Refusal when nothing could be journalled,
 * the run's budget does not allow it, or it has a login that is not the run's, and so nothing was called.
 */
export async function performExchange(books: Books, exchange: Exchange): Promise<void> {
  const { run, response, request } = exchange;
  const abort = new AbortController();
  const onGone = (): void => abort.abort(new Interruption("The agent closed the connection before the model's answer was complete."));
  const onClosed = (): void => abort.abort(new Interruption("The run was ended before the model's answer was complete."));
  response.once("close", onGone);
  run.closed.addEventListener("abort", onClosed);
  const stopWatching = (): void => {
    response.off("close", onGone);
    run.closed.removeEventListener("abort", onClosed);
  };
  try {
    // What a subscription is charged for a call, nobody knows.
    const rates = run.ownLogin === undefined ? await ratesOf(request.provider, request.model) : null;
    const call = await beginCall(books, exchange, { rates, abort });
    const { end, finish } = await callAndRelay(exchange, call);
    call.close(end);
    stopWatching();
    await finish();
  } finally {
    stopWatching();
  }
}

/** A call that has begun. */
interface BegunCall {
  readonly record: CallRecord;
  readonly abort: AbortController;
  /** What its run's budget allows; null: it has none, or one that is only looked at between calls. */
  readonly grant: Grant | null;
  readonly meter: OutputMeter | null;
  /** A shorter answer was asked for than the grant has: the model makes none that is longer. */
  learnLimit(tokens: number): void;
  close(end: CallEnd): void;
}

async function beginCall(
  { recorder, ledger }: Books,
  exchange: Exchange,
  { rates, abort }: { readonly rates: Rates | null; readonly abort: AbortController },
): Promise<BegunCall> {
  const { run, format, request, response } = exchange;
  if (response.destroyed) throw new Refusal(499, "gone", { message: "The client has gone." });
  const open = (reserve: Amount | null): CallRecord => openRecord(recorder, exchange, { rates, reserve });
  if (run.budget === undefined) {
    const record = open(null);
    return { record, abort, grant: null, meter: null, learnLimit: () => undefined, close: (end) => record.close(end) };
  }
  const budgeted = { run, budget: run.budget, format, request, rates, signal: abort.signal };
  const { record, grant } = await ledger.begin(budgeted, open).catch((error: unknown) => {
    throw error instanceof Interruption ? new Refusal(503, "run_ended", { message: error.message }) : error;
  });
  // A program's own request goes to its maker as it is, so nothing keeps its answer short; the next call is refused.
  const isAdvisory = run.ownLogin !== undefined;
  const meter = isAdvisory ? null : meterOutput(grant.output);
  return {
    record,
    abort,
    grant: isAdvisory ? null : grant,
    meter,
    learnLimit: (tokens) => ledger.learnLimit(request, tokens),
    close(end) {
      const cut = meter !== null && meter.isOver && !end.complete;
      const seen = { input: grant.input, output: meter?.tokens ?? 0 };
      record.close(cut ? { ...end, seen: { nanoUsd: rates?.atMost(seen) ?? 0, tokens: seen.input + seen.output } } : end);
      const kept = isAdvisory ? { ...grant, isClamped: false } : grant;
      ledger.ended(budgeted, { record, grant: kept, tokens: end.complete ? end.tokens : NO_TOKENS, cut });
    },
  };
}

function openRecord(
  recorder: Recorder,
  { run, format, request, raw, clientHeaders }: Exchange,
  money: { readonly rates: Rates | null; readonly reserve: Amount | null },
): CallRecord {
  const { provider, model } = request;
  const redactor = createRedactor([provider.apiKey, run.token, ownTokenOf(run, clientHeaders)], run.secrets);
  const call = { provider: provider.name, model, path: format.doorPath, replays: null };
  return orNotMade(() => recorder.open({ run, ...call, ...money, request: raw, redactor }));
}

/** Journals something without which a call must not be made; throws a Refusal where that cannot be written. */
export function orNotMade<T>(write: () => T): T {
  try {
    return write();
  } catch (error) {
    const message = `Runyard could not record this model call, so it was not made: ${(error as Error).message}`;
    throw new Refusal(503, "not_recorded", { message, retryAfterSeconds: RETRY_SECONDS });
  }
}

async function callAndRelay(exchange: Exchange, call: BegunCall): Promise<Omit<Ending, "end"> & { readonly end: CallEnd }> {
  const { run, format, request, clientHeaders, response } = exchange;
  const redactor = createRedactor([request.provider.apiKey, ownTokenOf(run, clientHeaders)]);
  const { record, abort, meter } = call;
  let tries = 0;
  let headers: CallEnd["headers"] = null;
  const { end, finish } = await answerWithin(exchange, call, () => (tries += 1))
    .then((answer) => {
      headers = passedHeaders(answer.headers, redactor);
      return relayAnswer({ answer, response, format, request, redactor, record, abort, meter });
    })
    .catch((error: unknown) => unanswered(error, { response, redactor, format }));
  return { end: { ...end, tries, headers }, finish };
}

/** Models refuse limits that are longer than their longest answer. No answer has less than this for its longest. */
const LEAST_LONGEST_TOKENS = 2_048;

/** The provider's answer, to a request that asks for no longer one than the run's budget pays for. */
async function answerWithin(exchange: Exchange, { grant, abort, learnLimit }: BegunCall, onTry: () => void): Promise<IncomingMessage> {
  const { run, format, request, pacer } = exchange;
  const { provider } = request;
  const ask = (body: Buffer): Promise<IncomingMessage> => {
    const upstream: UpstreamCall = {
      method: "POST",
      url: providerUrl(format, request),
      headers: { ...headersOf(run, format, exchange), "content-type": "application/json" },
      body,
      way: provider,
      signal: abort.signal,
    };
    return pacer.call(provider.name, upstream, onTry);
  };
  if (grant === null || !(grant.isUnnamed || grant.isClamped)) return await ask(request.body);
  for (let limit = grant.output; ; limit = Math.floor(limit / 2)) {
    const answer = await ask(withOutputLimit(format, request, limit));
    // Nobody but Runyard asked for this limit, so nobody else can ask for another.
    if (answer.statusCode !== 400 || !grant.isUnnamed || limit / 2 < LEAST_LONGEST_TOKENS) {
      if (answer.statusCode === 200 && limit < grant.output) learnLimit(limit);
      return answer;
    }
    answer.resume().on("error", () => undefined);
  }
}

/** Where a provider takes a question of this format. */
export function providerUrl(format: QuestionFormat, { provider, model, query }: PreparedRequest): URL {
  const path = format.providerPath(provider.api) ?? "";
  const named = path.replace("{model}", () => encodeURIComponent(model));
  return urlBelow(provider.baseUrl, named, query);
}

/** No answer came. Whatever the reason, the call gets its end in the journal. */
function unanswered(
  error: unknown,
  { response, redactor, format }: Pick<Exchange, "response" | "format"> & { redactor: Redactor },
): Ending {
  const refusal = unansweredRefusal(error, redactor);
  const unsent = error instanceof UpstreamFailure && !error.sent ? { isUnsent: true as const } : {};
  const end = { status: null, ok: false, complete: false, error: refusal.message, tokens: NO_TOKENS, ...unsent };
  return { end, finish: () => refuse(response, refusal, format.errorBody) };
}

/** What to tell the client when the provider gave no answer: unreachable (503) or broken off (502); clients try both again. */
export function unansweredRefusal(error: unknown, redactor: Redactor): Refusal {
  const isUnreachable = error instanceof UpstreamFailure && !error.sent;
  const message = redactor.text(error instanceof Error ? error.message : String(error));
  return isUnreachable
    ? new Refusal(503, "upstream_unreachable", { message, retryAfterSeconds: RETRY_SECONDS })
    : new Refusal(502, "upstream_interrupted", { message, retryAfterSeconds: RETRY_SECONDS });
}
