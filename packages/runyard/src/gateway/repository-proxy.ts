import { randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, isIP, type LookupFunction, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type AllowedHosts, isHostAllowed } from "../core/repository-hosts.ts";
import { parseHost } from "../core/repository-url.ts";
import { endToEndHeaders, framedHeaders } from "./end-to-end-headers.ts";
import { checkHost, ForbiddenAddress, guardedLookup } from "./guarded-lookup.ts";
import { isPublic, publicLookup } from "./public-lookup.ts";

/**
 * The way of the server's own git to other machines: an HTTP proxy on the loopback, which lets one command reach one host,
 * looks at the address that is called, and counts what comes from there.
 */

const CONNECT_TIMEOUT_MS = 15_000;
/** A connection on which nothing goes for this long is ended. */
const IDLE_TIMEOUT_MS = 300_000;

export interface RepositoryTarget {
  readonly protocol: "https" | "http" | "ssh";
  readonly host: string;
  readonly port: number;
  /** Most bytes that may come from there. */
  readonly maxBytes: number;
}

/** What stood in a command's way, for programs and as half a sentence. */
export interface DialTrouble {
  readonly kind: "address-refused" | "unreachable" | "other-host" | "too-large";
  readonly detail: string;
}

/** One command's way to its host. */
export interface RepositoryWay {
  readonly port: number;
  /** The password of this way; the user is `git`. */
  readonly token: string;
  readonly trouble: DialTrouble | null;
  /** Ends its connections, and the way. */
  close(): void;
}

export interface RepositoryProxy {
  admit(target: RepositoryTarget): RepositoryWay;
  close(): Promise<void>;
}

interface Admission {
  readonly target: RepositoryTarget;
  readonly token: string;
  readonly sockets: Set<Duplex>;
  received: number;
  trouble: DialTrouble | null;
}

/** Opens the proxy on a free port. `allowed`: hosts that may be at whatever address but a link-local one. */
export async function openRepositoryProxy(options: {
  readonly allowed: AllowedHosts;
  /** Default: as the system does. */
  readonly resolve?: LookupFunction;
}): Promise<RepositoryProxy> {
  const admissions = new Set<Admission>();
  const server = http.createServer();
  // A pack that somebody sends may take its time.
  server.requestTimeout = 0;
  /** What has become a tunnel, or was refused one, is no request to the server any more. */
  const clients = new Set<Socket>();
  server.on("connection", (client) => {
    clients.add(client);
    client.once("close", () => clients.delete(client));
  });
  server.on("connect", (request: IncomingMessage, client: Duplex, head: Buffer) => {
    client.on("error", () => undefined);
    const admission = admissionOf(request);
    if (admission === null) return void client.end("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n");
    void tunnel(admission, { client, head, text: request.url ?? "" }).catch(() => client.destroy());
  });
  server.on("request", (request, response) => {
    const admission = admissionOf(request);
    if (admission === null) return void response.writeHead(407, { "proxy-authenticate": "Basic" }).end();
    void forward(admission, request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  function admissionOf({ headers }: IncomingMessage): Admission | null {
    const [, value = ""] = /^Basic (\S+)$/i.exec(headers["proxy-authorization"] ?? "") ?? [];
    const told = Buffer.from(Buffer.from(value, "base64").toString().replace(/^git:/, ""));
    const found = [...admissions].find(({ token }) => token.length === told.length && timingSafeEqual(Buffer.from(token), told));
    return found ?? null;
  }

  /** A connection to the host of an admission, counted. Null: it is not to be had, and the admission says why. */
  async function dial(admission: Admission, place: { readonly host: string; readonly port: number }): Promise<Socket | null> {
    const { host } = place;
    try {
      const isAllowed = isHostAllowed(options.allowed, place);
      if (isAllowed) checkHost(new URL(`http://${isIP(host) === 6 ? `[${host}]` : host}/`));
      else if (isIP(host) !== 0 && !isPublic(host)) throw new ForbiddenAddress("it is an address that is not public");
      const upstream = connect({
        host,
        port: place.port,
        noDelay: true,
        lookup: isAllowed ? guardedLookup : publicLookup(undefined, options.resolve),
      });
      admission.sockets.add(upstream);
      const gone = new AbortController();
      upstream.once("close", () => {
        admission.sockets.delete(upstream);
        // The way may be closed before there is a connection.
        gone.abort();
      });
      upstream.setTimeout(IDLE_TIMEOUT_MS, () => upstream.destroy());
      const timer = setTimeout(() => upstream.destroy(new Error("it took too long to connect")), CONNECT_TIMEOUT_MS);
      await once(upstream, "connect", { signal: gone.signal }).finally(() => clearTimeout(timer));
      upstream.on("error", () => undefined);
      upstream.on("data", (bytes: Buffer) => count(admission, bytes.length));
      return upstream;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      admission.trouble ??=
        error instanceof ForbiddenAddress
          ? { kind: "address-refused", detail: message }
          : { kind: "unreachable", detail: code === "ENOTFOUND" ? "there is no host of this name" : (code ?? message) };
      return null;
    }
  }

  function count(admission: Admission, bytes: number): void {
    admission.received += bytes;
    if (admission.received <= admission.target.maxBytes) return;
    admission.trouble ??= { kind: "too-large", detail: `more than ${admission.target.maxBytes} bytes` };
    for (const socket of admission.sockets) socket.destroy();
  }

  /** Notes that somebody was sent to a host that is not this command's. */
  function isElsewhere(admission: Admission, place: { readonly host: string; readonly port: number } | null, isTls: boolean): boolean {
    const { target } = admission;
    const isPlace = place?.host === target.host && place.port === target.port && isTls === (target.protocol !== "http");
    // The same host by https, where it was asked by http.
    const isSafer = place?.host === target.host && place.port === 443 && isTls && target.protocol === "http";
    if (isPlace || isSafer) return false;
    admission.trouble ??= { kind: "other-host", detail: place === null ? "another host" : `${place.host}:${place.port}` };
    return true;
  }

  async function tunnel(admission: Admission, wanted: { client: Duplex; head: Buffer; text: string }): Promise<void> {
    const { client, head, text } = wanted;
    const place = parseHost(text, 0);
    if (place === null || isElsewhere(admission, place, true)) return void client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    hold(admission, client);
    const upstream = await dial(admission, place);
    if (upstream === null) return void client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    if (head.length > 0) upstream.write(head);
    await Promise.all([pipeline(client, upstream), pipeline(upstream, client)]).catch(() => undefined);
    upstream.destroy();
    client.destroy();
  }

  function hold(admission: Admission, socket: Duplex): void {
    admission.sockets.add(socket);
    socket.once("close", () => admission.sockets.delete(socket));
  }

  async function forward(admission: Admission, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, authority = "", path = ""] = /^http:\/\/([^/?#@]*)(.*)$/is.exec(request.url ?? "") ?? [];
    const place = parseHost(authority, 80);
    if (place === null || isElsewhere(admission, place, false)) return void response.writeHead(403).end();
    hold(admission, response as unknown as Duplex);
    const upstream = await dial(admission, place);
    if (upstream === null) return void response.writeHead(502).end();
    const outgoing = http.request({
      path: path.startsWith("/") ? path : `/${path}`,
      method: request.method,
      headers: { ...framedHeaders(request), host: authority },
      createConnection: () => upstream,
    });
    outgoing.on("error", () => undefined);
    response.once("close", () => outgoing.destroy());
    // One that is answered with another protocol closes without an error.
    const closed = once(outgoing, "close").then((): never => {
      throw new Error("the connection broke");
    });
    const answered = Promise.race([once(outgoing, "response") as Promise<[IncomingMessage]>, closed]);
    void pipeline(request, outgoing).catch(() => undefined);
    try {
      const [answer] = await answered;
      response.writeHead(answer.statusCode ?? 502, endToEndHeaders(answer.headers));
      await pipeline(answer, response);
    } catch (error) {
      const { code = "the connection broke" } = error as NodeJS.ErrnoException;
      // So it is called where the command left before the end, for reasons of its own.
      if (code !== "ERR_STREAM_PREMATURE_CLOSE") admission.trouble ??= { kind: "unreachable", detail: code };
      response.destroy();
    } finally {
      upstream.destroy();
    }
  }

  return {
    admit(target) {
      const admission: Admission = { target, token: randomBytes(24).toString("hex"), sockets: new Set(), received: 0, trouble: null };
      admissions.add(admission);
      return {
        port,
        token: admission.token,
        get trouble() {
          return admission.trouble;
        },
        close() {
          admissions.delete(admission);
          for (const socket of admission.sockets) socket.destroy();
        },
      };
    },
    async close() {
      for (const { sockets } of admissions) for (const socket of sockets) socket.destroy();
      admissions.clear();
      for (const client of clients) client.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
