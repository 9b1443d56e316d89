import { connectionError } from "./connection.ts";
import { errorOfResponse, foreignAnswer, RunyardApiError, RunyardConnectionError } from "./errors.ts";
import { backoffMs, type Deadline, sleep, startDeadline } from "./wait.ts";

/** What every call takes beside its own arguments. */
export interface RequestOptions {
  /** Ends the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Longest time for one try, in milliseconds. */
  readonly timeoutMs?: number;
  /** Tries after the first one, for calls that are safe to repeat. */
  readonly maxRetries?: number;
}

export interface TransportConfig {
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly token: string;
  readonly fetch: typeof fetch;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly retryDelayMs: number;
}

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** Beside those that every request has. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The media type that is wanted. */
  readonly accept: string;
  /** True when doing it twice does no more than doing it once. */
  readonly repeatable: boolean;
}

export interface Transport {
  readonly config: TransportConfig;
  /** The answer's body as JSON. */
  json(request: ApiRequest, options?: RequestOptions): Promise<unknown>;
  /** The answer's body as text. */
  text(request: ApiRequest, options?: RequestOptions): Promise<string>;
  /** The answer's body as it is. */
  bytes(request: ApiRequest, options?: RequestOptions): Promise<Uint8Array>;
  /** One try that leaves the body to be read; `deadline` must be ended by the caller. */
  open(request: ApiRequest, deadline: Deadline): Promise<Response>;
}

/** A longer wait than this is the caller's to decide on. */
const LONGEST_RETRY_AFTER_MS = 60_000;

export function createTransport(config: TransportConfig): Transport {
  const open = (request: ApiRequest, deadline: Deadline): Promise<Response> => openOnce(config, request, deadline);

  async function once<T>(request: ApiRequest, options: RequestOptions, read: (response: Response) => Promise<T>): Promise<T> {
    const timeoutMs = options.timeoutMs ?? config.timeoutMs;
    const deadline = startDeadline(timeoutMs, options.signal);
    try {
      return await read(await open(request, deadline));
    } catch (error) {
      if (RunyardApiError.is(error)) throw error;
      options.signal?.throwIfAborted();
      throw connectionError(config.baseUrl, error, deadline.expired() ? timeoutMs : undefined);
    } finally {
      deadline.end();
    }
  }

  async function retried<T>(request: ApiRequest, options: RequestOptions, read: (response: Response) => Promise<T>): Promise<T> {
    const tries = request.repeatable ? 1 + (options.maxRetries ?? config.maxRetries) : 1;
    for (let failures = 1; ; failures += 1) {
      try {
        return await once(request, options, read);
      } catch (error) {
        if (failures >= tries || !mayRepeat(error)) throw error;
        await sleep(waitBefore(error, failures, config.retryDelayMs), options.signal);
      }
    }
  }

  return {
    config,
    open,
    json: (request, options = {}) => retried(request, options, readJson),
    text: (request, options = {}) => retried(request, options, (response) => response.text()),
    bytes: (request, options = {}) => retried(request, options, async (response) => new Uint8Array(await response.arrayBuffer())),
  };
}

/** True for errors after which the same request may succeed. */
export function mayRepeat(error: unknown): boolean {
  if (RunyardConnectionError.is(error)) return true;
  return RunyardApiError.is(error) && error.retryable && (error.retryAfterMs ?? 0) <= LONGEST_RETRY_AFTER_MS;
}

/** The server's own word on when to come back, or else the usual wait. */
export function waitBefore(error: unknown, failures: number, firstMs: number): number {
  const asked = RunyardApiError.is(error) ? error.retryAfterMs : null;
  return asked ?? backoffMs(failures, firstMs);
}

async function openOnce(config: TransportConfig, request: ApiRequest, deadline: Deadline): Promise<Response> {
  const headers: Record<string, string> = {
    ...request.headers,
    authorization: `Bearer ${config.token}`,
    accept: `${request.accept}, application/problem+json;q=0.5`,
  };
  if (request.body !== undefined) headers["content-type"] = "application/json";
  const response = await config.fetch(`${config.baseUrl}${request.path}${queryText(request.query)}`, {
    method: request.method,
    headers,
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    // The token goes to the configured server and nowhere else.
    redirect: "manual",
    credentials: "omit",
    signal: deadline.signal,
  });
  if (!response.ok) throw await errorOfResponse(response);
  return response;
}

function queryText(query: ApiRequest["query"] = {}): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value));
  return given.size === 0 ? "" : `?${given.toString()}`;
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw foreignAnswer(response);
  }
}
