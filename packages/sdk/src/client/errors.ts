import { API_ERRORS, type Problem, problemSchema } from "../contract/errors.ts";

const API_BRAND = Symbol.for("runyard.api-error");
const CONNECTION_BRAND = Symbol.for("runyard.connection-error");

interface ApiErrorParts {
  readonly message: string;
  readonly status: number;
  readonly code?: string | null;
  readonly requestId?: string | null;
  readonly errors?: readonly { path: string; message: string }[];
  readonly retryAfterMs?: number | null;
}

/**
 * The server refused a request, or something on the way to it did.
 *
 * @example
 * ```ts
 * try {
 *   await client.runs.get(id);
 * } catch (error) {
 *   if (RunyardApiError.is(error) && error.code === "run_not_found") return null;
 *   throw error;
 * }
 * ```
 */
export class RunyardApiError extends Error {
  override readonly name = "RunyardApiError";
  /** The HTTP status. */
  readonly status: number;
  /** The stable code, for example `run_not_found`; null when the answer is not one of Runyard's. */
  readonly code: string | null;
  /** What happened, in a sentence; the same as `message`. */
  readonly detail: string;
  /** Under this id the server's log has more; null when the answer had none. */
  readonly requestId: string | null;
  /** For `invalid_request`: what is wrong, field by field; else empty. */
  readonly errors: readonly { path: string; message: string }[];
  /** True when the same request may succeed later. */
  readonly retryable: boolean;
  /** How long the server asked to wait, in milliseconds; null when it did not say. */
  readonly retryAfterMs: number | null;

  constructor(parts: ApiErrorParts) {
    super(parts.message);
    this.status = parts.status;
    this.code = parts.code ?? null;
    this.detail = parts.message;
    this.requestId = parts.requestId ?? null;
    this.errors = parts.errors ?? [];
    this.retryable = isRetryable(parts.status, this.code);
    this.retryAfterMs = parts.retryAfterMs ?? null;
    Object.defineProperty(this, API_BRAND, { value: true });
  }

  /** True for errors from any copy of this package, which `instanceof` is not. */
  static is(value: unknown): value is RunyardApiError {
    return value instanceof Error && API_BRAND in value;
  }
}

/** The server could not be reached, or the connection broke before the answer was complete. */
export class RunyardConnectionError extends Error {
  override readonly name = "RunyardConnectionError";
  /** Where the server was looked for: scheme, host and port. */
  readonly url: string;
  /** True when something accepted the connection, false when nothing did, null where the platform does not tell. */
  readonly serverRuns: boolean | null;

  constructor(message: string, details: { url: string; serverRuns: boolean | null; cause?: unknown }) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.url = details.url;
    this.serverRuns = details.serverRuns;
    Object.defineProperty(this, CONNECTION_BRAND, { value: true });
  }

  /** True for errors from any copy of this package, which `instanceof` is not. */
  static is(value: unknown): value is RunyardConnectionError {
    return value instanceof Error && CONNECTION_BRAND in value;
  }
}

function isRetryable(status: number, code: string | null): boolean {
  const known = code !== null && Object.hasOwn(API_ERRORS, code) ? API_ERRORS[code as keyof typeof API_ERRORS] : undefined;
  return known?.retryable ?? (status === 408 || status === 429 || status >= 500);
}

/** The error that an answer stands for; reads its body. */
export async function errorOfResponse(response: Response): Promise<RunyardApiError> {
  const text = await response.text().catch(() => "");
  const retryAfterMs = retryAfterOf(response.headers.get("retry-after"));
  const problem = problemOf(text);
  if (problem === undefined) return foreignAnswer(response, retryAfterMs);
  return new RunyardApiError({
    message: problem.detail || problem.title,
    status: response.status,
    code: problem.code,
    requestId: problem.request_id,
    ...(problem.errors === undefined ? {} : { errors: problem.errors }),
    retryAfterMs,
  });
}

function problemOf(text: string): Problem | undefined {
  try {
    return problemSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** For an answer that Runyard did not write: a proxy's page, another program on the port, a redirect. */
export function foreignAnswer(response: Response, retryAfterMs: number | null = null): RunyardApiError {
  const type = response.headers.get("content-type")?.split(";")[0]?.trim() || "no content type";
  const place = response.url === "" ? "The server" : new URL(response.url).origin;
  const isRedirect = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
  const message = isRedirect
    ? `${place} answered with a redirect, and a token is not carried to another address: set the base URL to the final one.`
    : `${place} answered ${response.status} with ${type}, which is not an answer of Runyard: another program or a proxy may stand at this address.`;
  return new RunyardApiError({ message, status: response.status, requestId: response.headers.get("x-request-id"), retryAfterMs });
}

/** `Retry-After` is seconds or a date. */
function retryAfterOf(header: string | null): number | null {
  if (header === null) return null;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
