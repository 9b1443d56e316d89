import http from "node:http";
import https from "node:https";
import type { Provider } from "./protocol.ts";
import { UpstreamFailure } from "./upstream-failure.ts";
import { wayTo } from "./way.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the status line: without streaming, a model may think for minutes before it says anything. */
const HEADERS_TIMEOUT_MS = 600_000;
export interface UpstreamCall {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly signal: AbortSignal;
  /** How the provider is reached. */
  readonly way: Pick<Provider, "proxy" | "ca">;
}

/** The address below a base URL; a query of the base URL stays, before this one's. */
export function urlBelow(baseUrl: string, path: string, query = ""): URL {
  const url = new URL(baseUrl);
  url.pathname = url.pathname.replace(/\/+$/, "") + path;
  if (query !== "") url.search = url.search === "" ? query : `${url.search}&${query}`;
  return url;
}

/**
 * Sends a request and resolves with the answer's head; redirects are not followed. Rejects with an
 * UpstreamFailure, or with the signal's reason.
 */
export async function callUpstream(call: UpstreamCall): Promise<http.IncomingMessage> {
  call.signal.throwIfAborted();
  try {
    return await send(call);
  } catch (error) {
    call.signal.throwIfAborted();
    if (!(error instanceof StaleConnection)) throw error;
    // The provider had closed a kept connection just as we used it, so all but certainly it saw nothing of the request.
    return await send(call);
  }
}

class StaleConnection extends UpstreamFailure {}

async function send(call: UpstreamCall): Promise<http.IncomingMessage> {
  return await new Promise((resolve, reject) => {
    const { isTls, headers, ...options } = wayTo(call.url, call.way);
    const request = (isTls ? https : http).request(call.url, {
      method: call.method,
      headers: { ...headersOf(call), ...headers },
      signal: call.signal,
      ...options,
    });
    const progress = { connected: false };
    const stopTimers = limitWaiting(request, { call, isTls, progress });
    request.once("response", (response) => {
      stopTimers();
      resolve(response);
    });
    // Stays after the answer's head: a later error of the request also reaches the answer's reader.
    request.on("error", (error) => {
      stopTimers();
      reject(failureOf(error, { url: call.url, connected: progress.connected, reused: request.reusedSocket }));
    });
    request.end(call.body);
  });
}

function headersOf(call: UpstreamCall): Record<string, string> {
  // Compressed bytes could be neither redacted nor counted.
  const headers = { "user-agent": "runyard", ...call.headers, "accept-encoding": "identity" };
  return call.body === null ? headers : { ...headers, "content-length": String(call.body.length) };
}

interface Waiting {
  readonly call: UpstreamCall;
  readonly isTls: boolean;
  readonly progress: { connected: boolean };
}

/** Ends a request that does not connect, or is not answered, in time. */
function limitWaiting(request: http.ClientRequest, { call, isTls, progress }: Waiting): () => void {
  const { origin } = call.url;
  const failAfter = (ms: number, options: { sent: boolean; what: string }): NodeJS.Timeout =>
    setTimeout(
      () => request.destroy(new UpstreamFailure(`The model provider at ${origin} ${options.what} within ${ms / 1_000} seconds.`, options)),
      ms,
    );
  const answerTimer = failAfter(HEADERS_TIMEOUT_MS, { sent: true, what: "did not answer" });
  // From the beginning: before there is a socket, a proxy may be spoken to.
  const connectTimer = failAfter(CONNECT_TIMEOUT_MS, { sent: false, what: "could not be reached" });
  request.once("socket", (socket) => {
    progress.connected = request.reusedSocket;
    if (request.reusedSocket) return clearTimeout(connectTimer);
    socket.once(isTls ? "secureConnect" : "connect", () => {
      progress.connected = true;
      clearTimeout(connectTimer);
    });
  });
  return () => {
    clearTimeout(answerTimer);
    clearTimeout(connectTimer);
  };
}

function failureOf(error: Error, facts: { url: URL; connected: boolean; reused: boolean }): Error {
  if (error instanceof UpstreamFailure) return error;
  const code = "code" in error ? String(error.code) : "";
  if (facts.reused && (code === "ECONNRESET" || code === "EPIPE"))
    return new StaleConnection("The connection was closed.", { sent: true, cause: error });
  const { origin } = facts.url;
  const message = facts.connected
    ? `The model provider at ${origin} broke the connection off before it answered: ${wordsFor(code, error)}.`
    : `The model provider at ${origin} could not be reached: ${wordsFor(code, error)}.`;
  return new UpstreamFailure(message, { sent: facts.connected, cause: error });
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  EPIPE: "the connection was closed",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "its name could not be looked up just now",
  ETIMEDOUT: "it took too long",
  EHOSTUNREACH: "there is no way to that host",
  ENETUNREACH: "there is no way to that network",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate chain is self-signed",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate could not be verified",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the issuer of its certificate is not known here",
  CERT_HAS_EXPIRED: "its certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

/** Why a connection failed, in plain words. */
export function wordsFor(code: string, error: Error): string {
  return WORDS[code] ?? (error.message || code || "no reason was given");
}
