import { createHash } from "node:crypto";
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import https from "node:https";
import type { LookupFunction, Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import tls from "node:tls";
import type { Target } from "../core/egress.ts";
import { createRedactor, createStreamRedactor } from "../redact.ts";
import { bodyOf, endToEndHeaders, framedHeaders } from "./end-to-end-headers.ts";
import { ForbiddenAddress } from "./guarded-lookup.ts";
import type { Injected } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import { wordsFor } from "./upstream.ts";
import { type Certified, makeServerCertificate } from "./x509.ts";

/**
 * Puts headers into requests that programs in sandboxes make: their TLS ends here, with a certificate of the home's own
 * authority, each request is read and written anew, and goes out by TLS of the gateway's own.
 */

const CONNECT_TIMEOUT_MS = 15_000;
/** A connection on which nothing goes for this long is ended. */
const IDLE_TIMEOUT_MS = 300_000;

/** One tunnel that a program has asked for, to a host whose requests get headers. */
export interface InjectedTunnel {
  readonly client: Socket;
  readonly target: Target;
  readonly injected: Injected;
  readonly lookup: LookupFunction;
  /** Called for every request that goes out, once for each secret in it. */
  readonly onUse: (use: { readonly secret: string; readonly host: string }) => void;
  /** Called where the host's name stands for an address that must not be reached; its words are told. */
  readonly onForbidden: (reason: string) => Refusal;
  readonly log: (message: string) => void;
}

/** The headers that requests to a target get; none: it is a tunnel like any other. */
export function headersFor(injected: Injected | undefined, { host, port }: Target): Injected["headers"] {
  return (injected?.headers ?? []).filter((header) => header.host === host && header.port === port);
}

/** Serves a tunnel until its program ends it. The program has been told that it is open. */
export function serveInjected(tunnel: InjectedTunnel): void {
  const { client, target, injected } = tunnel;
  const way = { secureContext: trusting(injected.trusted), rejectUnauthorized: true };
  const agents = { kept: new https.Agent({ ...way, keepAlive: true }), fresh: new https.Agent(way) };
  const server = https.createServer(
    {
      ...certificateFor(injected.authority, target.host),
      ALPNProtocols: ["http/1.1"],
      SNICallback: (name, callback) => {
        if (name.toLowerCase() === target.host) callback(null);
        else callback(new Error("the name that was asked for is not the tunnel's"));
      },
      // What takes long to come is held back by nobody but its program; a connection on which nothing goes is ended elsewhere.
      requestTimeout: 0,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
    },
    (request, response) => answer(request, response, false),
  );
  server.timeout = IDLE_TIMEOUT_MS;
  server.on("checkContinue", (request, response) => answer(request, response, true));
  // A program that does not trust the certificate breaks off here.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  client.once("close", () => {
    for (const agent of Object.values(agents)) agent.destroy();
  });
  server.emit("connection", client);

  function answer(request: IncomingMessage, response: ServerResponse, isAwaited: boolean): void {
    response.on("error", () => undefined);
    pass(tunnel, { request, response, isAwaited, agents }).catch((error: unknown) => {
      if (response.destroyed) return;
      if (response.headersSent) return void response.destroy();
      if (!(error instanceof Refusal))
        tunnel.log(`a request with a header put in failed: ${error instanceof Error ? error.stack : String(error)}`);
      const { status, message } = error instanceof Refusal ? error : INTERNAL;
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
      response.end(`${message}\n`);
      // What is still sent has nobody to read it, and the answer is to be read.
      request.resume();
    });
  }
}

const INTERNAL = new Refusal(500, "internal", { message: "Something went wrong in Runyard's gateway." });

interface Passing {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The program waits to be told before it sends its body. */
  readonly isAwaited: boolean;
  /** `kept` is for requests without a body, which may be made again where a kept connection was closed meanwhile. */
  readonly agents: { readonly kept: https.Agent; readonly fresh: https.Agent };
}

async function pass(tunnel: InjectedTunnel, passing: Passing): Promise<void> {
  const { request, response } = passing;
  requirePlain(tunnel.target, request);
  const answer = await ask(tunnel, passing);
  // From here on what goes wrong at either end ends both.
  response.once("close", () => answer.destroy());
  const values = headersFor(tunnel.injected, tunnel.target).map(({ value }) => value);
  await relay(answer, response, { host: tunnel.target.host, values });
}

/** Throws a Refusal for what is not an ordinary request to the tunnel's own host. */
function requirePlain(target: Target, request: IncomingMessage): void {
  const refuse = (status: number, message: string): never => {
    throw new Refusal(status, "not_passed_on", {
      message: `${message} Runyard's gateway puts a header into what is sent to ${target.host}.`,
    });
  };
  const { host, upgrade } = request.headers;
  if (request.httpVersion !== "1.1") refuse(505, "Use HTTP/1.1.");
  if (request.method === "TRACE") refuse(405, "TRACE is not passed on.");
  if (request.url?.startsWith("/") !== true) refuse(400, "Ask for a path, as of a server.");
  const named = [target.host, `${target.host}:${target.port}`].includes(host?.toLowerCase() ?? "");
  if (!named || request.headersDistinct["host"]?.length !== 1) refuse(421, "The header host must name the host of the tunnel.");
  if (upgrade?.toLowerCase().includes("websocket") === true) refuse(501, "Websockets are not passed on.");
}

/** Sends the request anew, with the headers put in; resolves with the answer's head. */
async function ask(tunnel: InjectedTunnel, passing: Passing): Promise<IncomingMessage> {
  const { fresh, kept } = passing.agents;
  const isRepeatable = bodyOf(passing.request) === "none" && /^(?:GET|HEAD|OPTIONS)$/.test(passing.request.method ?? "");
  try {
    return await send(tunnel, passing, isRepeatable ? kept : fresh);
  } catch (error) {
    // The host had closed a kept connection just as it was used, so all but certainly it saw nothing of the request.
    if (error instanceof StaleConnection) return await send(tunnel, passing, fresh);
    throw error;
  }
}

class StaleConnection extends Error {}

function send(tunnel: InjectedTunnel, { request, response, isAwaited }: Passing, agent: https.Agent): Promise<IncomingMessage> {
  const { target, injected, lookup, onUse } = tunnel;
  const isSent = (): void => {
    clearTimeout(timer);
    for (const { secret } of headersFor(injected, target)) onUse({ secret, host: hostOf(target) });
  };
  let timer: NodeJS.Timeout;
  return new Promise((resolve, reject) => {
    const outgoing = https.request({
      ...target,
      servername: target.host,
      path: request.url,
      method: request.method,
      headers: outgoingHeaders(tunnel, request),
      agent,
      lookup,
    });
    const fail = (error: Error): void => {
      clearTimeout(timer);
      request.unpipe(outgoing);
      reject(failureOf(error, tunnel, outgoing));
    };
    timer = setTimeout(() => outgoing.destroy(new Error("it took too long to connect")), CONNECT_TIMEOUT_MS);
    outgoing.once("socket", (socket) => {
      // Before the host has shown who it is, nothing goes out.
      if (outgoing.reusedSocket) isSent();
      else socket.once("secureConnect", isSent);
    });
    // Stays after the head: a later error reaches whoever reads the answer.
    outgoing.on("error", fail);
    response.once("close", () => outgoing.destroy());
    outgoing.once("response", (answer) => {
      if (isAwaited && !isTold) response.setHeader("connection", "close");
      resolve(answer);
    });
    let isTold = false;
    outgoing.once("continue", () => {
      isTold = true;
      if (isAwaited) response.writeContinue();
    });
    if (isAwaited) outgoing.flushHeaders();
    if (bodyOf(request) === "none") outgoing.end();
    else request.pipe(outgoing);
  });
}

function outgoingHeaders({ target, injected }: InjectedTunnel, request: IncomingMessage): OutgoingHttpHeaders {
  const own = headersFor(injected, target).map(({ name, content }) => [name, content]);
  return {
    ...framedHeaders(request),
    // Compressed bytes could not be looked through.
    "accept-encoding": "identity",
    ...(Object.fromEntries(own) as Record<string, string>),
    host: hostOf(target),
  };
}

function hostOf({ host, port }: Target): string {
  return port === 443 ? host : `${host}:${port}`;
}

function failureOf(error: Error, { target, onForbidden }: InjectedTunnel, outgoing: ClientRequest): Error {
  if (error instanceof ForbiddenAddress) return onForbidden(error.message);
  const code = "code" in error ? String(error.code) : "";
  if (outgoing.reusedSocket && (code === "ECONNRESET" || code === "EPIPE")) return new StaleConnection("The connection was closed");
  const message = `${hostOf(target)} could not be reached: ${wordsFor(code, error)}.`;
  return new Refusal(502, "upstream_unreachable", { message });
}

async function relay(
  answer: IncomingMessage,
  response: ServerResponse,
  { host, values }: { readonly host: string; readonly values: readonly string[] },
): Promise<void> {
  const encoding = answer.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    answer.destroy();
    const message = `The answer of ${host} is compressed (${encoding}), although it was asked not to compress: Runyard's gateway cannot look it through for the secret that it put into the request.`;
    throw new Refusal(502, "bad_upstream_answer", { message });
  }
  const heads = createRedactor(values);
  const bodies = createStreamRedactor(values, { keepsLength: true });
  response.writeHead(answer.statusCode ?? 502, heads.json(endToEndHeaders(answer.headers)));
  const looked = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      const bytes = bodies.push(piece);
      if (bytes.length > 0) yield bytes;
    }
    const rest = bodies.end();
    if (rest.length > 0) yield rest;
  };
  // What broke in the middle must not look whole.
  await pipeline(answer, looked, response).catch(() => response.destroy());
}

const CERTIFICATE_DAYS = 30;
/** For as long a certificate is used anew. */
const KEPT_MS = 86_400_000;
const MAX_KEPT = 200;

const certificates = new Map<string, { readonly cert: string; readonly key: string; readonly madeAtMs: number }>();

/** A certificate for a host, made when it is first asked for. */
function certificateFor(authority: Certified, host: string): { readonly cert: string; readonly key: string } {
  const id = `${digestOf(authority.certificate)} ${host}`;
  const known = certificates.get(id);
  if (known !== undefined && Date.now() - known.madeAtMs < KEPT_MS) return { cert: known.cert, key: known.key };
  const { certificate: cert, key } = makeServerCertificate(authority, host, { days: CERTIFICATE_DAYS });
  for (const oldest of certificates.keys()) if (certificates.size >= MAX_KEPT) certificates.delete(oldest);
  certificates.set(id, { cert, key, madeAtMs: Date.now() });
  return { cert, key };
}

const contexts = new Map<string, tls.SecureContext>();

/** Made once: to read all certificates again for each connection would take longer than the handshake. */
function trusting(ca: string): tls.SecureContext {
  const id = digestOf(ca);
  const context = contexts.get(id) ?? tls.createSecureContext({ ca });
  if (contexts.size > 10) contexts.clear();
  contexts.set(id, context);
  return context;
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
