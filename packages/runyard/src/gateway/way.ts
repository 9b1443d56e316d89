import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { Provider } from "./protocol.ts";
import { UpstreamFailure } from "./upstream-failure.ts";

/** Providers close idle connections at their own times; a short idle time of ours rarely meets theirs. */
const IDLE_CONNECTION_MS = 4_000;
const AGENT_OPTIONS = { keepAlive: true, timeout: IDLE_CONNECTION_MS, autoSelectFamilyAttemptTimeout: 2_500 };

type Way = Pick<Provider, "proxy" | "ca">;

/** Options of a request that takes a provider's way. */
export interface WayOptions {
  /** Whether the connection that the request is made on begins with a handshake. */
  readonly isTls: boolean;
  readonly agent: http.Agent;
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocol?: string;
  readonly hostname?: string;
  readonly port?: string;
  readonly path?: string;
}

/** Kept for as long as the process lives: there are as many as there are ways. */
const agents = new Map<string, http.Agent>();

/** By a proxy, https goes through a tunnel, in which the proxy sees nothing; http is given to the proxy itself, as proxies expect it. */
export function wayTo(url: URL, { proxy, ca }: Way): WayOptions {
  const isTls = url.protocol === "https:";
  if (proxy === undefined || isTls)
    return { isTls, agent: agentOf(JSON.stringify([isTls, proxy, ca]), () => newAgent(isTls, { proxy, ca })) };
  const { protocol, hostname, port } = new URL(proxy);
  const isTlsProxy = protocol === "https:";
  return {
    isTls: isTlsProxy,
    agent: agentOf(`forward ${isTlsProxy}`, () => newAgent(isTlsProxy, {})),
    protocol,
    hostname: bare(hostname),
    port: port || (isTlsProxy ? "443" : "80"),
    path: url.href,
    headers: { host: url.host, ...proxyAuthorization(proxy) },
  };
}

function agentOf(key: string, make: () => http.Agent): http.Agent {
  const agent = agents.get(key) ?? make();
  agents.set(key, agent);
  return agent;
}

function newAgent(isTls: boolean, { proxy, ca }: Way): http.Agent {
  if (!isTls) return new http.Agent(AGENT_OPTIONS);
  // Made once: to read all certificates again for each connection would take longer than the handshake.
  const trusted = ca === undefined ? {} : { secureContext: tls.createSecureContext({ ca: [...tls.rootCertificates, ca] }) };
  const options = { ...AGENT_OPTIONS, ...trusted };
  return proxy === undefined ? new https.Agent(options) : new TunnelAgent(proxy, options);
}

/** Connects through an HTTP proxy by CONNECT. */
class TunnelAgent extends https.Agent {
  readonly #proxy: string;

  constructor(proxy: string, options: https.AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(options: tls.ConnectionOptions, callback: (error: Error | null, stream: Duplex) => void): undefined {
    const target = `${options.host?.includes(":") ? `[${options.host}]` : options.host}:${options.port}`;
    openTunnel(this.#proxy, target, {
      onOpen: (socket) => callback(null, tls.connect({ ...options, socket })),
      // Where there is an error, nobody asks for a stream.
      onFailure: callback as (error: Error) => void,
    });
  }
}

interface TunnelEnds {
  readonly onOpen: (socket: Duplex) => void;
  readonly onFailure: (error: Error) => void;
}

function openTunnel(proxy: string, target: string, { onOpen, onFailure }: TunnelEnds): void {
  const { protocol, hostname, port, origin } = new URL(proxy);
  const isTls = protocol === "https:";
  const request = (isTls ? https : http).request({
    method: "CONNECT",
    host: bare(hostname),
    port: port || (isTls ? 443 : 80),
    path: target,
    headers: { host: target, ...proxyAuthorization(proxy) },
    agent: false,
  });
  const fail = (what: string, cause?: unknown): void =>
    onFailure(new UpstreamFailure(`The proxy at ${origin} ${what}.`, { sent: false, cause }));
  request.once("connect", (answer, socket) => {
    if (answer.statusCode === 200) return onOpen(socket);
    socket.destroy();
    fail(`answered ${answer.statusCode} when it was asked to connect to ${target}`);
  });
  request.once("error", (error) => fail(`could not be reached: ${error.message}`, error));
  request.end();
}

function proxyAuthorization(proxy: string): Record<string, string> {
  const { username, password } = new URL(proxy);
  if (username === "" && password === "") return {};
  const words = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(words).toString("base64")}` };
}

/** An IPv6 address without its brackets. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
