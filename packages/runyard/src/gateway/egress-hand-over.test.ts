// What becomes of tunnels when one gateway takes another one's place, and when one dies: real processes, real sockets.
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import net, { type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Gateway, RunToRegister } from "./client.ts";
import { doorSocket } from "./files.ts";
import { identifyProcess } from "../process-identity.ts";
import { loopbackNames } from "../testing/loopback-names.ts";
import { until } from "./testing/caller.ts";
import { journalLines, newRun, useHosts } from "./testing/host.ts";
import { makeAuthority, makeServerCertificate } from "./x509.ts";

const { newHost } = useHosts();
const SECRET = "decoy-of-a-header-secret";
const WORLD = makeAuthority("World", { days: 10 });
const dir = mkdtempSync(path.join(tmpdir(), "ry-names-"));
const execArgv = loopbackNames(dir);

/** Says back what it hears. */
const echo = net.createServer((socket) => socket.on("error", () => undefined).pipe(socket));
const { certificate: cert, key } = makeServerCertificate(WORLD, "api.example", { days: 5 });
const api = https.createServer({ cert, key }, (request, response) => response.end(`${request.url} by ${String(request.headers["x-key"])}`));
let echoPort = 0;
let apiPort = 0;

beforeAll(async () => {
  for (const server of [echo, api]) await once(server.listen(0, "127.0.0.1"), "listening");
  [echoPort, apiPort] = [echo, api].map((server) => (server.address() as AddressInfo).port) as [number, number];
});
afterAll(() => {
  echo.close();
  api.closeAllConnections();
  api.close();
  rmSync(dir, { recursive: true, force: true });
});

function runOf(gateway: Gateway): RunToRegister {
  const { certificate, key: own } = gateway.authority();
  const header = { secret: "KEY", value: SECRET, host: "api.example", port: apiPort, name: "x-key", content: SECRET };
  return {
    ...newRun(),
    egress: [`echo.example:${echoPort}`, `api.example:${apiPort}`],
    egressNetworks: ["127.0.0.0/8"],
    injected: { headers: [header], authority: { certificate, key: own }, trusted: WORLD.certificate },
  };
}

async function tunnel(gateway: Gateway, { token }: RunToRegister, target: string): Promise<Socket> {
  const socket = net.connect(doorSocket(gateway.doorDir));
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Bearer ${token}\r\n\r\n`);
  const [head] = (await once(socket, "data")) as [Buffer];
  expect(String(head)).toMatch(/^HTTP\/1\.1 200 /);
  return socket;
}
async function said(socket: Socket, word: string): Promise<string> {
  socket.write(word);
  return String(((await once(socket, "data")) as [Buffer])[0]);
}
async function secured(gateway: Gateway, run: RunToRegister): Promise<tls.TLSSocket> {
  const socket = await tunnel(gateway, run, `api.example:${apiPort}`);
  const over = tls.connect({ socket, servername: "api.example", ca: gateway.authority().certificate });
  await once(over, "secureConnect");
  return over.on("error", () => undefined);
}
const get = (socket: Socket, url: string): Promise<string> => said(socket, `GET ${url} HTTP/1.1\r\nHost: api.example\r\n\r\n`);
const closed = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once("close", resolve));
const HIDDEN = "*".repeat(SECRET.length);

test("at a hand-over open tunnels go on at the old gateway until their programs end them, and new ones are made at the new one", async () => {
  const host = newHost();
  const old = await host.open({ execArgv });
  const run = runOf(old);
  await old.openRun(run);
  const { pid } = await old.health();
  const plain = await tunnel(old, run, `echo.example:${echoPort}`);
  const injected = await secured(old, run);
  expect([await said(plain, "one"), await get(injected, "/1")]).toEqual(["one", expect.stringContaining(`/1 by ${HIDDEN}`)]);

  // A later version of the server, which knows nothing of the run yet: the new gateway has it from the old one.
  old.close();
  const gateway = await host.open({ mark: "b", execArgv });
  const after = await gateway.health();
  expect(after).toMatchObject({ runs: [run.runId] });
  expect(after.pid).not.toBe(pid);
  expect(gateway.authority()).toEqual(old.authority());
  const log = path.join(host.home.logsDir, "gateway.log");
  await until(() => readFileSync(log, "utf8").includes(`[${pid}] leaving`), "the old gateway to be told");
  // One that did not wait for its tunnels would be gone by the end of this.
  await sleep(500);
  expect([await said(plain, "two"), await get(injected, "/2")]).toEqual(["two", expect.stringContaining(`/2 by ${HIDDEN}`)]);
  const next = await secured(gateway, run);
  expect(await get(next, "/3")).toContain(`/3 by ${HIDDEN}`);
  expect(identifyProcess(pid)).not.toBeNull();
  plain.destroy();
  injected.destroy();
  await until(() => identifyProcess(pid) === null, "the old gateway to leave");
  expect(await get(next, "/4")).toContain(`/4 by ${HIDDEN}`);
  next.destroy();
  const uses = (): number =>
    journalLines(gateway.exchangesFile(run.runId)).reduce((sum, line) => sum + (line.type === "secret-use" ? line.requests : 0), 0);
  await until(() => uses() === 4, "all requests to be written down");
});

test("a gateway that is killed breaks its tunnels off, and the next one makes them anew, with the same authority", async () => {
  const host = newHost();
  const gateway = await host.open({ execArgv });
  const run = runOf(gateway);
  await gateway.openRun(run);
  const { pid } = await gateway.health();
  const plain = await tunnel(gateway, run, `echo.example:${echoPort}`);
  const injected = await secured(gateway, run);
  const broken = Promise.all([plain, injected].map(closed));
  process.kill(pid, "SIGKILL");
  await broken;
  await until(() => identifyProcess(pid) === null, "it to be gone");
  await gateway.openRun(run);
  const next = await secured(gateway, run);
  expect(await get(next, "/again")).toContain(`/again by ${HIDDEN}`);
  next.destroy();
});

test("a run that ends takes its tunnels along", async () => {
  const host = newHost();
  const gateway = await host.open({ execArgv });
  const run = runOf(gateway);
  await gateway.openRun(run);
  const open = [await tunnel(gateway, run, `echo.example:${echoPort}`), await secured(gateway, run)];
  const ended = Promise.all(open.map(closed));
  await gateway.closeRun(run.runId);
  await ended;
  expect(open.map((socket) => socket.destroyed)).toEqual([true, true]);
});
