// A live log: how late events of an agent that says a hundred things in a second reach up to 500 readers, and how
// much of one that says all at once is stored and told in a second.
import { get, type IncomingMessage } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BenchContext } from "./lib/bench.ts";
import { type FloorServer, withFloor } from "./lib/floor.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { ms, perSecond, ratioAtLeast, ratioAtMost, type Row } from "./lib/report.ts";
import { chattyArgv, chattyCommand, SESSION } from "./lib/repository.ts";
import { createRun } from "./lib/runs.ts";
import { interleave, medianOf, quantile } from "./lib/stats.ts";

const READERS = [1, 50, 500] as const;
const EVENTS = 300;
const EVERY_MS = 10;
/** Readers whose events are looked at; the others only take them. */
const WATCHED = 10;
const INGESTED = 20_000;

interface Lag {
  readonly p50: number;
  readonly p99: number;
}

export async function benchFanout(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    const server = await home.up();
    const rows: Row[] = [];
    const events = context.count(EVENTS);
    await withFloor({ kind: "push" }, async (floor) => {
      for (const readers of READERS) {
        const measured = await interleave(context.rounds, {
          runyard: () => lagOfRun({ home, server, events, readers }),
          floor: () => lagOfPush({ floor, events, readers }),
        });
        rows.push(...lagRows(readers, measured));
      }
    });
    return [...rows, await ingest(context, home, server)];
  });
}

function lagRows(readers: number, measured: Record<"runyard" | "floor", Lag[]>): Row[] {
  return (["p50", "p99"] as const).map((what) => {
    const [candidate, floor] = [medianOf(measured.runyard, (one) => one[what]), medianOf(measured.floor, (one) => one[what])];
    const ratio = candidate / floor;
    const item = `stored to read, 100 events/s, ${readers} ${readers === 1 ? "reader" : "readers"}, ${what}`;
    const target = what === "p99" && readers > 1 ? ratioAtMost(1.5, ratio) : null;
    return { bench: "fanout", item, candidate: ms(candidate), floor: ms(floor), ratio, target };
  });
}

interface Live {
  readonly events: number;
  readonly readers: number;
}

async function lagOfRun({ home, server, events, readers }: Live & { home: BenchHome; server: BenchServer }): Promise<Lag> {
  const { id } = await startChatty(home, server, { count: events, everyMs: EVERY_MS });
  const headers = { authorization: `Bearer ${server.token}`, accept: "text/event-stream" };
  const url = `${server.url}/v1/agent-runs/${id}/events`;
  return lagOf(await Promise.all(Array.from({ length: readers }, () => open(url, headers))));
}

async function lagOfPush({ floor, events, readers }: Live & { floor: FloorServer }): Promise<Lag> {
  const all = await Promise.all(Array.from({ length: readers }, () => open(floor.url, {})));
  await fetch(`${floor.url}/${events}/${EVERY_MS}`, { method: "POST" });
  return lagOf(all);
}

/** From the time in an event to its arrival, at some of the readers. */
async function lagOf(readers: readonly IncomingMessage[]): Promise<Lag> {
  const lags: number[] = [];
  await Promise.all(
    readers.map(async (reader, index) => {
      if (index < WATCHED) {
        let rest = "";
        reader.setEncoding("utf8").on("data", (data: string) => {
          const now = performance.timeOrigin + performance.now();
          const messages = (rest + data).split("\n\n");
          rest = messages.pop() ?? "";
          for (const message of messages) {
            if (!message.includes('"plan.updated"')) continue;
            lags.push(now - Date.parse(/"at":"([^"]+)"/.exec(message)?.[1] ?? ""));
          }
        });
      } else reader.resume();
      await once(reader, "end");
    }),
  );
  return { p50: quantile(lags, 0.5), p99: quantile(lags, 0.99) };
}

async function startChatty(home: BenchHome, server: BenchServer, { count, everyMs }: { count: number; everyMs: number }) {
  return createRun(server, {
    task: "Say much",
    repositoryUrl: home.repository,
    agent: { command: chattyCommand(count, everyMs) },
    permissionPolicy: { ask: [], deny: [] },
    settings: { sandboxDriver: "process" },
  });
}

async function open(url: string, headers: Readonly<Record<string, string>>): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { headers, agent: false }), "response")) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`A log was refused (${response.statusCode})`);
  return response;
}

/** Events in a second, from the first to the last that one reader sees, all of them stored. */
async function ingest(context: BenchContext, home: BenchHome, server: BenchServer): Promise<Row> {
  const count = context.count(INGESTED);
  const { admin, connectionString } = await home.database();
  await admin.query(
    "create schema if not exists bench; create table bench.lines (run text, seq int, line json not null, primary key (run, seq))",
  );
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-bench-ingest-"));
  const file = path.join(dir, "agent.json");
  writeFileSync(file, JSON.stringify({ argv: chattyArgv(count, 0), session: SESSION }));
  const headers = { authorization: `Bearer ${server.token}`, accept: "text/event-stream" };
  try {
    const measured = await withFloor({ kind: "ingest", databaseUrl: connectionString, file }, (floor) =>
      interleave(context.rounds, {
        runyard: async () => {
          const { id } = await startChatty(home, server, { count, everyMs: 0 });
          return rateOf(await open(`${server.url}/v1/agent-runs/${id}/events`, headers), count);
        },
        floor: async () => {
          const reader = await open(floor.url, {});
          await fetch(floor.url, { method: "POST" });
          return rateOf(reader, count);
        },
      }),
    );
    const [candidate, floor] = [medianOf(measured.runyard, (one) => one), medianOf(measured.floor, (one) => one)];
    const ratio = candidate / floor;
    const item = `an agent that says ${count} things at once: stored and read`;
    return {
      bench: "fanout",
      item,
      candidate: perSecond(candidate, "events"),
      floor: perSecond(floor, "events"),
      ratio,
      target: ratioAtLeast(0.6, ratio),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function rateOf(reader: IncomingMessage, count: number): Promise<number> {
  const marks: number[] = [];
  let [seen, rest] = [0, ""];
  for await (const data of reader.setEncoding("utf8")) {
    const messages = (rest + String(data)).split("\n\n");
    rest = messages.pop() ?? "";
    const plans = messages.filter((message) => message.includes('"plan')).length;
    if (plans === 0) continue;
    if (seen === 0) marks.push(performance.now());
    seen += plans;
    if (seen >= count) marks.push(performance.now());
  }
  const [first = Number.NaN, last = Number.NaN] = marks;
  if (seen < count) throw new Error(`${seen} of ${count} events came`);
  return (count * 1000) / (last - first);
}
