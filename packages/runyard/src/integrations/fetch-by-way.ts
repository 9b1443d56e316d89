import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";

/** A way to one host, through a proxy on the loopback that looks at the address that is called. */
export interface Way {
  readonly port: number;
  /** The password of this way; the user is `git`. */
  readonly token: string;
  /** What stood in the way. */
  readonly trouble: { readonly kind: string; readonly detail: string } | null;
  close(): void;
}

export interface WayOptions {
  readonly openWay: (target: {
    readonly protocol: "https" | "http";
    readonly host: string;
    readonly port: number;
    readonly maxBytes: number;
  }) => Way;
  /** Certificates, in PEM, of authorities that are trusted beside the usual ones; null: none. */
  readonly extraCertificates: string | null;
  /** Breaks off what is under way. */
  readonly signal: AbortSignal;
}

/** The host is at an address that is not called, however often it is tried. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused";
}

/** One call, from its beginning to the end of its answer. */
const CALL_MS = 20_000;
const MAX_ANSWER_BYTES = 8 * 1024 ** 2;

/**
 * A `fetch` for an API at an address that somebody gave: every call goes by a way of its own, to that host and no other, has an
 * end, and follows no redirect. Bodies are texts; answers are read whole.
 */
export function fetchByWay(options: WayOptions): typeof fetch {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const isTls = url.protocol === "https:";
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = Number(url.port || (isTls ? 443 : 80));
    const way = options.openWay({ protocol: isTls ? "https" : "http", host, port, maxBytes: MAX_ANSWER_BYTES });
    const ending = new AbortController();
    const end = (): void => ending.abort(new Error("it took too long"));
    const timer = setTimeout(end, CALL_MS);
    options.signal.addEventListener("abort", end, { once: true });
    if (options.signal.aborted) end();
    try {
      const answer = await call(url, init, { way, host, port, ca: options.extraCertificates, signal: ending.signal });
      // What the proxy answers itself is none of the host's.
      if (way.trouble !== null) throw new Error("it could not be reached");
      return answer;
    } catch (error) {
      if (way.trouble?.kind === "address-refused") throw new AddressRefused(way.trouble.detail);
      if (way.trouble !== null) throw new Error(way.trouble.detail, { cause: error });
      throw ending.signal.aborted ? ending.signal.reason : error;
    } finally {
      clearTimeout(timer);
      options.signal.removeEventListener("abort", end);
      way.close();
    }
  };
}

interface Place {
  readonly way: Way;
  readonly host: string;
  readonly port: number;
  readonly ca: string | null;
  readonly signal: AbortSignal;
}

async function call(url: URL, init: RequestInit, place: Place): Promise<Response> {
  const { way, signal } = place;
  const headers: Record<string, string> = { ...(init.headers as Record<string, string>), host: url.host };
  const proxy = { "proxy-authorization": `Basic ${Buffer.from(`git:${way.token}`).toString("base64")}` };
  const common = { method: init.method ?? "GET", signal };
  const request =
    url.protocol === "https:"
      ? https.request({ ...common, path: url.pathname + url.search, headers, createConnection: await tunnel(place, proxy) })
      : http.request({ ...common, agent: false, host: "127.0.0.1", port: way.port, path: url.href, headers: { ...headers, ...proxy } });
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve).once("error", reject);
    request.end(typeof init.body === "string" ? init.body : undefined);
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    if ((bytes += chunk.length) > MAX_ANSWER_BYTES) throw new Error(`its answer has more than ${MAX_ANSWER_BYTES} bytes`);
  }
  if (!answer.complete) throw new Error("the connection broke");
  const status = answer.statusCode ?? 502;
  const told = Object.entries(answer.headersDistinct).flatMap(([name, values]) =>
    (values ?? []).map((value): [string, string] => [name, value]),
  );
  const body = [204, 205, 304].includes(status) ? null : Buffer.concat(chunks);
  return new Response(body, { status, headers: told });
}

/** Connects through the proxy; the certificate must be the host's. */
async function tunnel({ way, host, port, ca, signal }: Place, headers: Record<string, string>): Promise<() => Duplex> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const socket = await new Promise<Duplex>((resolve, reject) => {
    const request = http.request({
      method: "CONNECT",
      host: "127.0.0.1",
      port: way.port,
      path: target,
      headers: { ...headers, host: target },
      agent: false,
      signal,
    });
    request.once("connect", (answer, stream) =>
      answer.statusCode === 200 ? resolve(stream) : reject(new Error("it could not be reached")),
    );
    request.once("error", reject);
    request.end();
  });
  const trusted = ca === null ? {} : { ca: [...tls.rootCertificates, ca] };
  // An address has no name that could be asked for.
  return () => tls.connect({ socket, ...(isIP(host) === 0 && { servername: host }), host, ...trusted });
}
