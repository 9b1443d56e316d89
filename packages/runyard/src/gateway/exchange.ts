import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { passedHeaders, refuse } from "./answer.ts";
import type { Pacer } from "./pacing.ts";
import type { CallEnd, CallRecord, Recorder } from "./recorder.ts";
import { createRedactor, type Redactor } from "./redact.ts";
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

/** One model call, from its journalled beginning to its journalled end. Throws a Refusal when nothing could be journalled, and so nothing was called. */
export async function performExchange(recorder: Recorder, exchange: Exchange): Promise<void> {
  const { run, response } = exchange;
  const record = openRecord(recorder, exchange);
  const abort = new AbortController();
  const onGone = (): void => abort.abort(new Interruption("The agent closed the connection before the model's answer was complete."));
  const onClosed = (): void => abort.abort(new Interruption("The run was ended before the model's answer was complete."));
  response.once("close", onGone);
  run.closed.addEventListener("abort", onClosed);
  const { end, finish } = await callAndRelay(exchange, { record, abort });
  record.close(end);
  response.off("close", onGone);
  run.closed.removeEventListener("abort", onClosed);
  await finish();
}

function openRecord(recorder: Recorder, { run, format, request, raw }: Exchange): CallRecord {
  const { provider, model } = request;
  const redactor = createRedactor([provider.apiKey, run.token]);
  const call = { provider: provider.name, model, path: format.doorPath, replays: null };
  return orNotMade(() => recorder.open({ run, ...call, request: raw, redactor }));
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

async function callAndRelay(
  exchange: Exchange,
  call: { record: CallRecord; abort: AbortController },
): Promise<Omit<Ending, "end"> & { readonly end: CallEnd }> {
  const { format, request, response, clientHeaders, pacer } = exchange;
  const { provider } = request;
  const redactor = createRedactor([provider.apiKey]);
  const upstream: UpstreamCall = {
    method: "POST",
    url: providerUrl(format, request),
    headers: { ...format.providerHeaders(provider, clientHeaders), "content-type": "application/json" },
    body: request.body,
    way: provider,
    signal: call.abort.signal,
  };
  let tries = 0;
  let headers: CallEnd["headers"] = null;
  const asked = pacer.call(provider.name, upstream, () => (tries += 1));
  const { end, finish } = await asked
    .then((answer) => {
      headers = passedHeaders(answer.headers, redactor);
      return relayAnswer({ answer, response, format, request, redactor, ...call });
    })
    .catch((error: unknown) => unanswered(error, { response, redactor, format }));
  return { end: { ...end, tries, headers }, finish };
}

/** Where a provider takes a question of this format. */
export function providerUrl(format: QuestionFormat, { provider, model, query }: PreparedRequest): URL {
  const path = format.providerPath(provider.api) ?? "";
  const url = urlBelow(
    provider.baseUrl,
    path.replace("{model}", () => encodeURIComponent(model)),
  );
  if (query !== undefined) url.search = url.search === "" ? query : `${url.search}&${query}`;
  return url;
}

/** No answer came. Whatever the reason, the call gets its end in the journal. */
function unanswered(
  error: unknown,
  { response, redactor, format }: Pick<Exchange, "response" | "format"> & { redactor: Redactor },
): Ending {
  const refusal = unansweredRefusal(error, redactor);
  const end = { status: null, ok: false, complete: false, error: refusal.message, tokens: NO_TOKENS };
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
