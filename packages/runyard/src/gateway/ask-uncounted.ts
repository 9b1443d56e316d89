import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { beginAnswer, passedHeaders, refuse } from "./answer.ts";
import { providerUrl, unansweredRefusal } from "./exchange.ts";
import { readBounded } from "./read-bounded.ts";
import { createRedactor } from "../redact.ts";
import { headersOf, ownTokenOf } from "./own-login.ts";
import type { LiveRun } from "./registry.ts";
import { callUpstream } from "./upstream.ts";
import type { PreparedRequest, QuestionFormat } from "./wire-format.ts";

const TIMEOUT_MS = 60_000;

interface Question {
  readonly request: PreparedRequest;
  readonly clientHeaders: IncomingHttpHeaders;
  readonly response: ServerResponse;
}

/** Passes a question on that calls no model, so that nothing is journalled, and its answer back. Throws a Refusal for a login that is not the run's. */
export async function askUncounted(run: LiveRun, format: QuestionFormat, question: Question): Promise<void> {
  const { request, clientHeaders, response } = question;
  const { provider } = request;
  const redactor = createRedactor([provider.apiKey, ownTokenOf(run, clientHeaders)]);
  try {
    const answer = await callUpstream({
      method: "POST",
      url: providerUrl(format, request),
      headers: { ...headersOf(run, format, question), "content-type": "application/json" },
      body: request.body,
      way: provider,
      signal: AbortSignal.any([run.closed, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const body = redactor.bytes(await readBounded(answer));
    beginAnswer(response, answer.statusCode ?? 502, { "content-type": "application/json", ...passedHeaders(answer.headers, redactor) });
    response.end(body);
  } catch (error) {
    refuse(response, unansweredRefusal(error, redactor), format.errorBody);
  }
}
