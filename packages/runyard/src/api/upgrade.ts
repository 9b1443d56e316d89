import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { ApiEnv } from "./context.ts";

/** Clients have nothing to say. */
const MAX_MESSAGE_BYTES = 1_024;

interface UpgradeOptions {
  /** Whether a path speaks WebSocket; on others the wish is passed over. */
  isSocketPath(path: string): boolean;
  fetch(request: Request, bindings: ApiEnv["Bindings"]): Response | Promise<Response>;
  onError(error: unknown): Response;
}

/**
 * Lets handlers take a connection over as a WebSocket: such a request goes the way of every other one
 * first, so that all its checks hold; where the handler does not take it, it gets the ordinary answer.
 * Offers of other protocols (many clients offer HTTP/2 with each request) are passed over, as HTTP says.
 */
export function acceptWebSockets(server: Server, options: UpgradeOptions): void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false, clientTracking: false });
  server.on("upgrade", (incoming, socket, head) => {
    const isWanted = incoming.method === "GET" && incoming.headers.upgrade?.toLowerCase() === "websocket";
    if (!isWanted || !options.isSocketPath(pathOf(incoming))) return readAgain(server, { incoming, socket, head });
    socket.on("error", () => socket.destroy());
    let isTaken = false;
    const upgrade = (onOpen: (opened: WebSocket) => void): boolean => {
      isTaken = true;
      let isOpen = false;
      // It answers what is no handshake itself, and calls back at once for what is one.
      sockets.handleUpgrade(incoming, socket, head, (opened) => {
        isOpen = true;
        onOpen(opened);
      });
      return isOpen;
    };
    answer(incoming, options, upgrade)
      .catch((error: unknown) => options.onError(error))
      .then((response) => (isTaken ? undefined : writeResponse(socket, response)))
      .catch(() => socket.destroy());
  });
}

async function answer(
  incoming: IncomingMessage,
  options: UpgradeOptions,
  upgrade: NonNullable<ApiEnv["Bindings"]["upgrade"]>,
): Promise<Response> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headersDistinct)) for (const one of value ?? []) headers.append(name, one);
  const request = new Request(`http://${incoming.headers.host ?? "nobody"}${incoming.url}`, { headers });
  return options.fetch(request, { incoming, upgrade });
}

function pathOf(incoming: IncomingMessage): string {
  return (incoming.url ?? "").split("?", 1)[0] ?? "";
}

/** Gives the connection back to the parser, with a request that offers nothing. */
function readAgain(server: Server, request: { readonly incoming: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }): void {
  const { incoming, socket, head } = request;
  const lines = [`${incoming.method} ${incoming.url} HTTP/${incoming.httpVersion}`];
  const offered = /^(upgrade|http2-settings)$/i;
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    const [name = "", value = ""] = incoming.rawHeaders.slice(i, i + 2);
    if (offered.test(name)) continue;
    const tokens = /^connection$/i.test(name) ? value.split(",").filter((token) => !offered.test(token.trim())) : [value];
    if (tokens.length > 0) lines.push(`${name}: ${tokens.join(",")}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]));
  server.emit("connection", socket);
}

async function writeResponse(socket: Duplex, response: Response): Promise<void> {
  const headers = [...response.headers, ["connection", "close"]].map(([name, value]) => `${name}: ${value}`);
  const body = Buffer.from(await response.arrayBuffer());
  const head = [`HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ""}`, ...headers, `content-length: ${body.length}`];
  socket.end(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`, "latin1"), body]));
}
