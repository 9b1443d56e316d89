// From the start of `runyard up` to the first good answer of /readyz: with nothing alive, and with what outlived a killed server.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePostgres, stopPostgres } from "../packages/runyard/src/store/postgres/postgres.ts";
import type { BenchContext } from "./lib/bench.ts";
import { killed, launchFloor } from "./lib/floor.ts";
import { type BenchHome, freePort, withHome } from "./lib/home.ts";
import { cpuMicros } from "./lib/process.ts";
import { digits, ms, ratioAtMost, type Row } from "./lib/report.ts";
import { interleave, medianOf } from "./lib/stats.ts";

const POLL_MS = 3;
const GIVE_UP_MS = 60_000;

interface Cold {
  /** Milliseconds to the first good answer. */
  readonly ready: number;
  /** Processor milliseconds of the server process until then. */
  readonly cpu: number;
}

export async function benchCold(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, (down) => withHome(context.program, (alive) => measure(context, { down, alive })));
}

async function measure(context: BenchContext, homes: { down: BenchHome; alive: BenchHome }): Promise<Row[]> {
  const { down, alive } = homes;
  // The first start ever makes the database's files; it is not what is measured.
  await (await down.up()).stop();
  await (await alive.up()).kill();
  const { connectionString } = await ensurePostgres({ home: alive.home });
  const floor = (kind: "bare" | "hono") => async (): Promise<Cold> => {
    const port = await freePort();
    return untilReady(() => launchFloor({ kind, port, databaseUrl: connectionString }), port, killed);
  };
  const measured = await interleave(context.rounds, {
    down: () => coldStart(down, "SIGTERM"),
    adopt: () => coldStart(alive, "SIGKILL"),
    bare: floor("bare"),
    hono: floor("hono"),
    postgres: () => postgresAlone(down),
  });
  const of = (name: keyof typeof measured, what: keyof Cold = "ready"): number => medianOf(measured[name], (one) => one[what]);
  const row = (item: string, names: [keyof typeof measured, keyof typeof measured], judge: boolean): Row => {
    const [candidate, floorMs] = [of(names[0]), of(names[1])];
    const ratio = candidate / floorMs;
    const cells = [
      `${ms(candidate)} (${digits(of(names[0], "cpu"))} ms CPU)`,
      `${ms(floorMs)} (${digits(of(names[1], "cpu"))} ms CPU)`,
    ] as const;
    return { bench: "cold", item, candidate: cells[0], floor: cells[1], ratio, target: judge ? ratioAtMost(2, ratio) : null };
  };
  return [
    row("`runyard up`, PostgreSQL and gateway alive; floor: hono + pg", ["adopt", "hono"], true),
    row("the same; floor: bare node:http + pg", ["adopt", "bare"], false),
    row("`runyard up`, nothing alive; floor: hono + pg with PostgreSQL alive", ["down", "hono"], false),
    { ...row("of it, PostgreSQL: start to ready", ["postgres", "hono"], false), candidate: ms(of("postgres")), floor: "", ratio: null },
  ];
}

async function coldStart(home: BenchHome, ending: "SIGTERM" | "SIGKILL"): Promise<Cold> {
  const port = await freePort();
  return untilReady(
    () => home.launch({ port }),
    port,
    async (child) => {
      const exited = once(child, "exit");
      // It is ready before it has said so; a signal is heard from the beginning.
      child.kill(ending);
      await exited;
    },
  );
}

/** Starts a server, waits for its first good answer, and ends it. */
async function untilReady(launch: () => ChildProcess, port: number, end: (child: ChildProcess) => Promise<void>): Promise<Cold> {
  const begunAt = performance.now();
  const child = launch();
  child.stdout?.resume();
  child.stderr?.resume();
  try {
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() - begunAt > GIVE_UP_MS) throw new Error("A server did not come to be ready");
      await sleep(POLL_MS);
    }
    const ready = performance.now() - begunAt;
    return { ready, cpu: cpuMicros(child.pid ?? 0) / 1000 };
  } finally {
    await end(child);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path: "/readyz", agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("error", () => resolve(false));
  });
}

async function postgresAlone(home: BenchHome): Promise<Cold> {
  const begunAt = performance.now();
  await ensurePostgres({ home: home.home });
  const ready = performance.now() - begunAt;
  await stopPostgres(home.home);
  return { ready, cpu: Number.NaN };
}
