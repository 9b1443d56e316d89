import { existsSync, readFileSync } from "node:fs";
import type http from "node:http";
import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { call, QUESTION, until } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { beginStream, delta, DONE, FINISH, openaiAt, type TestProvider, USAGE_EVENT, useProviders } from "./testing/provider.ts";

const { shared } = useHosts();
const startProvider = useProviders();
const STREAMED = { ...QUESTION, stream: true };

async function openWith(provider: TestProvider): Promise<{ host: TestHost; gateway: Gateway; run: ReturnType<typeof newRun> }> {
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: "sk-test-load-1234567890", model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, gateway, run };
}

test("50 runs at once, each with its own answer and its own journal", async () => {
  const provider = await startProvider(async (request, response) => {
    const said = (request.body["messages"] as { content: string }[])[0]?.content ?? "";
    beginStream(response);
    for (let piece = 0; piece < 20; piece += 1) {
      response.write(delta(`${said}-${piece} `));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    response.end(FINISH + USAGE_EVENT + DONE);
  });
  const { host, gateway } = await openWith(provider);
  const runs = Array.from({ length: 50 }, newRun);
  await Promise.all(runs.map((run) => gateway.openRun(run)));

  const answers = await Promise.all(
    runs.flatMap((run) =>
      [1, 2].map(
        async (turn) =>
          await call(gateway, { token: run.token, body: { ...STREAMED, messages: [{ role: "user", content: `${run.runId}-${turn}` }] } }),
      ),
    ),
  );

  answers.forEach((answer, index) => {
    const said = `${runs[Math.floor(index / 2)]?.runId}-${(index % 2) + 1}`;
    expect(answer).toMatchObject({
      status: 200,
      complete: true,
      body: Array.from({ length: 20 }, (_, piece) => delta(`${said}-${piece} `)).join("") + FINISH + DONE,
    });
  });
  for (const run of runs) {
    expect(host.closes(run.runId)).toMatchObject([
      { ok: true, inputTokens: 1_200 },
      { ok: true, inputTokens: 1_200 },
    ]);
    expect(new Set(host.lines(run.runId).map((line) => line.id)).size).toBe(2);
  }
  expect(await gateway.health()).toMatchObject({ openExchanges: 0 });
});

test("clients that do not read hold the provider up, not the gateway's memory; what they read later is whole", async () => {
  const piece = delta("x".repeat(64 * 1024));
  const pieces = 480;
  const clients = 8;
  let accepted = 0;
  const provider = await startProvider(async (_, response) => {
    beginStream(response);
    for (let count = 0; count < pieces; count += 1) {
      if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
      accepted += piece.length;
    }
    response.end(FINISH + DONE);
  });
  const { gateway, run } = await openWith(provider);
  const before = residentBytes((await gateway.health()).pid);
  const paused = new Set<http.IncomingMessage>();
  const onData = (_: Buffer, response: http.IncomingMessage): void => {
    if (!paused.has(response)) response.pause();
    paused.add(response);
  };
  const answers = Array.from({ length: clients }, () => call(gateway, { token: run.token, body: STREAMED, onData }));
  // Stalled: for half a second the providers get rid of nothing more, although most is still to come.
  let last = -1;
  let still = 0;
  await until(() => {
    still = accepted === last && paused.size === clients ? still + 1 : 0;
    last = accepted;
    return still === 50;
  }, "the streams to stall");
  const total = clients * pieces * piece.length;
  expect(accepted).toBeLessThan(total * 0.75);
  expect(residentBytes((await gateway.health()).pid) - before).toBeLessThan(total / 4);

  for (const response of paused) response.resume();
  for (const { complete, body } of await Promise.all(answers)) {
    expect(complete).toBe(true);
    expect(body.length).toBe(pieces * piece.length + (FINISH + DONE).length);
  }
});

test.runIf(process.env["RUNYARD_TEST_FULL"])(
  "1,000 streams at once take no more memory the longer they are",
  async () => {
    const [streams, runs, pieces] = [1_000, 20, 64];
    const piece = delta("x".repeat(16 * 1024));
    const open = new Set<ServerResponse>();
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const provider = await startProvider(async (_, response) => {
      beginStream(response);
      open.add(response);
      await begun;
      for (let count = 0; count < pieces; count += 1) {
        if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end(FINISH + USAGE_EVENT + DONE);
    });
    const { host, gateway } = await openWith(provider);
    const callers = Array.from({ length: runs }, newRun);
    await Promise.all(callers.map((run) => gateway.openRun(run)));
    let bytes = 0;
    const answers = callers.flatMap((run) =>
      Array.from({ length: streams / runs }, () =>
        call(gateway, { token: run.token, body: STREAMED, isKept: false, onData: (data) => void (bytes += data.length) }),
      ),
    );
    await until(() => open.size === streams, "all streams to be open");
    const { pid } = await gateway.health();
    const resident: number[] = [];
    const looking = setInterval(() => resident.push(residentBytes(pid)), 100);
    begin();
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200, complete: true });
    clearInterval(looking);
    const total = streams * pieces * piece.length;
    expect(bytes).toBeGreaterThanOrEqual(total);
    // A gigabyte went through.
    const [first = 0] = resident;
    expect(Math.max(...resident) - first).toBeLessThan(total / 4);
    expect(callers.flatMap((run) => host.closes(run.runId)).every((close) => close.ok)).toBe(true);
    expect(await gateway.health()).toMatchObject({ openExchanges: 0 });
  },
  300_000,
);

/** Memory of a process; 0 where the system does not tell it in this way. */
function residentBytes(pid: number): number {
  const file = `/proc/${pid}/status`;
  return existsSync(file) ? Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(file, "utf8"))?.[1]) * 1024 : 0;
}

test("a client that leaves ends the provider's work, and the journal says so", async () => {
  const streams: ServerResponse[] = [];
  const provider = await startProvider((_, response) => {
    beginStream(response);
    response.write(delta("Hello"));
    streams.push(response);
  });
  const { host, gateway, run } = await openWith(provider);
  await call(gateway, { token: run.token, body: STREAMED, onData: (_, response) => response.destroy() });
  await until(() => provider.seen[0]?.aborted, "the provider to see the break");
  await until(() => host.closes(run.runId).length === 1, "the end in the journal");
  expect(host.closes(run.runId)).toMatchObject([
    {
      status: 200,
      ok: false,
      complete: false,
      inputTokens: null,
      error: "The agent closed the connection before the model's answer was complete.",
      settled: "measured",
    },
  ]);
});

test.each([false, true])("a client that leaves before the first byte does so too (streamed: %s)", async (stream) => {
  const provider = await startProvider(() => undefined);
  const { host, gateway, run } = await openWith(provider);
  const { default: nodeHttp } = await import("node:http");
  const request = nodeHttp.request({
    host: "127.0.0.1",
    port: gateway.tcpPort(),
    path: "/v1/chat/completions",
    method: "POST",
    agent: false,
    headers: { authorization: `Bearer ${run.token}` },
  });
  request.on("error", () => undefined);
  request.end(JSON.stringify({ ...QUESTION, stream }));
  await until(() => provider.seen.length === 1, "the call");
  request.destroy();
  await until(() => provider.seen[0]?.aborted, "the provider to see the break");
  await until(() => host.closes(run.runId).length === 1, "the end in the journal");
  expect(host.closes(run.runId)).toMatchObject([{ status: null, ok: false }]);
});

test("closing a run breaks off its calls, and nobody else's", async () => {
  const streams: ServerResponse[] = [];
  const provider = await startProvider((_, response) => {
    beginStream(response);
    response.write(delta("Hello"));
    streams.push(response);
  });
  const { host, gateway, run } = await openWith(provider);
  const other = newRun();
  await gateway.openRun(other);
  const mine = call(gateway, { token: run.token, body: STREAMED });
  await until(() => streams.length === 1, "the first call");
  const others = call(gateway, { token: other.token, body: STREAMED });
  await until(() => streams.length === 2, "the second call");
  await gateway.closeRun(run.runId);
  expect(await mine).toMatchObject({
    complete: false,
    body: expect.stringContaining("The run was ended before the model's answer was complete."),
  });
  streams[1]?.end(FINISH + DONE);
  expect(await others).toMatchObject({ complete: true });
  expect(host.closes(run.runId)).toMatchObject([{ ok: false, complete: false }]);
});
