import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import type { ServerResponse } from "node:http";
import { afterAll, describe, expect, test } from "vitest";
import { type Gateway, stopGateway } from "./client.ts";
import { livingLives } from "./lives.ts";
import { CONTROL_PROTOCOL } from "./protocol.ts";
import { identifyProcess } from "../process-identity.ts";
import { call, QUESTION, type RawAnswer, until } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, beginStream, delta, DONE, FINISH, openaiAt, type TestProvider, useProviders } from "./testing/provider.ts";

const { newHost, program } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-lifecycle-123456";
const STREAMED = { ...QUESTION, stream: true };

async function connect(gateway: Gateway, provider: TestProvider): Promise<ReturnType<typeof newRun>> {
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  return run;
}

/** A provider that streams piece by piece when the test says so. */
async function startSlowProvider(start = startProvider): Promise<{ provider: TestProvider; streams: ServerResponse[] }> {
  const streams: ServerResponse[] = [];
  const provider = await start((_, response) => {
    beginStream(response);
    streams.push(response);
    response.write(delta("0 "));
  });
  return { provider, streams };
}

/** Begins a streamed call and waits until its first piece is there. */
async function beginCall(gateway: Gateway, token: string): Promise<{ answer: Promise<RawAnswer>; received: () => number }> {
  let bytes = 0;
  const answer = call(gateway, { token, body: STREAMED, onData: (piece) => void (bytes += piece.length) });
  await until(() => bytes > 0, "the first piece");
  return { answer, received: () => bytes };
}

async function waitForOther(gateway: Gateway, pid: number): Promise<number> {
  for (;;) {
    const now = await gateway.health().catch(() => null);
    if (now !== null && now.pid !== pid) return now.pid;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isGone(pid: number): boolean {
  return identifyProcess(pid) === null;
}

test("a gateway outlives the server that started it, and the next server finds it", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const first = await host.open();
  const run = await connect(first, provider);
  const { pid } = await first.health();
  first.close();

  const second = await host.open();
  expect(await second.health()).toMatchObject({ pid, tcpPort: first.tcpPort(), runs: [run.runId] });
  expect(second.tcpPort()).toBe(first.tcpPort());
  expect(await call(second, { token: run.token })).toMatchObject({ status: 200 });
});

test("the program's version and hash are told truly", async () => {
  const host = newHost();
  const gateway = await host.open();
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  const { createHash } = await import("node:crypto");
  const programHash = createHash("sha256")
    .update(readFileSync(await program()))
    .digest("hex");
  expect(await gateway.health()).toMatchObject({ version: manifest.version, programHash, openExchanges: 0, runs: [] });
});

test("kill -9 in the middle of a stream: the client sees a break, the journal is settled, the next call works", async () => {
  const { provider, streams } = await startSlowProvider();
  const host = newHost();
  const gateway = await host.open();
  const run = await connect(gateway, provider);
  const { pid, tcpPort } = await gateway.health();
  const { answer } = await beginCall(gateway, run.token);
  expect(host.lines(run.runId)).toHaveLength(1);

  process.kill(pid, "SIGKILL");
  expect(await answer).toMatchObject({ status: 200, complete: false });
  await until(() => provider.seen[0]?.aborted, "the provider to see the break");
  const revived = await waitForOther(gateway, pid);

  const [open, close] = host.lines(run.runId);
  expect(close).toMatchObject({
    type: "close",
    id: open?.id,
    status: null,
    ok: false,
    complete: false,
    inputTokens: null,
    outputTokens: null,
    cachedInputTokens: null,
    durationMs: null,
    settled: "estimate",
  });
  expect(await gateway.health()).toMatchObject({ tcpPort, runs: [run.runId] });
  expect(gateway.tcpPort()).toBe(tcpPort);

  const { answer: next } = await beginCall(gateway, run.token);
  streams[1]?.end(FINISH + DONE);
  expect(await next).toMatchObject({ complete: true });
  expect(host.closes(run.runId)).toMatchObject([{ settled: "estimate" }, { settled: "measured", ok: true }]);
  expect(new Set(host.lines(run.runId).map((line) => line.id)).size).toBe(2);

  process.kill(revived, "SIGKILL");
  await waitForOther(gateway, revived);
  expect(host.lines(run.runId)).toHaveLength(4);
});

test("what was said while the gateway was away is known to the next one", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const gateway = await host.open();
  const gone = await connect(gateway, provider);
  const stays = newRun();
  await gateway.openRun(stays);
  const { pid } = await gateway.health();
  process.kill(pid, "SIGKILL");
  const late = newRun();
  await Promise.all([gateway.closeRun(gone.runId), gateway.openRun(late)]);
  expect((await gateway.health()).pid).not.toBe(pid);
  expect(await call(gateway, { token: gone.token })).toMatchObject({ status: 401 });
  expect(await call(gateway, { token: stays.token })).toMatchObject({ status: 200 });
  expect(await call(gateway, { token: late.token })).toMatchObject({ status: 200 });
});

test("a hand-over: a stream goes on to its end, the next call reaches the new gateway, on the same port", async () => {
  const { provider, streams } = await startSlowProvider();
  const host = newHost();
  const old = await host.open();
  const run = await connect(old, provider);
  const before = await old.health();
  const bySocket = await beginCall(old, run.token);
  const byPort = call(old, { token: run.token, body: STREAMED, port: old.tcpPort() });
  await until(() => streams.length === 2, "both calls");

  // A later version of the server, which knows nothing of provider and runs yet.
  old.close();
  let refused = 0;
  let calling = true;
  const knocking = (async () => {
    while (calling) if ((await call(old, { token: run.token, method: "GET", path: "/v1/nothing" })).status !== 404) refused += 1;
  })();
  const gateway = await host.open({ mark: "b" });
  const after = await gateway.health();
  expect(after.pid).not.toBe(before.pid);
  expect(after).toMatchObject({ tcpPort: before.tcpPort, runs: [run.runId] });
  calling = false;
  await knocking;
  expect(refused).toBe(0);

  const next = await beginCall(gateway, run.token);
  expect(await gateway.health()).toMatchObject({ pid: after.pid, openExchanges: 1 });
  expect(isGone(before.pid)).toBe(false);
  for (let piece = 1; piece < 100; piece += 1) {
    for (const stream of streams) stream.write(delta(`${piece} `));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const stream of streams) stream.end(FINISH + DONE);
  const all = Array.from({ length: 100 }, (_, piece) => delta(`${piece} `)).join("") + FINISH + DONE;
  for (const answer of await Promise.all([bySocket.answer, byPort, next.answer]))
    expect(answer).toMatchObject({ complete: true, body: all });

  await until(() => isGone(before.pid), "the old gateway to leave");
  expect(readFileSync(path.join(host.home.logsDir, "gateway.log"), "utf8")).toContain(`[${before.pid}] leaving (it was told to leave)`);
  expect(host.closes(run.runId)).toMatchObject(Array.from({ length: 3 }, () => ({ ok: true, settled: "measured" })));
  expect(livingLives(host.home.gatewayDir).map((life) => life.process.pid)).toEqual([after.pid]);
});

test.each([2, 5])("%i servers at once make one gateway, with an open door", async (servers) => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const gateways = await Promise.all(Array.from({ length: servers }, () => host.open()));
  const pids = new Set(await Promise.all(gateways.map(async (gateway) => (await gateway.health()).pid)));
  expect(pids.size).toBe(1);
  await until(() => livingLives(host.home.gatewayDir).length === 1, "one living gateway");
  for (const gateway of gateways) {
    const run = await connect(gateway, provider);
    expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
    expect(await call(gateway, { token: run.token, port: gateway.tcpPort() })).toMatchObject({ status: 200 });
  }
});

test("two servers of different programs at once leave one gateway that knows the runs of both", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const [firstGateway, secondGateway] = await Promise.all([host.open({ mark: "a" }), host.open({ mark: "b" })]);
  const runs: ReturnType<typeof newRun>[] = [];
  for (const gateway of [firstGateway, secondGateway]) runs.push(await connect(gateway, provider));
  await until(() => livingLives(host.home.gatewayDir).length === 1, "one living gateway");
  for (const run of runs) expect(await call(firstGateway, { token: run.token })).toMatchObject({ status: 200 });
});

test("both server and gateway killed: an agent that calls before the new server has told everything is asked to wait", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const first = await host.open();
  const run = await connect(first, provider);
  first.close();
  process.kill((await first.health()).pid, "SIGKILL");

  const gateway = await host.open();
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  expect(await call(gateway, { token: newRun().token })).toMatchObject({ status: 401 });
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  await gateway.openRun(run);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  await gateway.closeRun(run.runId);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 401 });
});

test("a home whose path is longer than a socket's may be", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost({ below: "long-name-".repeat(15) });
  const gateway = await host.open();
  const run = await connect(gateway, provider);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  expect(gateway.doorDir.startsWith(host.home.root)).toBe(false);
  expect(gateway.exchangesFile(run.runId).startsWith(host.home.root)).toBe(true);
  expect(existsSync(gateway.exchangesFile(run.runId))).toBe(true);
  await stopGateway(host.home);
  for (const dir of [host.home.gatewayDoorDir, path.dirname(host.home.gatewayControlSocket)]) rmSync(dir, { recursive: true });
});

// Each of them waits for seconds until a gateway looks around, or gives something up: at once, they wait for the same ones.
describe("what takes a gateway a while", { concurrent: true }, () => {
  const hosts = useHosts(afterAll);
  const provide = useProviders(afterAll);

  test("a gateway that is killed while it drains is settled by the one after it", async () => {
    const { provider } = await startSlowProvider(provide);
    const host = hosts.newHost();
    const old = await host.open();
    const run = await connect(old, provider);
    const { pid } = await old.health();
    const { answer } = await beginCall(old, run.token);
    old.close();
    await host.open({ mark: "b" });
    expect(host.closes(run.runId)).toEqual([]);
    process.kill(pid, "SIGKILL");
    expect(await answer).toMatchObject({ complete: false });
    await until(() => host.closes(run.runId).length === 1, "the call to be settled");
    expect(host.closes(run.runId)).toMatchObject([{ settled: "estimate", ok: false }]);
  });

  test("a port that another program took is given up, with a word about it", async () => {
    const host = hosts.newHost();
    const first = await host.open();
    const port = first.tcpPort();
    first.close();
    await stopGateway(host.home);
    const squatter = net.createServer();
    await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve));
    try {
      const gateway = await host.open();
      expect(gateway.tcpPort()).not.toBe(port);
      expect(readFileSync(path.join(host.home.logsDir, "gateway.log"), "utf8")).toContain(`port ${port} is taken by another program`);
    } finally {
      squatter.close();
    }
  });

  test("a door that was swept away is made again", async () => {
    const provider = await provide(answerWell);
    const host = hosts.newHost();
    const gateway = await host.open();
    const run = await connect(gateway, provider);
    const { pid } = await gateway.health();
    rmSync(path.join(gateway.doorDir, "sock"));
    await waitForOther(gateway, pid);
    expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  });

  test("a gateway whose home was removed leaves by itself", async () => {
    const host = hosts.newHost();
    const gateway = await host.open();
    gateway.close();
    const { pid } = await gateway.health();
    expect(isGone(pid)).toBe(false);
    rmSync(host.home.root, { recursive: true });
    await until(() => isGone(pid), "the gateway to leave");
  });

  test("stopGateway ends it, also with a call under way, and says whether there was one", async () => {
    const { provider } = await startSlowProvider(provide);
    const host = hosts.newHost();
    expect(await stopGateway(host.home)).toBe(false);
    const gateway = await host.open();
    const run = await connect(gateway, provider);
    const { pid } = await gateway.health();
    const { answer } = await beginCall(gateway, run.token);
    gateway.close();
    expect(await stopGateway(host.home)).toBe(true);
    expect(isGone(pid)).toBe(true);
    expect(await answer).toMatchObject({ complete: false });
    expect(host.closes(run.runId)).toMatchObject([{ ok: false, complete: false, settled: "measured" }]);
    expect(await stopGateway(host.home)).toBe(false);
  });

  test("stopGateway also ends one that is just being brought back, and nothing comes after it", async () => {
    const rounds = Array.from({ length: 5 }, async (_, round) => {
      const host = hosts.newHost();
      const gateway = await host.open();
      const { pid } = await gateway.health();
      process.kill(pid, "SIGKILL");
      // From before the new process has a socket to after it has taken the name.
      await new Promise((resolve) => setTimeout(resolve, round * 60));
      gateway.close();
      await stopGateway(host.home);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(livingLives(host.home.gatewayDir)).toEqual([]);
      await expect(gateway.health()).rejects.toThrow("does not answer");
    });
    await Promise.all(rounds);
  });
});

test("a program that cannot run is told of with its own words", async () => {
  const host = newHost();
  const broken = path.join(host.home.root, "broken.mjs");
  writeFileSync(broken, 'throw new Error("this program is broken");\n');
  const { openGateway } = await import("./client.ts");
  await expect(openGateway({ home: host.home, program: broken })).rejects.toThrow(
    /ended as soon as it was started[\s\S]*this program is broken/,
  );
  expect(readdirSync(host.home.gatewayDir)).not.toContain("lives");
});

test("its sources can be run too", async () => {
  const host = newHost();
  const { openGateway } = await import("./client.ts");
  const { fileURLToPath } = await import("node:url");
  const execArgv = ["--import", import.meta.resolve("tsx"), "--conditions=runyard-source"];
  const gateway = await openGateway({ home: host.home, program: fileURLToPath(new URL("main.ts", import.meta.url)), execArgv });
  expect(await gateway.health()).toMatchObject({ protocol: CONTROL_PROTOCOL });
  gateway.close();
});

test("the control socket is not at the door", async () => {
  const host: TestHost = newHost();
  const gateway = await host.open();
  expect(path.dirname(host.home.gatewayControlSocket)).not.toBe(gateway.doorDir);
  expect(readdirSync(gateway.doorDir)).toEqual(["sock"]);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    http
      .get({ socketPath: path.join(gateway.doorDir, "sock"), path: "/state" }, (response) => resolve(response.resume().statusCode))
      .once("error", reject);
  });
  expect(status).toBe(401);
});
