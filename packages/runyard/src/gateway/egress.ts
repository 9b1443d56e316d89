import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type LookupFunction, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { allowsTarget, parseTarget, type Target } from "../core/egress.ts";
import { createRedactor } from "../redact.ts";
import { endToEndHeaders, framedHeaders } from "./end-to-end-headers.ts";
import { ForbiddenAddress } from "./guarded-lookup.ts";
import { headersFor, serveInjected } from "./inject.ts";
import { networksOf, publicLookup } from "./public-lookup.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";
import type { SecretUses } from "./secret-uses.ts";

/** An HTTP proxy for programs in sandboxes: to the hosts that their run is allowed, and nowhere else. */

const CONNECT_TIMEOUT_MS = 15_000;
/** A connection on which nothing goes for this long is ended. */
const IDLE_TIMEOUT_MS = 300_000;
/** So that one run cannot take all of the gateway; package managers make some dozens. */
const MAX_OPEN_OF_RUN = 256;
const REALM = { "proxy-authenticate": 'Basic realm="runyard"' };

export interface EgressOptions {
  /** The run of a token, or a Refusal that is thrown. */
  readonly authenticate: (tokens: readonly string[]) => LiveRun;
  /** Called for every target that is refused to a run that is known, once for each. */
  readonly onDenied: (run: LiveRun, denied: { readonly target: string; readonly reason: string }) => void;
  /** Counts what secrets are put into. */
  readonly uses: Pick<SecretUses, "count" | "settle">;
  readonly log: (message: string) => void;
  /** Default: as the system does. */
  readonly resolve?: LookupFunction;
}

export interface EgressProxy {
  /** A CONNECT: makes a tunnel. */
  tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A request for a whole URL, as proxies get them. Rejects with a Refusal. */
  forward(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Tunnels that are open. */
  readonly open: number;
  /** Ends them. */
  breakOff(): void;
}

/** True for what is asked of a proxy, and not of this server itself. */
export function isForProxy({ url = "" }: IncomingMessage): boolean {
  return !url.startsWith("/");
}

export function createEgress(options: EgressOptions): EgressProxy {
  const sockets = new Map<Socket, string>();
  /** What was refused to a run, by what ends it. */
  const denied = new WeakMap<AbortSignal, Set<string>>();
  const watched = new WeakSet<AbortSignal>();

  /** The target, if the run may reach it; throws a Refusal, and has it written down. */
  const admit = (run: LiveRun, named: { readonly target: Target | null; readonly text: string }): Target => {
    const { target } = named;
    const reason = target === null ? "no name of a host" : allowsTarget(run.egress, target) ? null : "not allowed to this run";
    if (target !== null && reason === null) return target;
    throw deny(run, named.text, reason ?? "no name of a host");
  };
  const deny = (run: LiveRun, text: string, reason: string): Refusal => {
    // What is cut off must not leave the beginning of a secret, which nobody would know any more.
    const hidden = createRedactor([run.token], run.secrets).text(text);
    const target = hidden.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 300);
    const before = denied.get(run.closed) ?? new Set();
    denied.set(run.closed, before);
    if (!before.has(`${target} ${reason}`) && before.size < MAX_DENIED) {
      before.add(`${target} ${reason}`);
      options.onDenied(run, { target, reason });
    }
    const message = `Runyard does not let this run reach ${target}: ${reason}. Whoever starts it can allow hosts with --egress.`;
    return new Refusal(403, "egress_denied", { message });
  };
  const enter = (run: LiveRun): void => {
    const open = [...sockets.values()].filter((runId) => runId === run.runId).length;
    if (open < MAX_OPEN_OF_RUN) return;
    const message = `This run has ${MAX_OPEN_OF_RUN} connections open, which is the most that it may have.`;
    throw new Refusal(429, "too_many_calls", { message, retryAfterSeconds: 5 });
  };
  /** Keeps count of a connection, and ends it with its run. */
  const watch = (run: LiveRun, socket: Socket): void => {
    sockets.set(socket, run.runId);
    socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
    socket.once("close", () => {
      sockets.delete(socket);
      options.uses.settle(run.runId);
    });
    if (watched.has(run.closed)) return;
    watched.add(run.closed);
    const endAll = (): void => {
      for (const [open, runId] of sockets) if (runId === run.runId) open.destroy();
    };
    run.closed.addEventListener("abort", endAll, { once: true });
  };
  const lookupFor = (run: LiveRun): LookupFunction => publicLookup(networksOf(run.egressNetworks), options.resolve);

  async function openTunnel(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const run = options.authenticate(proxyTokens(request));
    const text = request.url ?? "";
    const target = admit(run, { target: parseTarget(text, null), text });
    enter(run);
    if (headersFor(run.injected, target).length > 0) return inject(run, target, { client: client as Socket, head, text });
    const upstream = connect({ ...target, lookup: lookupFor(run), noDelay: true });
    watch(run, upstream);
    await reached(upstream, run, text);
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    if (head.length > 0) upstream.write(head);
    // Either side's end ends both: a half-open tunnel is of no use to TLS, and holds its place.
    await Promise.all([pipeline(client, upstream), pipeline(upstream, client)]).catch(() => undefined);
    upstream.destroy();
    client.destroy();
  }

  function inject(run: LiveRun, target: Target, { client, head, text }: { client: Socket; head: Buffer; text: string }): void {
    if (run.injected === undefined) return;
    watch(run, client);
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    if (head.length > 0) client.unshift(head);
    serveInjected({
      client,
      target,
      injected: run.injected,
      lookup: lookupFor(run),
      onUse: (use) => options.uses.count(run.runId, use),
      onForbidden: (reason) => deny(run, text, reason),
      log: options.log,
    });
  }

  /** Resolves when a connection is made; throws a Refusal. */
  async function reached(upstream: Socket, run: LiveRun, text: string): Promise<void> {
    const timer = setTimeout(() => upstream.destroy(new Error("it took too long to connect")), CONNECT_TIMEOUT_MS);
    try {
      await once(upstream, "connect");
      upstream.on("error", () => undefined);
    } catch (error) {
      throw unreachable(error, run, text);
    } finally {
      clearTimeout(timer);
    }
  }
  const unreachable = (error: unknown, run: LiveRun, text: string): Refusal => {
    if (error instanceof ForbiddenAddress) return deny(run, text, error.message);
    const { code, message } = error as NodeJS.ErrnoException;
    return new Refusal(502, "upstream_unreachable", { message: `${text} could not be reached: ${code ?? message}.` });
  };

  return {
    tunnel(request, socket, head) {
      socket.on("error", () => undefined);
      openTunnel(request, socket, head).catch((error: unknown) => {
        if (!(error instanceof Refusal)) options.log(`a tunnel failed: ${String(error)}`);
        const refusal =
          error instanceof Refusal ? error : new Refusal(500, "internal", { message: "Something went wrong in Runyard's gateway." });
        socket.end(refusalText(refusal));
      });
    },
    async forward(request, response) {
      const run = options.authenticate(proxyTokens(request));
      const text = request.url ?? "";
      const url = /^http:\/\/([^/?#]*)(.*)$/is.exec(text);
      const target = admit(run, { target: url === null ? null : parseTarget(url[1] ?? "", 80), text: url?.[1] ?? text });
      if (run.injected?.headers.some((header) => header.host === target.host) === true) {
        const message = `Runyard's gateway puts a header into what is sent to ${target.host}, which goes by https only: ask for https://${target.host}.`;
        throw new Refusal(403, "egress_denied", { message });
      }
      enter(run);
      const path = url?.[2]?.startsWith("/") === true ? url[2] : `/${url?.[2] ?? ""}`;
      const outgoing = http.request({
        ...target,
        path,
        method: request.method,
        headers: { ...framedHeaders(request), host: target.port === 80 ? target.host : `${target.host}:${target.port}` },
        agent: false,
        lookup: lookupFor(run),
      });
      outgoing.on("error", () => undefined);
      outgoing.once("socket", (socket) => watch(run, socket));
      response.once("close", () => outgoing.destroy());
      const timer = setTimeout(() => outgoing.destroy(new Error("it took too long to answer")), IDLE_TIMEOUT_MS);
      try {
        const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
        void pipeline(request, outgoing).catch(() => undefined);
        const [answer] = await answered;
        response.writeHead(answer.statusCode ?? 502, endToEndHeaders(answer.headers));
        await pipeline(answer, response);
      } catch (error) {
        if (response.headersSent || response.destroyed) response.destroy();
        else throw unreachable(error, run, url?.[1] ?? text);
      } finally {
        clearTimeout(timer);
      }
    },
    get open() {
      return sockets.size;
    },
    breakOff() {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}

/** Most targets of a run that are written down; a program that tries more of them tells nothing new. */
const MAX_DENIED = 200;

/** The run's token, as `http://run:<token>@…` in a proxy's URL becomes a header. */
function proxyTokens({ headers }: IncomingMessage): string[] {
  const [, scheme = "", value = ""] = /^(Basic|Bearer) (\S+)$/i.exec(headers["proxy-authorization"] ?? "") ?? [];
  if (value === "") return [];
  if (scheme.toLowerCase() === "bearer") return [value];
  const plain = Buffer.from(value, "base64").toString();
  return [plain.slice(plain.indexOf(":") + 1)];
}

/** The answer to a CONNECT that makes no tunnel. */
function refusalText({ status, message }: Refusal): string {
  const headers = { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(message) + 1, connection: "close" };
  const lines = Object.entries({ ...headers, ...(status === 407 && REALM) }).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? "Error"}\r\n${lines.join("\r\n")}\r\n\r\n${message}\n`;
}
