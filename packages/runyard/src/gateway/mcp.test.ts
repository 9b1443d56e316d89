// MCP servers by way of the gateway: a real server and a real client, and servers that do what they should not.
import http from "node:http";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../process-identity.ts";
import { startMcpServer, type TestMcpServer } from "../testing/mcp-server.ts";
import type { Gateway } from "./client.ts";
import { ForbiddenAddress, guardedLookup } from "./guarded-lookup.ts";
import { createStreamRedactor } from "../redact.ts";
import { call } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { type SeenRequest, useProviders } from "./testing/provider.ts";

const { newHost, shared } = useHosts(afterAll);
const startUpstream = useProviders(afterAll);

const SECRET = 'sk-canary/0123456789"+=';
const AUTHORIZATION = `Bearer ${SECRET}`;

let host: TestHost;
let gateway: Gateway;
let server: TestMcpServer;
beforeAll(async () => {
  ({ host, gateway } = await shared());
  server = await startMcpServer();
});
afterAll(() => server?.close());

/** A run whose server `docs` is there. */
async function runWith(
  url: string,
  headers: Record<string, string> = { authorization: AUTHORIZATION },
): Promise<{ runId: string; token: string }> {
  const run = newRun();
  await gateway.openRun({ ...run, mcpServers: [{ name: "docs", url, headers }] });
  return run;
}

async function connected(token: string): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const url = new URL(`http://127.0.0.1:${gateway.tcpPort()}/mcp/docs`);
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  return client;
}

test("a real client speaks with a real server, which gets its own headers and not the run's token", async () => {
  const { token } = await runWith(server.url);
  const client = await connected(token);
  const said: unknown[] = [];
  client.fallbackNotificationHandler = async (notification) => void said.push(notification.params?.["data"]);
  expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(["shout", "fail", "headers"]);
  expect(await client.callTool({ name: "shout", arguments: { text: "hello" } })).toMatchObject({
    content: [{ type: "text", text: "HELLO" }],
  });
  expect(said).toEqual(["clears its throat"]);
  await client.close();

  expect(new Set(server.seen.map(({ headers }) => headers.authorization))).toEqual(new Set([AUTHORIZATION]));
  expect(new Set(server.seen.map(({ method }) => method))).toEqual(new Set(["POST", "GET"]));
  expect(server.seen.filter(({ headers }) => headers["mcp-session-id"] !== undefined).length).toBeGreaterThan(2);
  expect(JSON.stringify(server.seen)).not.toContain(token);
});

test("a header that a server tells does not reach the agent, nor any file", async () => {
  const { token } = await runWith(server.url);
  const client = await connected(token);
  const told = JSON.stringify(await client.callTool({ name: "headers", arguments: {} }));
  await client.close();
  expect(told).toContain("[redacted]");
  expect(told).not.toContain("canary");
  const files = readdirSync(host.home.root, { recursive: true, encoding: "utf8" }).map((name) => path.join(host.home.root, name));
  expect(files.filter((file) => statSync(file).isFile() && readFileSync(file).includes("canary"))).toEqual([]);
});

test("an answer comes as it is made, whole to its last byte, and is cut where it was cut", async () => {
  let go = (): void => undefined;
  const upstream = await startUpstream(async (request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "mcp-session-id": "s 1", "set-cookie": "a=b" });
    response.write("data: first\n\n");
    await new Promise<void>((resolve) => (go = resolve));
    if (request.text.includes("cut")) response.destroy();
    else response.end("data: last\n\n");
  });
  const { token } = await runWith(upstream.baseUrl);
  const ask = (body: unknown) =>
    call(gateway, { token, path: "/mcp/docs", body, onData: (piece) => void (piece.toString().includes("first") && go()) });
  const whole = await ask({ how: "whole" });
  expect(whole).toMatchObject({ status: 200, complete: true, body: "data: first\n\ndata: last\n\n" });
  expect(whole.headers).toMatchObject({ "content-type": "text/event-stream", "mcp-session-id": "s 1" });
  expect(whole.headers).not.toHaveProperty("set-cookie");
  expect(await ask({ how: "cut" })).toMatchObject({ status: 200, complete: false, body: "data: first\n\n" });
});

test("a long answer is sent at the agent's pace, and leaves nothing behind that waits", async () => {
  const piece = Buffer.alloc(65_536, "x");
  const upstream = await startUpstream(async (_, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    for (let sent = 0; sent < 256; sent += 1) if (!response.write(piece)) await once(response, "drain");
    response.end();
  });
  const { token } = await runWith(upstream.baseUrl);
  expect((await call(gateway, { token, path: "/mcp/docs", body: {} })).body).toHaveLength(256 * piece.length);
  const files = readdirSync(host.home.root, { recursive: true, encoding: "utf8" }).map((name) => path.join(host.home.root, name));
  // Node says so of more than ten listeners of one kind.
  const logs = files.filter((file) => statSync(file).isFile() && readFileSync(file).includes("MaxListenersExceededWarning"));
  expect(logs).toEqual([]);
});

test("what the agent sends is passed on but for what is the gateway's", async () => {
  const upstream = await startUpstream((_, response) => void response.writeHead(202).end());
  const { token } = await runWith(`${upstream.baseUrl}?key=k`, { "x-api-key": "an-api-key-of-its-own" });
  const headers = {
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2025-06-18",
    cookie: "a=b",
    "x-forwarded-for": "1.2.3.4",
  };
  for (const [method, body] of [
    ["POST", { a: 1 }],
    ["DELETE", ""],
  ] as const)
    expect(await call(gateway, { token, path: "/mcp/docs?x=y", method, headers, body })).toMatchObject({ status: 202, body: "" });
  const [post, remove] = upstream.seen as [SeenRequest, SeenRequest];
  expect([post.method, remove.method, post.url, post.body]).toEqual(["POST", "DELETE", "/v1?key=k", { a: 1 }]);
  expect(post.headers).toMatchObject({
    accept: headers.accept,
    "mcp-protocol-version": "2025-06-18",
    "x-api-key": "an-api-key-of-its-own",
  });
  for (const name of ["authorization", "cookie", "x-forwarded-for"]) expect(post.headers).not.toHaveProperty(name);
});

describe("is refused", () => {
  const problem = async (token: string, options: { path?: string; method?: string } = {}): Promise<unknown> => {
    const { status, body } = await call(gateway, { token, path: "/mcp/docs", body: {}, ...options });
    const { code, message } = (JSON.parse(body) as { error: { code: string; message: string } }).error;
    expect(message).not.toContain("canary");
    return [status, code];
  };

  test("a stranger, a server that the run does not have, and what is no method of MCP", async () => {
    const { token } = await runWith(server.url);
    expect(await problem(`${token}x`)).toEqual([401, "invalid_api_key"]);
    for (const asked of ["/mcp/other", "/mcp/", "/mcp/docs/below", "/mcp/..%2fdocs"])
      expect(await problem(token, { path: asked })).toEqual([404, "unknown_mcp_server"]);
    expect(await problem(token, { method: "PUT" })).toEqual([405, "method_not_allowed"]);
    // Another run's server is not this run's.
    const other = newRun();
    await gateway.openRun(other);
    expect(await problem(other.token)).toEqual([404, "unknown_mcp_server"]);
  });

  test("an address where clouds keep credentials, however it is written", async () => {
    for (const url of [
      "http://169.254.169.254/latest/",
      "http://2852039166/",
      "http://[::ffff:a9fe:a9fe]/",
      "http://[fd00:ec2::254]/",
      "http://[fe80::1]/",
      "http://[64:ff9b::a9fe:a9fe]/",
    ]) {
      const { token } = await runWith(url);
      expect([url, await problem(token)]).toEqual([url, [403, "forbidden_address"]]);
    }
  });

  test("a redirect, wherever it leads, and an answer that cannot be read", async () => {
    const upstream = await startUpstream((request, response) => {
      if (request.text.includes("gzip")) response.writeHead(200, { "content-encoding": "gzip" }).end("x");
      else response.writeHead(307, { location: server.url }).end();
    });
    const { token } = await runWith(upstream.baseUrl);
    const before = server.seen.length;
    expect(await problem(token)).toEqual([502, "bad_upstream_answer"]);
    expect(server.seen.length).toBe(before);
    const { status } = await call(gateway, { token, path: "/mcp/docs", body: { how: "gzip" } });
    expect(status).toBe(502);
  });

  test("a server that is not there, in words that do not say where it is", async () => {
    const closed = await startUpstream(() => undefined);
    await new Promise((resolve) => closed.server.close(resolve));
    const { token } = await runWith(closed.baseUrl);
    expect(await problem(token)).toEqual([503, "upstream_unreachable"]);
    const { body } = await call(gateway, { token, path: "/mcp/docs", body: {} });
    expect(body).toContain("nothing listens there");
    expect(body).not.toContain(new URL(closed.baseUrl).port);
  });
});

test("the end of a run, and an agent that leaves, end what is under way", async () => {
  const upstream = await startUpstream((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: x\n\n");
  });
  const { runId, token } = await runWith(upstream.baseUrl);
  const ended = call(gateway, { token, path: "/mcp/docs", method: "GET", onData: () => void gateway.closeRun(runId) });
  expect(await ended).toMatchObject({ complete: false });
  await expect.poll(() => upstream.seen[0]?.aborted).toBe(true);
  expect(await call(gateway, { token, path: "/mcp/docs", body: {} })).toMatchObject({ status: 401 });

  const again = await runWith(upstream.baseUrl);
  await new Promise<void>((resolve) => {
    const headers = { authorization: `Bearer ${again.token}` };
    const request = http.get({ host: "127.0.0.1", port: gateway.tcpPort(), path: "/mcp/docs", headers }, (response) => {
      response.on("error", () => undefined);
      response.once("data", () => resolve(void request.destroy()));
    });
    request.on("error", () => undefined);
  });
  await expect.poll(() => upstream.seen[1]?.aborted).toBe(true);
});

test("a gateway that is replaced waits for calls, and not for agents that only listen", async () => {
  const other = newHost();
  const first = await other.open();
  let finish = (): void => undefined;
  const upstream = await startUpstream((request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: begun\n\n");
    if (request.method === "POST") finish = () => void response.end("data: done\n\n");
  });
  const run = newRun();
  await first.openRun({ ...run, mcpServers: [{ name: "docs", url: upstream.baseUrl, headers: {} }] });
  const { pid } = await first.health();
  const begun = { token: run.token, path: "/mcp/docs" };
  const listening = call(first, { ...begun, method: "GET" });
  const calling = call(first, { ...begun, body: {} });
  await expect.poll(() => upstream.seen.length).toBe(2);
  const next = await other.open({ mark: "b" });
  expect((await next.health()).pid).not.toBe(pid);
  expect(await listening).toMatchObject({ complete: false });
  finish();
  expect(await calling).toMatchObject({ complete: true, body: "data: begun\n\ndata: done\n\n" });
  await expect.poll(() => identifyProcess(pid)).toBeNull();
  // What it was told, the next one knows.
  const again = call(next, { ...begun, body: {} });
  await expect.poll(() => upstream.seen.length).toBe(3);
  finish();
  expect(await again).toMatchObject({ status: 200, complete: true });
});

test("one run has so many requests under way and no more", async () => {
  const waiting: (() => void)[] = [];
  const upstream = await startUpstream((_, response) => void waiting.push(() => response.writeHead(200).end("ok")));
  const { token } = await runWith(upstream.baseUrl);
  const many = Array.from({ length: 64 }, () => call(gateway, { token, path: "/mcp/docs", body: {} }));
  await expect.poll(() => waiting.length).toBe(64);
  expect(await call(gateway, { token, path: "/mcp/docs", body: {} })).toMatchObject({ status: 429 });
  for (const answer of waiting.splice(0)) answer();
  for (const answer of await Promise.all(many)) expect(answer).toMatchObject({ status: 200, body: "ok" });
  const after = call(gateway, { token, path: "/mcp/docs", body: {} });
  await expect.poll(() => waiting.length).toBe(1);
  waiting[0]?.();
  expect(await after).toMatchObject({ status: 200 });
});

test.each([
  ["169.254.169.254", false],
  ["fd00:ec2::254", false],
  ["::ffff:169.254.0.1", false],
  ["127.0.0.1", true],
  ["localhost", true],
  ["192.168.0.1", true],
])("what stands for %s may be called: %s", async (name, isAllowed) => {
  for (const all of [true, false]) {
    const error = await new Promise((resolve) => guardedLookup(name, { all }, (failure) => resolve(failure)));
    expect(error).toEqual(isAllowed ? null : expect.any(ForbiddenAddress));
  }
});

test("a secret in pieces of any size is taken out, and nothing else is held back or changed", () => {
  const text = `a ${AUTHORIZATION} b ${JSON.stringify(SECRET)} ${encodeURIComponent(SECRET)} Bear größe ${SECRET.slice(0, 15)}`;
  const bytes = Buffer.from(text);
  for (const size of [1, 2, 3, 7, 20, 1_000]) {
    const redactor = createStreamRedactor([AUTHORIZATION, SECRET]);
    const out: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) out.push(redactor.push(bytes.subarray(at, at + size)));
    out.push(redactor.end());
    expect(Buffer.concat(out).toString()).toBe(`a [redacted] b "[redacted]" [redacted] Bear größe ${SECRET.slice(0, 15)}`);
  }
  const plain = createStreamRedactor([SECRET]);
  expect(plain.push(Buffer.from("data: x\n\n")).toString()).toBe("data: x\n\n");
});
