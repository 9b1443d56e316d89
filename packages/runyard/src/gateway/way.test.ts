import http from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { Provider } from "./protocol.ts";
import { call, QUESTION } from "./testing/caller.ts";
import { TEST_CA, TEST_SERVER } from "./testing/certificates.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, delta, DONE, FINISH, openaiAt, type SeenRequest, useProviders } from "./testing/provider.ts";

const { shared } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-way-1234567890";
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(server: http.Server | https.Server | net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    if ("closeAllConnections" in server) server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A provider on TLS: what it gets goes to one that answers well. */
async function startTlsProvider(): Promise<{ port: number; seen: SeenRequest[] }> {
  const inner = await startProvider(answerWell);
  const { port: innerPort } = inner.server.address() as AddressInfo;
  const server = https.createServer(TEST_SERVER, (request, response) => {
    const { method, url: path, headers } = request;
    const forwarded = http.request({ host: "127.0.0.1", port: innerPort, method, path, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    request.pipe(forwarded);
  });
  return { port: await listen(server), seen: inner.seen };
}

interface TestProxy {
  readonly url: string;
  /** What it was asked, with the headers. */
  readonly asked: { line: string; headers: http.IncomingHttpHeaders }[];
}

/** A proxy that knows one host, whatever its name, and refuses everybody without this name and password. */
async function startProxy(target: () => number, allowed = "runner:pass word"): Promise<TestProxy> {
  const asked: TestProxy["asked"] = [];
  const mayPass = ({ method, url, headers }: http.IncomingMessage): boolean => {
    asked.push({ line: `${method} ${url}`, headers });
    return headers["proxy-authorization"] === `Basic ${Buffer.from(allowed).toString("base64")}`;
  };
  const server = http.createServer((request, response) => {
    if (!mayPass(request)) return void response.writeHead(407).end();
    const { pathname } = new URL(request.url ?? "");
    const forwarded = http.request(
      { host: "127.0.0.1", port: target(), method: request.method, path: pathname, headers: request.headers, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(forwarded);
  });
  server.on("connect", (request, socket) => {
    socket.on("error", () => undefined);
    if (!mayPass(request)) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const upstream = net.connect(target(), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
  });
  const port = await listen(server);
  return { url: `http://runner:pass%20word@127.0.0.1:${port}`, asked };
}

async function openWith(provider: Partial<Provider>): Promise<{ host: TestHost; runId: string; ask(): ReturnType<typeof call> }> {
  const { host, gateway } = await shared();
  await gateway.setProviders([{ ...openaiAt({ baseUrl: "https://provider.test/v1", apiKey: KEY, model: "m" }), ...provider }]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, runId: run.runId, ask: () => call(gateway, { token: run.token, body: { ...QUESTION, stream: true } }) };
}

const WELL = delta("Hello ") + delta("world") + FINISH + DONE;

test("an authority of one's own vouches for a provider, and for none that is not told of it", async () => {
  const { port, seen } = await startTlsProvider();
  const baseUrl = `https://localhost:${port}/v1`;
  const { ask } = await openWith({ baseUrl, ca: TEST_CA });
  expect(await ask()).toMatchObject({ status: 200, body: WELL });
  expect(seen).toHaveLength(1);
  const untold = await openWith({ baseUrl });
  expect(await untold.ask()).toMatchObject({ status: 503, body: expect.stringContaining("could not be verified") });
  expect(seen).toHaveLength(1);
});

test("https goes through the proxy in a tunnel, which is kept for the next call", async () => {
  const { port, seen } = await startTlsProvider();
  const proxy = await startProxy(() => port);
  const { host, runId, ask } = await openWith({ proxy: proxy.url, ca: TEST_CA });
  expect(await ask()).toMatchObject({ status: 200, body: WELL });
  expect(await ask()).toMatchObject({ status: 200, body: WELL });
  expect(proxy.asked.map(({ line }) => line)).toEqual(["CONNECT provider.test:443"]);
  expect(JSON.stringify(proxy.asked)).not.toContain(KEY);
  expect(seen.map((request) => [request.url, request.headers.authorization, request.headers["proxy-authorization"]])).toEqual([
    ["/v1/chat/completions", `Bearer ${KEY}`, undefined],
    ["/v1/chat/completions", `Bearer ${KEY}`, undefined],
  ]);
  expect(host.closes(runId)).toMatchObject([{ ok: true }, { ok: true }]);
});

test("http is given to the proxy itself", async () => {
  const inner = await startProvider(answerWell);
  const proxy = await startProxy(() => (inner.server.address() as AddressInfo).port);
  const { ask } = await openWith({ baseUrl: "http://provider.test:8080/v1", proxy: proxy.url });
  expect(await ask()).toMatchObject({ status: 200, body: WELL });
  expect(proxy.asked).toMatchObject([
    { line: "POST http://provider.test:8080/v1/chat/completions", headers: { host: "provider.test:8080" } },
  ]);
});

test("a proxy that refuses, or that is not there, is told in words without its password", async () => {
  const proxy = await startProxy(() => 1, "somebody:else");
  const refused = await openWith({ proxy: proxy.url });
  const answer = await refused.ask();
  expect(answer.status).toBe(503);
  const { origin } = new URL(proxy.url);
  expect(answer.body).toContain(`The proxy at ${origin} answered 407 when it was asked to connect to provider.test:443.`);
  const away = await openWith({ proxy: "http://runner:pass%20word@127.0.0.1:1" });
  const unreachable = await away.ask();
  expect(unreachable).toMatchObject({ status: 503, body: expect.stringContaining("The proxy at http://127.0.0.1:1 could not be reached") });
  expect(answer.body + unreachable.body).not.toMatch(/pass|runner/);
  expect(away.host.closes(away.runId)).toMatchObject([{ status: null, ok: false }]);
});
