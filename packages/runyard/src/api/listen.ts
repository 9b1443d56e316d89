import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { ApiEnv } from "./context.ts";
import { newRequestId, notUnderstood, PROBLEM_TYPE, SECURITY_HEADERS } from "./problem.ts";
import { acceptWebSockets } from "./upgrade.ts";

export interface ListenAddress {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

export interface Listening {
  /** Where a browser of this machine finds the server. */
  readonly url: string;
  readonly port: number;
  /** Takes no new connections, ends the streams, lets open requests finish for a bounded time. */
  close(): Promise<void>;
}

export interface ListenOptions {
  fetch(request: Request, bindings: ApiEnv["Bindings"]): Response | Promise<Response>;
  isSocketPath(path: string): boolean;
  /** For what never reached `fetch`, or broke out of it. */
  onError(error: unknown): Response;
  onListening(port: number): void;
  /** Called once, before open requests are waited for. */
  onClosing(): void;
  readonly closeMs: number;
}

/** How long a client may take to send a request's head, and the whole of it. */
const HEAD_MS = 20_000;
const REQUEST_MS = 120_000;
/** How long a connection is kept for the next request: longer than proxies keep theirs, so that they never write into one that ends. */
const KEEP_MS = 65_000;

export async function listen(address: ListenAddress, options: ListenOptions): Promise<Listening> {
  // This puts the adapter's light Request and Response in the place of the global ones: twice the requests per second.
  const listener = getRequestListener(options.fetch as Parameters<typeof getRequestListener>[0], {
    errorHandler: options.onError,
  });
  const open = new Set<ServerResponse>();
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    open.add(outgoing);
    outgoing.once("close", () => open.delete(outgoing));
    void listener(incoming, outgoing);
  };
  // A missing Host is answered by us, as everything else is.
  const server = createServer(
    { requireHostHeader: false, headersTimeout: HEAD_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: KEEP_MS },
    handle,
  );
  server.on("checkExpectation", handle);
  server.on("clientError", refuseBytes);
  acceptWebSockets(server, options);
  await opened(server, address);
  const { port } = server.address() as AddressInfo;
  options.onListening(port);
  let closing: Promise<void> | undefined;
  return { url: urlOf(address.host, port), port, close: () => (closing ??= closed(server, open, options)) };
}

function opened(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(new Error(sentence(cause, address), { cause })));
    server.listen(address.port, address.host, resolve);
  });
}

function sentence(cause: NodeJS.ErrnoException, { host, port }: ListenAddress): string {
  if (cause.code === "EADDRINUSE")
    return `Port ${port} on ${host} is in use by another program. Choose another one with --port, or stop that program.`;
  if (cause.code === "EACCES") return `This user may not listen on port ${port}. Choose one from 1024 on.`;
  if (cause.code === "EADDRNOTAVAIL") return `${host} is not an address of this machine.`;
  return `Cannot listen on ${host} port ${port}: ${cause.message}`;
}

function urlOf(host: string, port: number): string {
  const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

async function closed(server: Server, open: ReadonlySet<ServerResponse>, options: ListenOptions): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  // Answers that begin from now on close their connections themselves; those that are on their way must be told.
  for (const response of open) {
    const { socket } = response;
    response.once("finish", () => socket?.destroySoon());
  }
  options.onClosing();
  const cut = setTimeout(() => server.closeAllConnections(), options.closeMs);
  await done;
  clearTimeout(cut);
}

/** Bytes that are no HTTP request, or not in time: an answer where none was begun, and the end. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) return void socket.destroy();
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const requestId = newRequestId();
  const body = JSON.stringify(notUnderstood(requestId, status));
  const headers = {
    ...SECURITY_HEADERS,
    "content-type": PROBLEM_TYPE,
    "content-length": Buffer.byteLength(body),
    "x-request-id": requestId,
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}
