// A stored log of 5,000 events to one reader and to fifty, beside a bare server that sends the same bytes from memory.
import { get, type IncomingMessage } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";
import type { NewEvent } from "@runyard/sdk/contract";
import { insertRun } from "../packages/runyard/src/store/runs.ts";
import type { BenchContext } from "./lib/bench.ts";
import { type FloorServer, withFloor } from "./lib/floor.ts";
import { withHome } from "./lib/home.ts";
import { cpuMicros } from "./lib/process.ts";
import { digits, perSecond, ratioAtLeast, type Row } from "./lib/report.ts";
import { interleave, medianOf } from "./lib/stats.ts";
import { newRun } from "./lib/stored-runs.ts";

const EVENTS = 5_000;
/** Readers at once, and how often each group reads for one measurement. */
const GROUPS = [
  { readers: 1, times: 10 },
  { readers: 50, times: 1 },
  { readers: 500, times: 1 },
] as const;
const TEXT = "What an agent says in a piece of its message, long enough for an event of some two hundred bytes.";

interface Source {
  readonly pid: number;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Fed {
  /** Events that all readers got in a second. */
  readonly rate: number;
  /** Processor microseconds of the server for a thousand events delivered. */
  readonly cpu: number;
}

export async function benchFeed(context: BenchContext): Promise<Row[]> {
  const count = context.count(EVENTS);
  return withHome(context.program, async (home) => {
    const server = await home.up();
    const { db } = await home.database();
    const run = await insertRun(db, newRun({ repository: home.repository, status: "failed", events: manyEvents(count) }));
    const source: Source = {
      pid: server.pid,
      url: `${server.url}/v1/agent-runs/${run.id}/events`,
      headers: { authorization: `Bearer ${server.token}`, accept: "text/event-stream" },
    };
    return withSameBytes(await readAll(source), (floor) => compare(context, count, { source, floor: { ...floor, headers: {} } }));
  });
}

async function compare(context: BenchContext, events: number, of: { source: Source; floor: Source }): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { readers, times } of GROUPS) {
    const measured = await interleave(context.rounds, {
      runyard: () => feed(of.source, { events, readers, times: context.count(times) }),
      floor: () => feed(of.floor, { events, readers, times: context.count(times) }),
    });
    const [candidate, floor] = [measured.runyard, measured.floor].map((all) => ({
      rate: medianOf(all, (one) => one.rate),
      cpu: medianOf(all, (one) => one.cpu),
    })) as [Fed, Fed];
    const ratio = candidate.rate / floor.rate;
    const cell = (one: Fed): string => `${perSecond(one.rate, "events")} (${digits(one.cpu)} µs CPU per 1,000)`;
    const item = `log of ${events} events, ${readers} ${readers === 1 ? "reader" : "readers"}`;
    rows.push({ bench: "feed", item, candidate: cell(candidate), floor: cell(floor), ratio, target: ratioAtLeast(0.7, ratio) });
  }
  return rows;
}

function manyEvents(count: number): NewEvent[] {
  const delta = (): NewEvent => ({ type: "message.delta", data: { messageId: "m1", kind: "text", text: TEXT } });
  const end: NewEvent = { type: "run.failed", data: { error: { type: "agent-error", message: "Stored by a bench" } } };
  return [...Array.from({ length: count - 1 }, delta), end];
}

async function withSameBytes(bytes: Buffer, work: (floor: FloorServer) => Promise<Row[]>): Promise<Row[]> {
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-bench-feed-"));
  const file = path.join(dir, "log");
  writeFileSync(file, bytes);
  try {
    return await withFloor({ kind: "feed", file }, work);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function feed(source: Source, group: { events: number; readers: number; times: number }): Promise<Fed> {
  const { events, readers, times } = group;
  const cpuBefore = cpuMicros(source.pid);
  const begunAt = performance.now();
  for (let i = 0; i < times; i++) await Promise.all(Array.from({ length: readers }, () => countBytes(source)));
  const seconds = (performance.now() - begunAt) / 1000;
  const delivered = events * readers * times;
  return { rate: delivered / seconds, cpu: ((cpuMicros(source.pid) - cpuBefore) * 1000) / delivered };
}

async function open(source: Source): Promise<IncomingMessage> {
  const [response] = (await once(get(source.url, { headers: source.headers, agent: false }), "response")) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`A log was refused (${response.statusCode})`);
  return response;
}

async function countBytes(source: Source): Promise<number> {
  const response = await open(source);
  let bytes = 0;
  response.on("data", (data: Buffer) => (bytes += data.length));
  await once(response, "end");
  return bytes;
}

async function readAll(source: Source): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const data of await open(source)) pieces.push(data as Buffer);
  return Buffer.concat(pieces);
}
