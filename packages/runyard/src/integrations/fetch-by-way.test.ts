import { once } from "node:events";
import http, { type RequestListener } from "node:http";
import https from "node:https";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { openRepositoryProxy } from "../gateway/repository-proxy.ts";
import { TEST_CA, TEST_SERVER } from "../gateway/testing/certificates.ts";
import { fetchByWay } from "./fetch-by-way.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(listener: RequestListener, tls?: { readonly key: string; readonly cert: string }): Promise<number> {
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}
async function fetcher(allowed: readonly string[], more: { ca?: string; signal?: AbortSignal } = {}): Promise<typeof fetch> {
  const proxy = await openRepositoryProxy({ allowed });
  closing.push(() => proxy.close());
  const signal = more.signal ?? new AbortController().signal;
  return fetchByWay({ openWay: (target) => proxy.admit(target), extraCertificates: more.ca ?? null, signal });
}

test("a call goes through the proxy to a host that is allowed, and its answer comes back whole", async () => {
  const seen: unknown[] = [];
  const port = await serve((request, response) => {
    const { method, url, headers } = request;
    void request.toArray().then((chunks) => {
      seen.push({
        method,
        url,
        host: headers.host,
        secret: headers.authorization,
        way: headers["proxy-authorization"],
        body: Buffer.concat(chunks as Buffer[]).toString(),
      });
      response.writeHead(201, { "content-type": "application/json", "x-two": ["a", "b"] }).end('{"ok":true}');
    });
  });
  const call = await fetcher([`127.0.0.1:${port}`]);
  const answer = await call(`http://127.0.0.1:${port}/a?b=c`, { method: "POST", body: "{}", headers: { authorization: "Bearer x" } });
  expect([answer.status, answer.headers.get("x-two"), await answer.json()]).toEqual([201, "a, b", { ok: true }]);
  expect(seen).toEqual([{ method: "POST", url: "/a?b=c", host: `127.0.0.1:${port}`, secret: "Bearer x", way: undefined, body: "{}" }]);
});

test("an address that is not public is refused unless somebody allowed it", async () => {
  let calls = 0;
  const port = await serve((_, response) => void response.end(String((calls += 1))));
  const refused = await fetcher([]);
  await expect(refused(`http://127.0.0.1:${port}/`)).rejects.toThrow("it is an address that is not public");
  await expect(refused("https://169.254.169.254/")).rejects.toThrow("it is an address that is not public");
  expect(calls).toBe(0);
});

test.each(["https", "http"])("a call by %s that is broken off before anybody was reached leaves no connection", async (scheme) => {
  // Its name is asked for, and nobody ever answers.
  const asked: string[] = [];
  const proxy = await openRepositoryProxy({ allowed: [], resolve: (name) => void asked.push(name) });
  closing.push(() => proxy.close());
  const open = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;
  await expect.poll(open).toBe(0);
  const leaving = new AbortController();
  const call = fetchByWay({ openWay: (target) => proxy.admit(target), extraCertificates: null, signal: leaving.signal });
  const failed = call(`${scheme}://slow.example/`).catch(String);
  await expect.poll(() => asked).toEqual(["slow.example"]);
  expect(open()).toBeGreaterThan(0);
  leaving.abort();
  expect(await failed).toContain("it took too long");
  await expect.poll(open).toBe(0);
});

test("by https the certificate must be the host's", async () => {
  const port = await serve((_, response) => void response.end("private"), TEST_SERVER);
  const url = `https://localhost:${port}/`;
  await expect((await fetcher(["localhost"]))(url)).rejects.toThrow(/certificate/);
  const answer = await (await fetcher(["localhost"], { ca: TEST_CA }))(url);
  expect(await answer.text()).toBe("private");
  const another = await fetcher(["127.0.0.1"], { ca: TEST_CA });
  await expect(another(`https://127.0.0.1:${port}/`)).rejects.toThrow(/certificate|altnames/);
});

const JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
test.each<[string, (socket: Socket) => void, number | RegExp]>([
  [
    "interim ones, and then its answer",
    (to) => to.end(`${"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50)}${JSON_HEAD}content-length: 2\r\n\r\n{}`),
    200,
  ],
  ["another protocol", (to) => to.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), /broke/],
  ["a status that is none", (to) => to.end("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"), /./],
  ["no status", (to) => to.end("HTTP/1.1 OK\r\n\r\n"), /./],
  ["no HTTP", (to) => to.end("SSH-2.0-OpenSSH_9.9\r\n"), /./],
  ["nothing", (to) => to.end(), /./],
  ["a reset", (to) => to.resetAndDestroy(), /./],
  ["a body behind a status that has none", (to) => to.end("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello"), 304],
  ["two lengths", (to) => to.end(`${JSON_HEAD}content-length: 2\r\ncontent-length: 5\r\n\r\n{}`), /./],
  ["more than it said", (to) => to.end(`${JSON_HEAD}content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{x}`), /./],
  ["endless headers", (to) => to.end(`${JSON_HEAD}x: ${"y".repeat(1 << 20)}\r\n\r\n`), /./],
  ["a chunk that is cut", (to) => to.end(`${JSON_HEAD}transfer-encoding: chunked\r\n\r\n5\r\n{"a"`), /./],
  ["100 MB", (to) => to.end(Buffer.concat([Buffer.from(`${JSON_HEAD}\r\n`), Buffer.alloc(100_000_000, " ")])), /bytes|more than|sent/],
  ["what says that it is compressed", (to) => to.end(`${JSON_HEAD}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}`), 200],
])("an answer that is %s is an answer or an error, and breaks nothing", async (_, answer, expected) => {
  const server = createNetServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => answer(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const call = await fetcher([`127.0.0.1:${port}`]);
  const came = await call(`http://127.0.0.1:${port}/`).catch((error: unknown) => String(error));
  if (typeof expected === "number") expect((came as Response).status).toBe(expected);
  else expect(typeof came === "string" ? came : `${came.status}`).toMatch(expected);
});

test("a redirect is an answer, a broken one is an error, and whoever waits can break off", async () => {
  const leaving = new AbortController();
  const port = await serve((request, response) => {
    if (request.url === "/moved") return void response.writeHead(301, { location: "http://127.0.0.1:1/" }).end();
    if (request.url === "/none") return void response.writeHead(204).end();
    if (request.url === "/slow") return leaving.abort();
    response.writeHead(200, { "content-length": "100" }).write("half", () => response.destroy());
  });
  const call = await fetcher([`127.0.0.1:${port}`], { signal: leaving.signal });
  const url = (path: string): string => `http://127.0.0.1:${port}/${path}`;
  expect((await call(url("moved"))).status).toBe(301);
  expect((await call(url("none"))).status).toBe(204);
  await expect(call(url("half"))).rejects.toThrow(/aborted|broke|ECONNRESET/);
  await expect(call(url("slow"))).rejects.toThrow("it took too long");
  await expect(call(url("moved"))).rejects.toThrow("it took too long");
});
