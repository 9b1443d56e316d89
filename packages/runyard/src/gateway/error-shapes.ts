/** What an error of the gateway's own says. */
export interface ErrorFacts {
  /** HTTP. */
  readonly status: number;
  /** Short and stable, for programs. */
  readonly code: string;
  readonly message: string;
}

/** Writes an error as the programs of one API read it. */
export type ErrorShape = (error: ErrorFacts) => Buffer;

export const openaiError: ErrorShape = ({ status, code, message }) => {
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  return Buffer.from(JSON.stringify({ error: { message, type, param: null, code } }));
};

const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
};

/** There is no place for a code in this shape: the type is what the status means. */
export const anthropicError: ErrorShape = ({ status, message }) => {
  const type = ANTHROPIC_TYPES[status] ?? (status >= 500 ? "api_error" : "invalid_request_error");
  return Buffer.from(JSON.stringify({ type: "error", error: { type, message } }));
};

const GEMINI_STATUSES: Readonly<Record<number, string>> = {
  401: "UNAUTHENTICATED",
  402: "FAILED_PRECONDITION",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
};

export const geminiError: ErrorShape = ({ status: code, code: reason, message }) => {
  const status = GEMINI_STATUSES[code] ?? (code >= 500 ? "UNAVAILABLE" : "INVALID_ARGUMENT");
  const details = [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: "runyard" }];
  return Buffer.from(JSON.stringify({ error: { code, message, status, details } }));
};
