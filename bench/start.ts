// From `POST /v1/agent-runs` to the first event of the agent, beside a bare spawn of the same program.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { RunEvent, SandboxDriverName } from "@runyard/sdk/contract";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { digits, ms, ratioAtMost, type Row } from "./lib/report.ts";
import { agentArgv, type AgentKind, SESSION } from "./lib/repository.ts";
import { createRun, followRun, trivialRun } from "./lib/runs.ts";
import { interleave, medianOf } from "./lib/stats.ts";
import { storeEndedRuns } from "./lib/stored-runs.ts";

const HEAP_MB = 500;
const STORED_RUNS = 10_000;
/** What may come on top of a bare spawn, in milliseconds. */
const ALLOWED_MS = { process: 3, bwrap: 15 } as const;

/** Milliseconds, each from the beginning of what it names. */
interface Start {
  readonly created: number;
  readonly firstEvent: number;
  /** From the claim to a workspace that is ready, by the times in the log. */
  readonly prepared: number;
  /** From there to the first event of the agent. */
  readonly agent: number;
  readonly done: number;
}

export async function benchStart(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, (plain) => withHome(context.program, (heavy) => measure(context, { plain, heavy })));
}

async function measure(context: BenchContext, homes: { plain: BenchHome; heavy: BenchHome }): Promise<Row[]> {
  const small = await homes.plain.up();
  const large = await homes.heavy.up({ heapMb: HEAP_MB });
  const { db } = await homes.heavy.database();
  const stored = context.count(STORED_RUNS);
  await storeEndedRuns(db, { count: stored, repository: homes.heavy.repository });
  const run = (server: BenchServer, agent: AgentKind, driver: SandboxDriverName) => (): Promise<Start> =>
    startRun(server, homes.plain.repository, { agent, driver });
  const measured = await interleave(context.count(9), {
    "sh, process": run(small, "sh", "process"),
    "sh, bwrap": run(small, "sh", "bwrap"),
    "node, process": run(small, "node", "process"),
    "node, bwrap": run(small, "node", "bwrap"),
    "heavy, process": run(large, "sh", "process"),
    "heavy, bwrap": run(large, "sh", "bwrap"),
    "bare sh": () => bareStart("sh"),
    "bare node": () => bareStart("node"),
  });
  const pick = (name: keyof typeof measured, what: keyof Start): number => medianOf(measured[name], (one) => one[what]);
  const rows: Row[] = [];
  for (const agent of ["sh", "node"] as const) {
    const floor = pick(`bare ${agent}`, "firstEvent");
    for (const driver of ["process", "bwrap"] as const) {
      const of = (what: keyof Start): number => pick(`${agent}, ${driver}`, what);
      rows.push(...startRows({ name: `${agent} agent, ${driver}`, allowedMs: ALLOWED_MS[driver], floor, of }));
    }
  }
  for (const driver of ["process", "bwrap"] as const) {
    const [candidate, itself] = [pick(`heavy, ${driver}`, "firstEvent"), pick(`sh, ${driver}`, "firstEvent")];
    const name = `first event, sh agent, ${driver}, ${HEAP_MB} MB of heap and ${stored} stored runs (floor: itself without)`;
    const ratio = candidate / itself;
    rows.push({ bench: "start", item: name, candidate: ms(candidate), floor: ms(itself), ratio, target: ratioAtMost(1.2, ratio) });
  }
  return rows;
}

/** The whole way with its target, and its parts. */
function startRows(options: { name: string; allowedMs: number; floor: number; of: (what: keyof Start) => number }): Row[] {
  const { name, allowedMs, floor, of } = options;
  const judged = (item: string, candidate: number): Row => {
    const target = { text: `≤ floor + ${allowedMs} ms (here + ${digits(candidate - floor)})`, met: candidate - floor <= allowedMs };
    return { bench: "start", item: `${name}: ${item}`, candidate: ms(candidate), floor: ms(floor), ratio: candidate / floor, target };
  };
  const part = (item: string, value: number): Row => ({
    bench: "start",
    item: `${name}: ${item}`,
    candidate: ms(value),
    floor: "",
    ratio: null,
    target: null,
  });
  return [
    judged("create to first agent event", of("firstEvent")),
    part("of it, create answered", of("created")),
    part("of it, workspace made from git", of("prepared")),
    judged("of it, agent started in a workspace that is ready", of("agent")),
    part("create to done", of("done")),
  ];
}

async function startRun(
  server: BenchServer,
  repository: string,
  { agent, driver }: { agent: AgentKind; driver: SandboxDriverName },
): Promise<Start> {
  const begunAt = performance.now();
  const { id } = await createRun(server, trivialRun({ repository, agent, driver }));
  const created = performance.now() - begunAt;
  let firstEvent = Number.NaN;
  const events = await followRun(server, id, (event) => {
    if (event.type === "agent.started") firstEvent = performance.now() - begunAt;
  });
  const at = (type: RunEvent["type"]): number => timeOf(events.find((event) => event.type === type)?.at ?? "");
  const ready = at("sandbox.ready");
  const claimed = at("run.started");
  return {
    created,
    firstEvent,
    prepared: ready - claimed,
    agent: at("agent.started") - ready,
    done: performance.now() - begunAt,
  };
}

/** Milliseconds with the microseconds that the log's times have. */
function timeOf(iso: string): number {
  const digitsBehindMillis = /\.\d{3}(\d+)Z$/.exec(iso)?.[1] ?? "";
  return Date.parse(iso) + Number(`0.${digitsBehindMillis || "0"}`);
}

/** The program itself: spawned, spoken to, first byte. */
async function bareStart(agent: AgentKind): Promise<Start> {
  const [file, ...args] = agentArgv(agent);
  const begunAt = performance.now();
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  child.stdin.write(SESSION);
  await once(child.stdout, "data");
  const firstEvent = performance.now() - begunAt;
  child.stdin.end();
  child.stdout.resume();
  await exited;
  return { created: 0, firstEvent, prepared: 0, agent: firstEvent, done: performance.now() - begunAt };
}
