// The proxy for programs in sandboxes: real sockets on loopback; only names are resolved by the test.
import { once } from "node:events";
import http from "node:http";
import net, { type AddressInfo, type LookupFunction, type Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEgress, isForProxy } from "./egress.ts";
import { isPublic, networksOf } from "./public-lookup.ts";
import { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";
import { newRun } from "./testing/host.ts";

const TOKEN = newRun().token;
let closing: AbortController;
let run: LiveRun;
let denied: { target: string; reason: string }[] = [];
/** What names stand for; those with several answers give them one after the other. An answer may be of several addresses. */
const names = new Map<string, string[]>();
const asked: string[] = [];
const resolve: LookupFunction = (name, options, callback) => {
  asked.push(name);
  const answers = names.get(name) ?? [];
  const address = answers.length > 1 ? answers.shift()! : answers[0];
  if (address === undefined) return callback(Object.assign(new Error("not found"), { code: "ENOTFOUND" }), "", 0);
  const all = address.split(" ").map((one) => ({ address: one, family: net.isIPv6(one) ? 6 : 4 }));
  if (options.all === true) callback(null, all);
  else callback(null, all[0]!.address, all[0]!.family);
};

/** Counts every connection that anybody makes to it: it stands for what must not be reached, and for what may be. */
const seen: string[] = [];
const upstream = http.createServer((request, response) => {
  seen.push(`${request.method} ${request.headers.host} ${request.url} ${JSON.stringify(request.headers["proxy-authorization"] ?? null)}`);
  request.resume().on("end", () => response.end(`hello from ${request.url}`));
});
let connections = 0;
upstream.on("connection", () => (connections += 1));
// It ends no connection by itself, so that what ends one is the proxy.
upstream.keepAliveTimeout = 0;
let upstreamPort = 0;

const egress = createEgress({
  authenticate: (tokens) => {
    if (tokens.includes(TOKEN)) return run;
    throw new Refusal(407, "invalid_api_key", { message: "This is not the token of a living run." });
  },
  onDenied: (_, what) => denied.push(what),
  uses: { count: () => undefined, settle: () => undefined },
  log: (message) => {
    throw new Error(message);
  },
  resolve,
});
const proxy = http.createServer((request, response) => {
  if (!isForProxy(request)) return void response.writeHead(418).end();
  egress.forward(request, response).catch((error: unknown) => {
    const refusal = error as Refusal;
    response.writeHead(refusal.status).end(refusal.message);
  });
});
proxy.on("connect", egress.tunnel);
let proxyPort = 0;

beforeAll(async () => {
  for (const server of [upstream, proxy]) await once(server.listen(0, "127.0.0.1"), "listening");
  [upstreamPort, proxyPort] = [upstream, proxy].map((server) => (server.address() as AddressInfo).port) as [number, number];
});
afterAll(() => {
  egress.breakOff();
  for (const server of [upstream, proxy]) {
    server.closeAllConnections();
    server.close();
  }
});
beforeEach(() => {
  closing = new AbortController();
  run = {
    ...newRun(),
    egress: [`allowed.example:${upstreamPort}`, "*.allowed.example", "usual.example"],
    egressNetworks: ["127.0.0.0/8"],
    closed: closing.signal,
  };
  denied = [];
  names.clear();
  names.set("allowed.example", ["127.0.0.1"]);
  [seen, asked].forEach((list) => list.splice(0));
  connections = 0;
});

const AUTHORIZED = `Proxy-Authorization: Basic ${Buffer.from(`run:${TOKEN}`).toString("base64")}\r\n`;

/** Says something to the proxy, byte for byte, and gives the socket and the first part of the answer. */
async function say(text: string | Buffer): Promise<{ socket: Socket; answer: string }> {
  const socket = net.connect(proxyPort, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(text);
  const answer = await Promise.race([once(socket, "data").then(([data]) => String(data)), once(socket, "close").then(() => "")]);
  return { socket, answer };
}
const connectTo = (target: string, headers = AUTHORIZED) => say(`CONNECT ${target} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);

test("a tunnel carries bytes to a host that is allowed, and ends with its run", async () => {
  const { socket, answer } = await connectTo(`allowed.example:${upstreamPort}`);
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  socket.write("GET /through HTTP/1.1\r\nHost: allowed.example\r\n\r\n");
  const [data] = (await once(socket, "data")) as [Buffer];
  expect(String(data)).toContain("hello from /through");
  expect([egress.open, denied]).toEqual([1, []]);
  closing.abort();
  await once(socket, "close");
  expect(egress.open).toBe(0);
});

test("a request for a whole URL is passed on without what is for the proxy alone", async () => {
  const { answer } = await say(
    `GET http://allowed.example:${upstreamPort}/a?b=c HTTP/1.1\r\nHost: somebody.else\r\n${AUTHORIZED}Connection: close, x-hop\r\nX-Hop: 1\r\n\r\n`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*hello from \/a\?b=c/);
  expect(seen).toEqual([`GET allowed.example:${upstreamPort} /a?b=c null`]);
});

test("a body of any method goes out in its frame, so that what is in it is no request of its own", async () => {
  const hidden = `GET /smuggled HTTP/1.1\r\nHost: allowed.example:${upstreamPort}\r\n\r\n`;
  const chunk = `${Buffer.byteLength(hidden).toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
  const frames = [
    ["content-length", `Content-Length: ${hidden.length}`, hidden],
    ["transfer-encoding", "Transfer-Encoding: chunked", chunk],
  ];
  for (const method of ["GET", "DELETE", "POST"])
    for (const named of ["close", "close, framing"])
      for (const [framing = "", header, body] of frames) {
        const connection = named.replace("framing", framing);
        const url = `http://allowed.example:${upstreamPort}/outer`;
        const { answer } = await say(
          `${method} ${url} HTTP/1.1\r\nHost: x\r\n${AUTHORIZED}Connection: ${connection}\r\n${header}\r\n\r\n${body}`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      }
  expect(seen.map((line) => line.split(" ")[2])).toEqual(Array.from({ length: 12 }, () => "/outer"));
});

test("nobody without a run's token gets anywhere", async () => {
  for (const headers of ["", "Proxy-Authorization: Basic cnVuOndyb25n\r\n", `Authorization: Bearer ${TOKEN}\r\n`])
    expect((await connectTo(`allowed.example:${upstreamPort}`, headers)).answer).toMatch(/^HTTP\/1\.1 407 [^]*proxy-authenticate: Basic/);
  expect(connections).toBe(0);
});

test("a host that is not allowed is refused with what to do, and written down once", async () => {
  for (let n = 0; n < 3; n += 1) {
    const { answer } = await connectTo("other.example:443");
    expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*does not let this run reach other\.example:443[^]*--egress/);
  }
  expect(denied).toEqual([{ target: "other.example:443", reason: "not allowed to this run" }]);
  expect(asked).toEqual([]);
});

test("what is written down of a target holds no secret of the run, nor the beginning of one", async () => {
  run = { ...run, secrets: [{ name: "TOKEN", value: "decoy-of-a-secret" }] };
  await connectTo("decoy-of-a-secret.example:443");
  await connectTo(`${"x".repeat(290)}decoy-of-a-secret.example:443`);
  expect(denied).toMatchObject([{ target: "[secret TOKEN].example:443" }, { target: `${"x".repeat(290)}[secret TO` }]);
});

test("a host that is away is no refusal", async () => {
  expect((await connectTo("gone.allowed.example:443")).answer).toMatch(/^HTTP\/1\.1 502 [^]*ENOTFOUND/);
  names.set("closed.allowed.example", ["127.0.0.1"]);
  expect((await connectTo("closed.allowed.example:80")).answer).toMatch(/^HTTP\/1\.1 502 [^]*ECONNREFUSED/);
  expect(denied).toEqual([]);
});

test("a flood of other targets fills no log", async () => {
  for (let n = 0; n < 250; n += 1) (await connectTo(`host${n}.example:443`)).socket.destroy();
  expect(denied).toHaveLength(200);
}, 30_000);

describe("hostile targets make no connection", () => {
  /** Addresses that are nobody's on the internet, in every notation that some resolver takes. */
  const addresses = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
  ]
    .concat([
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[0:0:0:0:0:0:0:1]",
      "[::127.0.0.1]",
      "[64:ff9b::7f00:1]",
      "[fe80::1%25lo]",
    ])
    .concat([
      "169.254.169.254",
      "0xa9fea9fe",
      "2852039166",
      "10.0.0.1",
      "172.16.0.1",
      "192.168.0.1",
      "100.64.0.1",
      "[fd00:ec2::254]",
      "[fc00::1]",
    ])
    .concat([
      "127。0。0。1",
      "①②⑦.⓪.⓪.①",
      "127.0.0.1%00",
      "127.0.0.1#",
      "127.0.0.1/",
      "127.0.0.1\\",
      "%31%32%37.0.0.1",
      "1.1.1.1",
      "[2606:4700::1111]",
    ]);
  const hosts = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost.localdomain",
    "allowed.example.",
    "allowed.example..",
    ".allowed.example",
    "xallowed.example",
  ]
    .concat([
      "allowed.example.evil.org",
      "allowed-example",
      "allowedXexample",
      "ALLOWED.EXAMPLE.EVIL.ORG",
      "evil.org#allowed.example",
      "evil.org?allowed.example",
    ])
    .concat([
      "evil.org/allowed.example",
      "evil.org\\.allowed.example",
      "evil.org%2eallowed.example",
      "evil.org;allowed.example",
      "evil.org,allowed.example",
    ])
    .concat([
      "user@allowed.example",
      "allowed.example@evil.org",
      "allowed.example:80@evil.org",
      "allowed.example:x@evil.org",
      "allowed.example%40evil.org",
    ])
    .concat([
      "allowed。example",
      "allowed.exämple",
      "аllowed.example",
      "allowed.example\u200b",
      "ａｌｌｏｗｅｄ.example",
      "xn--llowed-4nf.example",
      "metadata.google.internal",
    ])
    .concat([
      "allowed.example%00.evil.org",
      "allowed.example%0d%0a",
      "-.allowed.example",
      "*.allowed.example",
      "..allowed.example",
      `${"a".repeat(64)}.allowed.example`,
    ])
    .concat([
      `${"a.".repeat(130)}allowed.example`,
      "allowed.example:",
      "allowed.example:0",
      "allowed.example:65536",
      "allowed.example:-1",
      "allowed.example:443:443",
    ]);
  const ports = ["22", "25", "0", "65536", "443x", "0x1bb", "+443", " 443", "", "4 43", "99999999999"];

  const all = [
    ...[...addresses, ...hosts].flatMap((host) => [`${host}:443`, `${host}:80`, `${host}:8443`]),
    ...ports.map((port) => `usual.example:${port}`),
    "",
    ":",
    ":443",
    "443",
    "/",
    "//allowed.example",
    "http://allowed.example",
    "https://allowed.example:443",
    "*",
    "[",
    "[]:443",
    "[allowed.example]:443",
  ];

  test(`${all.length} of them in tunnels, and as URLs`, async () => {
    expect(all.length).toBeGreaterThanOrEqual(200);
    for (const name of asked) expect(name).toBe("never");
    for (const target of all) {
      const bytes = Buffer.from(target, "utf8");
      for (const text of [
        Buffer.concat([Buffer.from("CONNECT "), bytes, Buffer.from(` HTTP/1.1\r\nHost: allowed.example\r\n${AUTHORIZED}\r\n`)]),
        Buffer.concat([
          Buffer.from("GET http://"),
          bytes,
          Buffer.from(`/x HTTP/1.1\r\nHost: allowed.example\r\n${AUTHORIZED}Connection: close\r\n\r\n`),
        ]),
      ]) {
        const { socket, answer } = await say(text);
        expect([target, answer]).not.toEqual([target, expect.stringMatching(/^HTTP\/1\.1 2\d\d /)]);
        socket.destroy();
      }
    }
    expect([connections, seen]).toEqual([0, []]);
    // The control: what is allowed is reached.
    expect((await connectTo(`allowed.example:${upstreamPort}`)).answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(connections).toBe(1);
  }, 60_000);

  test("a name that stands for an address that is not public, at first or a moment later", async () => {
    run = { ...run, egressNetworks: [] };
    for (const address of ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"]) {
      names.set("inside.allowed.example", [address]);
      expect((await connectTo("inside.allowed.example:80")).answer).toMatch(/^HTTP\/1\.1 403 [^]*not public/);
    }
    // Whoever asks again is told another address: it was looked at as well, since it is the one that is called.
    names.set("rebound.allowed.example", ["10.0.0.1", "127.0.0.1"]);
    for (let n = 0; n < 2; n += 1) expect((await connectTo("rebound.allowed.example:80")).answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(connections).toBe(0);
    expect(denied.at(-1)).toEqual({ target: "rebound.allowed.example:80", reason: "its name stands for an address that is not public" });
  });

  test("a name that stands for an address that is not public beside one that may be reached", async () => {
    for (const address of ["127.0.0.1 10.0.0.1", "10.0.0.1 127.0.0.1", "127.0.0.1 ::1"]) {
      names.set("allowed.example", [address]);
      expect((await connectTo(`allowed.example:${upstreamPort}`)).answer).toMatch(/^HTTP\/1\.1 403 [^]*not public/);
    }
    expect(connections).toBe(0);
  });

  test("a redirect is for the program to follow, which asks again", async () => {
    const away = http.createServer((_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end());
    await once(away.listen(0, "127.0.0.1"), "listening");
    const { port } = away.address() as AddressInfo;
    run = { ...run, egress: [`allowed.example:${port}`] };
    const { answer } = await say(`GET http://allowed.example:${port}/ HTTP/1.1\r\nHost: x\r\n${AUTHORIZED}Connection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 302 [^]*location: http:\/\/127\.0\.0\.1:1\//i);
    away.close();
    expect(connections).toBe(0);
  });
});

test("what counts as public", () => {
  for (const address of ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "172.32.0.1", "100.128.0.1"])
    expect([address, isPublic(address)]).toEqual([address, true]);
  const not = [
    "0.0.0.0",
    "10.0.0.1",
    "100.127.255.255",
    "127.255.255.255",
    "169.254.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "198.19.0.1",
    "224.0.0.1",
    "255.255.255.255",
  ];
  for (const address of [
    ...not,
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "64:ff9b::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "::ffff:8.8.8.8",
    "x",
    "",
  ])
    expect([address, isPublic(address)]).toEqual([address, false]);
  const opened = networksOf(["10.20.0.0/16", "fd12::/32", "192.168.7.7"]);
  const inside = ["10.20.3.4", "fd12::5", "192.168.7.7", "10.21.0.1", "192.168.7.8"].map((address) => isPublic(address, opened));
  expect(inside).toEqual([true, true, true, false, false]);
});
