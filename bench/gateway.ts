// A model call through the gateway beside the same call of the provider: to the first byte of the answer, and how fast a
// long one comes. The provider makes nothing up: it sends what it has as fast as it is taken.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Gateway, openGateway, stopGateway } from "../packages/runyard/src/gateway/client.ts";
import { homeAt } from "../packages/runyard/src/home.ts";
import type { BenchContext } from "./lib/bench.ts";
import { cpuMicros } from "./lib/process.ts";
import { micros, ms, perSecond, ratioAtLeast, type Row } from "./lib/report.ts";
import { interleave, medianOf, quantile } from "./lib/stats.ts";

const PROVIDER = fileURLToPath(new URL("./programs/model-provider.mjs", import.meta.url));
const RUN = { runId: "run_01k00000000000000000000001", token: "bench-token-of-the-one-run" };
const CALLS = 200;
const EVENTS = 50_000;
const STREAMS = 16;

interface Target {
  readonly port: number;
  readonly token: string;
}

export async function benchGateway(context: BenchContext): Promise<Row[]> {
  const provider = spawn(process.execPath, [PROVIDER], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = (await once(provider.stdout, "data")) as [Buffer];
  const direct: Target = { port: Number(String(said)), token: "bench-provider-key" };
  const root = mkdtempSync(path.join(tmpdir(), "runyard-bench-gateway-"));
  const home = homeAt(root);
  const gateway = await openGateway({ home, program: path.join(path.dirname(context.program), "../dist/programs/gateway.mjs") });
  try {
    await gateway.setProviders([
      { name: "bench", api: "openai", baseUrl: `http://127.0.0.1:${direct.port}/v1`, apiKey: direct.token, model: "m" },
    ]);
    await gateway.openRun({ ...RUN, model: null, simulated: false, mcpServers: [] });
    const through: Target = { port: gateway.tcpPort(), token: RUN.token };
    return [...(await firstBytes(context, { through, direct })), ...(await throughput(context, { through, direct, gateway }))];
  } finally {
    gateway.close();
    await stopGateway(home);
    provider.kill();
    rmSync(root, { recursive: true, force: true });
  }
}

async function firstBytes(context: BenchContext, { through, direct }: { through: Target; direct: Target }): Promise<Row[]> {
  const several = async (target: Target): Promise<number[]> => {
    const times: number[] = [];
    for (let call = 0; call < context.count(CALLS); call += 1) times.push(await ask(target, 1));
    return times;
  };
  const measured = await interleave(context.rounds, { runyard: () => several(through), floor: () => several(direct) });
  return [0.5, 0.99].map((share) => {
    const [candidate, floor] = [measured.runyard, measured.floor].map((rounds) => medianOf(rounds, (times) => quantile(times, share)));
    const added = (candidate ?? 0) - (floor ?? 0);
    const target = share === 0.5 ? { text: `≤ floor + 5 ms (here + ${added.toFixed(2)})`, met: added <= 5 } : null;
    return {
      bench: "gateway",
      item: `request to first byte of a streamed answer, p${share * 100}`,
      candidate: ms(candidate ?? 0),
      floor: ms(floor ?? 0),
      ratio: (candidate ?? 0) / (floor ?? 1),
      target,
    };
  });
}

interface Streamed {
  readonly eventsPerSecond: number;
  /** Processor time of the gateway. */
  readonly cpuMicros: number;
}

async function throughput(
  context: BenchContext,
  { through, direct, gateway }: { through: Target; direct: Target; gateway: Gateway },
): Promise<Row[]> {
  const { pid } = await gateway.health();
  const events = context.count(EVENTS);
  const stream = async (target: Target, streams: number): Promise<Streamed> => {
    const [cpu, begunAt] = [cpuMicros(pid), performance.now()];
    await Promise.all(Array.from({ length: streams }, () => ask(target, events / streams)));
    const seconds = (performance.now() - begunAt) / 1_000;
    return { eventsPerSecond: events / seconds, cpuMicros: cpuMicros(pid) - cpu };
  };
  const rows: Row[] = [];
  for (const streams of [1, STREAMS]) {
    const measured = await interleave(context.rounds, { runyard: () => stream(through, streams), floor: () => stream(direct, streams) });
    const speed = (all: readonly Streamed[]): number => medianOf(all, (one) => one.eventsPerSecond);
    const ratio = speed(measured.runyard) / speed(measured.floor);
    const cpu = (medianOf(measured.runyard, (one) => one.cpuMicros) / events) * 1_000;
    rows.push({
      bench: "gateway",
      item: `${events} events, ${streams === 1 ? "one stream" : `${streams} streams at once`}`,
      candidate: `${perSecond(speed(measured.runyard), "events")} (${micros(cpu)} CPU per 1,000)`,
      floor: perSecond(speed(measured.floor), "events"),
      ratio,
      // A model says some hundred events in a second.
      target: streams === 1 ? ratioAtLeast(0.1, ratio) : null,
    });
  }
  return rows;
}

/** One call for so many events, over a connection of its own, as the gateway has it. Gives the milliseconds to the first byte. */
async function ask({ port, token }: Target, events: number): Promise<number> {
  const agent = new Agent({ keepAlive: false });
  const askedAt = performance.now();
  const call = request({
    host: "127.0.0.1",
    port,
    method: "POST",
    path: "/v1/chat/completions",
    agent,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
  });
  call.end(
    JSON.stringify({ model: "m", messages: [], stream: true, stream_options: { include_usage: true }, max_tokens: Math.ceil(events) }),
  );
  const [response] = (await once(call, "response")) as [IncomingMessage];
  let firstByteMs = 0;
  let last = "";
  for await (const chunk of response) {
    firstByteMs ||= performance.now() - askedAt;
    last = String((chunk as Buffer).subarray(-16));
  }
  if (!last.includes("[DONE]")) throw new Error("An answer was not whole");
  return firstByteMs;
}
