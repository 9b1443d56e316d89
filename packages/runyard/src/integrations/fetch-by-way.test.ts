import { once } from "node:events";
import http, { type RequestListener } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
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
