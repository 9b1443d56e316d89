import { randomUUID } from "node:crypto";
import { API_ERRORS, type ApiErrorCode, type Problem, type RunyardError } from "@runyard/sdk/contract";

/** What a client sees of an error that is not its own; the log has the rest under the same request id. */
const INTERNAL_DETAIL = "The server could not answer this. Its log has the cause under this request id.";

/** Headers of every answer. Nothing here is meant to be rendered, framed, sniffed or kept. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
  "referrer-policy": "no-referrer",
};

export const PROBLEM_TYPE = "application/problem+json";

/** Ids of requests are ours alone: one that a client sends is not believed. */
export function newRequestId(): string {
  return `req_${randomUUID().replaceAll("-", "")}`;
}

interface ProblemParts {
  readonly code: ApiErrorCode;
  readonly detail: string;
  readonly requestId: string;
  /** Where HTTP itself has a closer status than the code's own. */
  readonly status?: number;
  readonly errors?: Problem["errors"];
  readonly checks?: Problem["checks"];
}

/** The body of an error answer. */
function problem(parts: ProblemParts): Problem {
  const known = API_ERRORS[parts.code];
  return {
    type: `urn:runyard:error:${parts.code}`,
    title: known.title,
    status: parts.status ?? known.status,
    code: parts.code,
    detail: parts.detail,
    request_id: parts.requestId,
    ...(parts.errors === undefined ? {} : { errors: parts.errors }),
    ...(parts.checks === undefined ? {} : { checks: parts.checks }),
  };
}

/** The body for bytes that are no request at all. */
export function notUnderstood(requestId: string, status: number): Problem {
  return problem({ code: "invalid_request", status, detail: "This is not a request that the server understands.", requestId });
}

/** The body for an error that was thrown on the way: its own words when it has a place in the API. */
export function problemOf(error: RunyardError | undefined, requestId: string): Problem {
  if (error === undefined || error.code === "internal") return problem({ code: "internal", detail: INTERNAL_DETAIL, requestId });
  return problem({
    code: error.code,
    detail: error.message,
    requestId,
    ...(error.errors === undefined ? {} : { errors: [...error.errors] }),
    ...(error.checks === undefined ? {} : { checks: [...error.checks] }),
  });
}
