// Headers that the gateway puts into requests: real TLS on both sides, on loopback; only names are resolved by the test.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import net, { type AddressInfo, type LookupFunction } from "node:net";
import { Duplex } from "node:stream";
import tls, { type TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createEgress } from "./egress.ts";
import type { Refusal } from "./refusal.ts";
import type { LiveRun } from "./registry.ts";
import { newRun } from "./testing/host.ts";
import { makeAuthority, makeServerCertificate } from "./x509.ts";

const SECRET = "decoy/of+a=header secret-Zq8";
const OWN = makeAuthority("Runyard gateway", { days: 10 });
/** Vouches for the hosts. */
const WORLD = makeAuthority("World", { days: 10 });
const TOKEN = newRun().token;

const names = new Map<string, string>();
const lookUp: LookupFunction = (name, options, callback) => {
  const address = names.get(name);
  if (address === undefined) return callback(Object.assign(new Error("not found"), { code: "ENOTFOUND" }), "", 0);
  if (options.all === true) callback(null, [{ address, family: 4 }]);
  else callback(null, address, 4);
};

let closing: AbortController;
let run: LiveRun;
let denied: { target: string; reason: string }[] = [];
let uses: string[] = [];
const egress = createEgress({
  authenticate: () => run,
  onDenied: (_, what) => denied.push(what),
  uses: { count: (_, { secret, host }) => uses.push(`${secret} ${host.split(":")[0]}`), settle: () => undefined },
  log: (message) => {
    throw new Error(message);
  },
  resolve: lookUp,
});
const proxy = http.createServer((request, response) => {
  egress
    .forward(request, response)
    .catch((error: unknown) => response.writeHead((error as Refusal).status).end((error as Refusal).message));
});
proxy.on("connect", egress.tunnel);

type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;
let answer: Answer;
const seen: { method?: string; url?: string; headers: IncomingMessage["headers"]; raw: string[]; body: Buffer }[] = [];
const hello: Answer = (request, response) => response.end(`hello from ${request.headers.host}${request.url}`);
const connections = { count: 0 };
const openServers: https.Server[] = [];

async function serve(
  host: string,
  options: { readonly by?: typeof WORLD; readonly days?: number; readonly nowMs?: number } = {},
): Promise<number> {
  const { certificate: cert, key } = makeServerCertificate(options.by ?? WORLD, host, { days: 5, ...options });
  const server = https.createServer({ cert, key }, (request, response) => {
    const pieces: Buffer[] = [];
    request.on("error", () => undefined).on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const body = Buffer.concat(pieces);
      const { method, url, headers, rawHeaders } = request;
      seen.push({ method: method!, url: url!, headers, raw: rawHeaders, body });
      answer(request, response, body);
    });
  });
  server.on("secureConnection", () => (connections.count += 1));
  await once(server.listen(0, "127.0.0.1"), "listening");
  names.set(host, "127.0.0.1");
  openServers.push(server);
  return (server.address() as AddressInfo).port;
}

let port = 0;
let otherPort = 0;
let proxyPort = 0;
beforeAll(async () => {
  port = await serve("api.example");
  otherPort = await serve("other.example");
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  proxyPort = (proxy.address() as AddressInfo).port;
});
afterAll(() => {
  egress.breakOff();
  for (const server of [proxy, ...openServers]) {
    server.closeAllConnections();
    server.close();
  }
});
beforeEach(() => {
  closing?.abort();
  closing = new AbortController();
  run = {
    ...newRun(),
    egress: [`api.example:${port}`, `other.example:${otherPort}`],
    egressNetworks: ["127.0.0.0/8"],
    closed: closing.signal,
    injected: {
      headers: [{ secret: "API", value: SECRET, host: "api.example", port, name: "authorization", content: `Bearer ${SECRET}` }],
      authority: OWN,
      trusted: WORLD.certificate,
    },
  };
  denied = [];
  uses = [];
  seen.splice(0);
  connections.count = 0;
  answer = hello;
});

/** A tunnel, as programs ask for one; a TLS connection in it, where its certificate is the one that is expected. */
async function tunnel(target: string, options: tls.ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = net.connect(proxyPort, "127.0.0.1");
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Bearer ${TOKEN}\r\n\r\n`);
  const [head] = (await once(socket, "data")) as [Buffer];
  expect(String(head)).toMatch(/^HTTP\/1\.1 200 /);
  const secured = tls.connect({ socket, servername: target.split(":")[0]!, ca: OWN.certificate, ...options });
  await once(secured, "secureConnect");
  return secured;
}

interface Told {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly complete: boolean;
}

/** One request by an HTTP client through a tunnel. */
async function ask(
  options: https.RequestOptions & { readonly body?: string; readonly socket?: TLSSocket; readonly at?: string } = {},
): Promise<Told> {
  const { body, at = `api.example:${port}`, socket = await tunnel(at), ...rest } = options;
  return await new Promise((resolve, reject) => {
    const sent = { host: at, ...(rest.headers as Record<string, string>) };
    const request = http.request({ path: "/", ...rest, headers: sent, createConnection: () => socket });
    request.on("error", reject).on("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece)).on("error", () => undefined);
      response.on("close", () => {
        const { statusCode = 0, headers, complete } = response;
        resolve({ status: statusCode, headers, body: Buffer.concat(pieces).toString("latin1"), complete });
      });
    });
    request.end(body);
  });
}

/** Says something in a tunnel, byte for byte, and gives all of the answer. */
async function say(text: string): Promise<string> {
  const socket = await tunnel(`api.example:${port}`);
  let said = "";
  socket.on("data", (data: Buffer) => (said += data.toString("latin1"))).on("error", () => undefined);
  socket.write(text);
  await once(socket, "close");
  return said;
}

test("a request gets the header, whatever the program sent under its name, and a use is counted", async () => {
  const told = await ask({
    path: "/a?b=c",
    headers: { Authorization: "Bearer mine", "X-Mine": "kept", connection: "close, authorization" },
  });
  expect(told).toMatchObject({ status: 200, body: `hello from api.example:${port}/a?b=c`, complete: true });
  expect(seen[0]).toMatchObject({ method: "GET", url: "/a?b=c", headers: { "x-mine": "kept", authorization: `Bearer ${SECRET}` } });
  expect(seen[0]?.raw.filter((word) => word.toLowerCase() === "authorization")).toHaveLength(1);
  expect([uses, denied]).toEqual([["API api.example"], []]);
});

test("a connection is kept on both sides, and ends with its run", async () => {
  const socket = await tunnel(`api.example:${port}`);
  let said = "";
  socket.on("data", (data: Buffer) => (said += String(data)));
  for (const path of ["/1", "/2", "/3"]) {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: API.example:${port}\r\n\r\n`);
    while (!said.includes(`${port}${path}`)) await once(socket, "data");
  }
  expect([seen.length, connections.count, egress.open]).toEqual([3, 1, 1]);
  closing.abort();
  await once(socket, "close");
  expect(egress.open).toBe(0);
});

test("a program need not wait for the tunnel before it speaks", async () => {
  // The first words of TLS, which come in one piece with what asks for the tunnel.
  const target = `api.example:${port}`;
  const words: Buffer[] = [Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Bearer ${TOKEN}\r\n\r\n`)];
  const socket = net.connect(proxyPort, "127.0.0.1");
  let isOpen = false;
  const eager = new Duplex({
    read: () => undefined,
    write(piece: Buffer, _, done) {
      if (words.length > 0) socket.write(Buffer.concat([...words.splice(0), piece]), done);
      else socket.write(piece, done);
    },
  });
  socket.on("data", (data: Buffer) => {
    const end = isOpen ? 0 : data.indexOf("\r\n\r\n") + 4;
    isOpen = true;
    if (end < data.length) eager.push(data.subarray(end));
  });
  const secured = tls.connect({ socket: eager, servername: "api.example", ca: OWN.certificate });
  await once(secured, "secureConnect");
  expect((await ask({ socket: secured, path: "/eager" })).body).toContain("/eager");
  socket.destroy();
});

test("a host without a header is an opaque tunnel: the program sees the host's own certificate", async () => {
  const told = await ask({
    at: `other.example:${otherPort}`,
    socket: await tunnel(`other.example:${otherPort}`, { ca: WORLD.certificate }),
  });
  expect(told).toMatchObject({ status: 200 });
  expect(seen[0]?.headers).not.toHaveProperty("authorization");
  await expect(tunnel(`other.example:${otherPort}`)).rejects.toThrow(/certificate/);
  // And the host with one shows nobody else's.
  await expect(tunnel(`api.example:${port}`, { ca: WORLD.certificate })).rejects.toThrow(/certificate/);
  expect(uses).toEqual([]);
});

test("another run of the same gateway has a tunnel like any other", async () => {
  const { injected: _, ...plain } = run;
  run = plain;
  const told = await ask({ socket: await tunnel(`api.example:${port}`, { ca: WORLD.certificate }) });
  expect(told.status).toBe(200);
  expect(seen[0]?.headers).not.toHaveProperty("authorization");
});

test("nothing but the tunnel's own host is asked: not by the header host, not by the server's name, not by a URL", async () => {
  for (const host of ["other.example", `other.example:${otherPort}`, "api.example.evil.org", "api.example:1", ""])
    expect([host, (await ask({ headers: { host } })).status]).toEqual([host, 421]);
  expect(await say(`GET / HTTP/1.1\r\nHost: api.example:${port}\r\nHost: other.example\r\n\r\n`)).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect(await say(`GET https://other.example/ HTTP/1.1\r\nHost: api.example:${port}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
  expect(await say(`GET / HTTP/1.0\r\nHost: api.example:${port}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 505 /);
  const otherName = { servername: "other.example", checkServerIdentity: () => undefined };
  await expect(tunnel(`api.example:${port}`, otherName)).rejects.toThrow();
  expect([seen, uses]).toEqual([[], []]);
  // Without a name of a server, the tunnel's own counts; the header host may leave out no port but 443, or be the bare name.
  const nameless = await tunnel(`api.example:${port}`, { servername: "", checkServerIdentity: () => undefined });
  expect((await ask({ socket: nameless, headers: { host: "Api.Example" } })).status).toBe(200);
});

test("a redirect is for the program to follow, and the header goes with nobody", async () => {
  answer = (_, response) => response.writeHead(307, { location: `https://other.example:${otherPort}/next` }).end();
  expect(await ask()).toMatchObject({ status: 307, headers: { location: `https://other.example:${otherPort}/next` } });
  answer = hello;
  const next = await tunnel(`other.example:${otherPort}`, { ca: WORLD.certificate });
  expect((await ask({ at: `other.example:${otherPort}`, socket: next })).status).toBe(200);
  expect(seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${SECRET}`, undefined]);
});

test("the secret never goes in clear", async () => {
  const socket = net.connect(proxyPort, "127.0.0.1");
  socket.write(`GET http://api.example:${port}/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`);
  const [data] = (await once(socket, "data")) as [Buffer];
  expect(String(data)).toMatch(/^HTTP\/1\.1 403 [^]*goes by https only: ask for https:\/\/api\.example/);
  expect(uses).toEqual([]);
});

test("what an answer repeats of it is hidden, in the spellings of programs, also across pieces, and its length stays", async () => {
  const spellings = [
    SECRET,
    JSON.stringify({ token: SECRET }),
    encodeURIComponent(SECRET),
    Buffer.from(SECRET).toString("base64"),
    Buffer.from(`x${SECRET}`).toString("base64url"),
  ];
  const text = `begin ${spellings.join(" ")} end`;
  for (const cut of [1, 7, 40]) {
    answer = (_, response) => {
      response.writeHead(200, { "x-echo": `is ${SECRET}`, "set-cookie": [`a=${SECRET}`, "b=1"], "content-length": text.length });
      for (let at = 0; at < text.length; at += cut) response.write(text.slice(at, at + cut));
      response.end();
    };
    const told = await ask();
    expect(told.headers).toMatchObject({
      "x-echo": "is [redacted]",
      "set-cookie": ["a=[redacted]", "b=1"],
      "content-length": String(text.length),
    });
    for (const [n, spelling] of spellings.entries()) expect([cut, n, told.body.includes(spelling)]).toEqual([cut, n, false]);
    expect(told.body).toMatch(/^begin \*+ {"token":"\*+"} \*+ \*{30,}[\w+/=]* [\w-]{0,2}\*{30,}[\w-]* end$/);
    expect(told.complete).toBe(true);
  }
});

test("an answer that is compressed though it was asked not to be is refused", async () => {
  answer = (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(SECRET));
  const told = await ask({ headers: { "accept-encoding": "gzip, br" } });
  expect(told).toMatchObject({ status: 502, body: expect.stringContaining("The answer of api.example is compressed (gzip)") as string });
  expect(seen[0]?.headers["accept-encoding"]).toBe("identity");
});

test("bodies stream both ways, of any length and framing", async () => {
  answer = (_, response, body) => response.end(body);
  const large = randomBytes(3_000_000).toString("hex");
  expect((await ask({ method: "POST", body: large, headers: { "transfer-encoding": "chunked" } })).body === large).toBe(true);
  expect((await ask({ method: "PUT", body: "abc", headers: { "content-length": "3" } })).body).toBe("abc");
  expect((await ask({ method: "POST" })).status).toBe(200);
  expect(seen.map(({ body }) => body.length)).toEqual([6_000_000, 3, 0]);
  expect(seen.map(({ headers }) => headers["content-length"] ?? headers["transfer-encoding"])).toEqual(["chunked", "3", "0"]);
  expect((await ask({ method: "HEAD" })).status).toBe(200);
});

test("while a program does not read, nothing is read from the host", async () => {
  let written = 0;
  const total = 32 * 1024 * 1024;
  answer = (_, response) => {
    const more = (): void => {
      while (written < total) {
        written += 65_536;
        if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  };
  const socket = await tunnel(`api.example:${port}`);
  socket.write(`GET / HTTP/1.1\r\nHost: api.example:${port}\r\nConnection: close\r\n\r\n`);
  await once(socket, "readable");
  // It stands still when nobody reads: at first all buffers fill.
  for (let before = -1; before !== written; await new Promise((resolve) => setTimeout(resolve, 150))) before = written;
  expect(written).toBeLessThan(total / 2);
  let received = 0;
  socket.on("data", (data: Buffer) => (received += data.length));
  await once(socket, "close");
  expect(received).toBeGreaterThanOrEqual(total);
}, 30_000);

test("a body of any method goes out in its frame, so that what is in it is no request of its own", async () => {
  const hidden = `GET /smuggled HTTP/1.1\r\nHost: api.example:${port}\r\nX-Not: mine\r\n\r\n`;
  const chunk = `${Buffer.byteLength(hidden).toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
  for (const method of ["GET", "DELETE", "OPTIONS", "PATCH"])
    await say(`${method} /outer HTTP/1.1\r\nHost: api.example:${port}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunk}`);
  expect(seen.map(({ url }) => url)).toEqual(["/outer", "/outer", "/outer", "/outer"]);
  expect(seen.every(({ body }) => body.toString() === hidden)).toBe(true);
  seen.splice(0);
  // Nor where the program says that the frame is for the proxy alone.
  for (const method of ["GET", "DELETE", "POST"])
    for (const [named, framing, body] of [
      ["content-length", `Content-Length: ${hidden.length}`, hidden],
      ["transfer-encoding", "Transfer-Encoding: chunked", chunk],
    ])
      await say(`${method} /outer HTTP/1.1\r\nHost: api.example:${port}\r\nConnection: close, ${named}\r\n${framing}\r\n\r\n${body}`);
  expect(seen.map(({ url }) => url)).toEqual(Array.from({ length: 6 }, () => "/outer"));
  expect(seen.every(({ body }) => body.toString() === hidden)).toBe(true);
  seen.splice(0);
  for (const framing of [
    `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
    "Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    `Transfer-Encoding: chunked, identity\r\n\r\n${chunk}`,
    `Transfer-Encoding: xchunked\r\n\r\n${chunk}`,
    "Content-Length: +3\r\n\r\nabc",
    "X-A: b\r\n c: d\n\r\n\r\n",
    "X-A: b\rX-B: c\r\n\r\n",
    "X-\0A: b\r\n\r\n",
  ])
    expect([framing, await say(`POST / HTTP/1.1\r\nHost: api.example:${port}\r\nConnection: close\r\n${framing}`)]).toEqual([
      framing,
      expect.stringMatching(/^HTTP\/1\.1 400 /),
    ]);
  expect(seen).toEqual([]);
});

test("a program that waits to be told goes on when the host says so, and learns where it says no", async () => {
  const server = openServers[0]!;
  server.on("checkContinue", (request, response) => {
    if (request.url === "/no") return void response.writeHead(413).end("too large");
    response.writeContinue();
    server.emit("request", request, response);
  });
  answer = (_, response, body) => response.end(body);
  const expecting = (path: string): Promise<{ told: Told; continued: boolean }> =>
    new Promise((resolve, reject) => {
      let continued = false;
      void tunnel(`api.example:${port}`).then((socket) => {
        const headers = { host: "api.example", expect: "100-continue", "content-length": 3 };
        const request = http.request({ path, method: "PUT", headers, createConnection: () => socket });
        request.on("continue", () => {
          continued = true;
          request.end("abc");
        });
        request.on("error", reject).on("response", (response) => {
          let body = "";
          response.on("data", (data: Buffer) => (body += String(data)));
          response.on("end", () =>
            resolve({ told: { status: response.statusCode!, headers: response.headers, body, complete: true }, continued }),
          );
        });
        request.flushHeaders();
      });
    });
  expect(await expecting("/yes")).toMatchObject({ told: { status: 200, body: "abc" }, continued: true });
  expect(await expecting("/no")).toMatchObject({ told: { status: 413, body: "too large" }, continued: false });
});

test("websockets, TRACE and HTTP/2 are not passed on", async () => {
  const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13" };
  expect(await ask({ headers: upgrade })).toMatchObject({
    status: 501,
    body: expect.stringContaining("Websockets are not passed on.") as string,
  });
  expect(await ask({ method: "TRACE" })).toMatchObject({ status: 405 });
  const socket = await tunnel(`api.example:${port}`, { ALPNProtocols: ["h2", "http/1.1"] });
  expect(socket.alpnProtocol).toBe("http/1.1");
  socket.destroy();
  await expect(tunnel(`api.example:${port}`, { ALPNProtocols: ["h2"] })).rejects.toThrow();
  expect(seen).toEqual([]);
});

test("a host whose certificate is not good gets nothing, and the program is told why", async () => {
  const bad = {
    "untrusted.example": await serve("untrusted.example", { by: makeAuthority("Nobody", { days: 5 }) }),
    "expired.example": await serve("expired.example", { nowMs: Date.now() - 20 * 86_400_000 }),
    "wrong.example": await serve("elsewhere.example"),
    "gone.example": 1,
  };
  names.set("wrong.example", "127.0.0.1").set("gone.example", "127.0.0.1");
  const why: Record<string, RegExp> = {
    "untrusted.example": /could not be reached: .*certificate/,
    "expired.example": /could not be reached: its certificate has expired/,
    "wrong.example": /could not be reached: its certificate is for another name/,
    "gone.example": /could not be reached: nothing listens there/,
  };
  for (const [host, at] of Object.entries(bad)) {
    const [header] = run.injected!.headers;
    run = { ...run, egress: [`${host}:${at}`], injected: { ...run.injected!, headers: [{ ...header!, host, port: at }] } };
    const told = await ask({ at: `${host}:${at}`, method: "POST", body: "x" });
    expect([host, told.status, told.body]).toEqual([host, 502, expect.stringMatching(why[host]!)]);
    expect(told.body).not.toContain(SECRET);
  }
  expect([seen, uses]).toEqual([[], []]);
});

test("a name that stands for an address that is not public is refused as ever, and written down", async () => {
  run = { ...run, egressNetworks: [] };
  expect(await ask()).toMatchObject({ status: 403, body: expect.stringContaining("not public") as string });
  expect(denied).toEqual([{ target: `api.example:${port}`, reason: "its name stands for an address that is not public" }]);
  expect(seen).toEqual([]);
});

test("an answer that breaks off does not look whole, and one that the program breaks off ends at the host too", async () => {
  answer = (_, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("half", () => response.destroy());
  };
  expect(await ask()).toMatchObject({ body: "half", complete: false });
  const ended = new Promise<void>((resolve) => {
    answer = (_, response) => {
      response.write("first");
      response.on("close", () => resolve());
    };
  });
  const socket = await tunnel(`api.example:${port}`);
  socket.write(`GET / HTTP/1.1\r\nHost: api.example\r\n\r\n`);
  await once(socket, "data");
  socket.destroy();
  await ended;
});

test("a kept connection that the host has closed meanwhile is made anew", async () => {
  const socket = await tunnel(`api.example:${port}`);
  let said = "";
  socket.on("data", (data: Buffer) => (said += String(data)));
  socket.write(`GET /1 HTTP/1.1\r\nHost: api.example\r\n\r\n`);
  while (!said.includes("/1")) await once(socket, "data");
  openServers[0]!.closeIdleConnections();
  socket.write(`GET /2 HTTP/1.1\r\nHost: api.example\r\n\r\n`);
  while (!said.includes("/2")) await once(socket, "data");
  expect(connections.count).toBe(2);
  socket.destroy();
});
