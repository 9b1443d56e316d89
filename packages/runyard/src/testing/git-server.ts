import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A server of git repositories on the loopback: git's own `http-backend`, behind what can go wrong in front of it. */
export interface GitServer {
  /** `http://127.0.0.1:port`, or with `https`. */
  readonly url: string;
  readonly port: number;
  /** Everything that was asked, in order. */
  readonly requests: readonly GitRequest[];
  /** How it behaves; may be changed at any time. */
  readonly ways: GitServerWays;
  /** Makes a bare repository `acme/app.git` of the branches of a repository, and gives its folder. */
  add(name: string, from?: string): string;
  close(): Promise<void>;
}

export interface GitRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
}

export interface GitServerWays {
  /** User and password that it asks for; null: it asks for none. */
  login: { readonly username: string; readonly password: string } | null;
  /** An answer of its own to a request, in place of git's; true: it answered. */
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  /** Waits before it answers the request with the pack. */
  slowMs: number;
  /** Breaks off an answer behind so many bytes; null: never. */
  cutAfter: number | null;
  /** Looks at what a push did, and may take the answer away: false leaves the client without one. */
  afterPush: (() => boolean) | null;
}

export async function startGitServer(options: {
  /** Where its repositories lie. */
  readonly root: string;
  /** Key and certificate, in PEM; left out: it speaks http. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly host?: string;
}): Promise<GitServer> {
  const { root, tls } = options;
  mkdirSync(root, { recursive: true });
  const requests: GitRequest[] = [];
  const ways: GitServerWays = { login: null, answer: null, slowMs: 0, cutAfter: null, afterPush: null };
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const { method = "", url = "", headers } = request;
    requests.push({ method, url, authorization: headers.authorization });
    if (ways.answer?.(request, response) === true) return;
    if (ways.login !== null && headers.authorization !== basic(ways.login)) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end("who is there?\n");
      return;
    }
    void backend({ root, ways }, request, response).catch(() => response.destroy());
  };
  const server = tls === undefined ? http.createServer(serve) : https.createServer(tls, serve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? "http" : "https"}://${options.host ?? "127.0.0.1"}:${port}`,
    port,
    requests,
    ways,
    add(name, from) {
      const dir = path.join(root, name);
      const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };
      mkdirSync(path.dirname(dir), { recursive: true });
      const words =
        from === undefined ? ["init", "--quiet", "--bare", "--initial-branch=main", dir] : ["clone", "--quiet", "--bare", from, dir];
      execFileSync("git", words, { env, stdio: ["ignore", "ignore", "pipe"] });
      execFileSync("git", ["--git-dir", dir, "config", "http.receivepack", "true"], { env });
      return dir;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

async function backend(
  { root, ways }: { readonly root: string; readonly ways: GitServerWays },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, search } = new URL(request.url ?? "/", "http://localhost");
  if (ways.slowMs > 0 && request.method === "POST") await sleep(ways.slowMs);
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env["PATH"],
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_PROTOCOL: headerOf(request, "git-protocol"),
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: headerOf(request, "content-type"),
      HTTP_CONTENT_ENCODING: headerOf(request, "content-encoding"),
      ...(request.headers["content-length"] !== undefined && { CONTENT_LENGTH: request.headers["content-length"] }),
      REMOTE_USER: "somebody",
      REMOTE_ADDR: "127.0.0.1",
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.stdin.on("error", () => undefined);
  request.pipe(child.stdin);
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout) chunks.push(chunk as Buffer);
  const output = Buffer.concat(chunks);
  const end = output.indexOf("\r\n\r\n");
  const headers = output.toString("latin1", 0, end).split("\r\n");
  const status = Number(/^Status: (\d+)/m.exec(headers.join("\n"))?.[1] ?? 200);
  const body = output.subarray(end + 4);
  if (pathname.endsWith("/git-receive-pack") && request.method === "POST" && ways.afterPush?.() === false) return void response.destroy();
  const named = headers.filter((line) => !line.startsWith("Status:")).map((line) => line.split(": ", 2) as [string, string]);
  response.writeHead(status, Object.fromEntries(named));
  if (ways.cutAfter === null || body.length <= ways.cutAfter) return void response.end(body);
  response.write(body.subarray(0, ways.cutAfter));
  setTimeout(() => response.destroy(), 20);
}

function headerOf(request: IncomingMessage, name: string): string {
  return String(request.headers[name] ?? "");
}
