// A model call through the gateway beside the same call of the provider: to the first byte of the answer, and how fast a
// long one comes: in the pace of models, and as fast as it can.
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
import { digits, micros, ms, perSecond, ratioAtLeast, type Row } from "./lib/report.ts";
import { interleave, medianOf, quantile } from "./lib/stats.ts";

const RELAY = fileURLToPath(new URL("./programs/bare-relay.mjs", import.meta.url));
const PROVIDER = fileURLToPath(new URL("./programs/model-provider.mjs", import.meta.url));
const RUN = { runId: "run_01k00000000000000000000001", token: "bench-token-of-the-one-run" };
const CALLS = 200;
const EVENTS = 50_000;
const STREAMS = 16;
/** As models answer: so many at once, events of each, milliseconds to the first and events in a second from then on. */
const USUAL = { streams: 20, events: 300, pace: { firstAfterMs: 200, perSecond: 150 } };
/** At least 0.9 of the direct call: its time through 0.9. */
const MOST_TIME = 1 / 0.9;

interface Target {
  readonly port: number;
  readonly token: string;
}

export async function benchGateway(context: BenchContext): Promise<Row[]> {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-bench-gateway-"));
  const provider = await startProgram(PROVIDER);
  const relay = await startProgram(RELAY, String(provider.port), path.join(root, "recorded"));
  const direct: Target = { port: provider.port, token: "bench-provider-key" };
  const home = homeAt(root);
  const gateway = await openGateway({ home, program: path.join(path.dirname(context.program), "../dist/programs/gateway.mjs") });
  try {
    await gateway.setProviders([
      { name: "bench", api: "openai", baseUrl: `http://127.0.0.1:${direct.port}/v1`, apiKey: direct.token, model: "m" },
    ]);
    await gateway.openRun({ ...RUN, model: null, simulated: false, mcpServers: [] });
    const through: Target = { port: gateway.tcpPort(), token: RUN.token };
    const bare: Target = { port: relay.port, token: direct.token };
    return [
      ...(await firstBytes(context, { through, direct })),
      ...(await usualStreams(context, { through, direct, gateway })),
      ...(await throughput(context, { through, direct, bare, gateway })),
    ];
  } finally {
    gateway.close();
    await stopGateway(home);
    provider.stop();
    relay.stop();
    rmSync(root, { recursive: true, force: true });
  }
}

/** A program that says its port. */
async function startProgram(program: string, ...words: readonly string[]): Promise<{ readonly port: number; stop(): void }> {
  const child = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { port: Number(String(said)), stop: () => void child.kill() };
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

async function usualStreams(
  context: BenchContext,
  { through, direct, gateway }: { through: Target; direct: Target; gateway: Gateway },
): Promise<Row[]> {
  const { pid } = await gateway.health();
  const { streams, pace } = USUAL;
  const events = context.count(USUAL.events);
  const several = async (target: Target): Promise<{ first: number; whole: number; share: number }> => {
    const [cpu, begunAt] = [cpuMicros(pid), performance.now()];
    const timed = await Promise.all(
      Array.from({ length: streams }, async () => {
        const first = await ask(target, events, pace);
        return { first, whole: performance.now() - begunAt };
      }),
    );
    const share = (cpuMicros(pid) - cpu) / 1_000 / (performance.now() - begunAt);
    return { first: medianOf(timed, (one) => one.first), whole: medianOf(timed, (one) => one.whole), share };
  };
  const measured = await interleave(context.rounds, { runyard: () => several(through), floor: () => several(direct) });
  const share = medianOf(measured.runyard, (one) => one.share) * 100;
  const what = `${streams} streams at once, ${pace.perSecond} events a second each`;
  const row = (item: string, part: "first" | "whole", note = ""): Row => {
    const [candidate, floor] = [medianOf(measured.runyard, (one) => one[part]), medianOf(measured.floor, (one) => one[part])];
    const ratio = candidate / floor;
    const target = { text: `≤ ${MOST_TIME.toFixed(2)} ×`, met: ratio <= MOST_TIME };
    return { bench: "gateway", item: `${what}: ${item}`, candidate: `${ms(candidate)}${note}`, floor: ms(floor), ratio, target };
  };
  return [
    row(`request to first byte (the model takes ${pace.firstAfterMs} ms)`, "first"),
    row(`request to the end of ${events} events`, "whole", ` (${digits(share)} % CPU)`),
  ];
}

interface Streamed {
  readonly eventsPerSecond: number;
  /** Processor time of the gateway. */
  readonly cpuMicros: number;
}

async function throughput(
  context: BenchContext,
  { through, direct, bare, gateway }: { through: Target; direct: Target; bare: Target; gateway: Gateway },
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
    const measured = await interleave(context.rounds, {
      runyard: () => stream(through, streams),
      floor: () => stream(direct, streams),
      relay: () => stream(bare, streams),
    });
    const speed = (all: readonly Streamed[]): number => medianOf(all, (one) => one.eventsPerSecond);
    const cpu = (medianOf(measured.runyard, (one) => one.cpuMicros) / events) * 1_000;
    const candidate = `${perSecond(speed(measured.runyard), "events")} (${micros(cpu)} CPU per 1,000)`;
    const row = (item: string, floor: number, least: number | null): Row => {
      const ratio = speed(measured.runyard) / floor;
      const target = least === null ? null : ratioAtLeast(least, ratio);
      return { bench: "gateway", item, candidate, floor: perSecond(floor, "events"), ratio, target };
    };
    const what = `${events} events as fast as they come, ${streams === 1 ? "one stream" : `${streams} streams at once`}`;
    rows.push(row(what, speed(measured.floor), streams === 1 ? 0.9 : null));
    rows.push(row("the same; floor: a bare relay that keeps what went through", speed(measured.relay), null));
  }
  return rows;
}

/** One call for so many events, over a connection of its own, as the gateway has it. Gives the milliseconds to the first byte. */
async function ask({ port, token }: Target, events: number, pace?: (typeof USUAL)["pace"]): Promise<number> {
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
  const stream = { stream: true, stream_options: { include_usage: true }, max_tokens: Math.ceil(events) };
  call.end(JSON.stringify({ model: "m", messages: [], ...stream, pace }));
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
