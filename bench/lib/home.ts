import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { type Home, homeAt } from "../../packages/runyard/src/home.ts";
import { type Database, openDatabase } from "../../packages/runyard/src/store/database.ts";
import { ensurePostgres } from "../../packages/runyard/src/store/postgres/postgres.ts";
import { makeRepository } from "./repository.ts";

/** The organization that a first start makes. */
export const ORG = "org_home";
const HOLD_HEAP = fileURLToPath(new URL("../programs/hold-heap.mjs", import.meta.url));

export interface UpOptions {
  /** Live heap that the server holds besides its own, in megabytes. */
  readonly heapMb?: number;
  readonly port?: number;
  /** Environment besides what every server has. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface BenchServer {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  /** Ends it as Ctrl-C does. */
  stop(): Promise<void>;
  /** kill -9: what outlives a server goes on. */
  kill(): Promise<void>;
}

/** A home of its own for one bench, with the repository that its runs work on. */
export interface BenchHome {
  readonly home: Home;
  readonly repository: string;
  up(options?: UpOptions): Promise<BenchServer>;
  /** Starts a server whose output nobody waits for. */
  launch(options: UpOptions): ChildProcess;
  /** The home's database, as the server sees it and as its superuser; closed with the home. */
  database(): Promise<{ db: Database; admin: pg.Client; connectionString: string }>;
  /** Ends everything, its servers too, and removes the home. */
  close(): Promise<void>;
}

const homes = new Set<BenchHome>();

/** Closes every home that is still open, for a bench that was interrupted. */
export async function closeHomes(): Promise<void> {
  for (const home of homes) await home.close();
}

/** Makes a home below the temporary directory, to be served by the given program. */
export function makeBenchHome(program: string): BenchHome {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-bench-"));
  const home = homeAt(path.join(root, "home"));
  const { PATH, HOME, LANG } = process.env;
  const env = { PATH, HOME, LANG, NO_COLOR: "1", RUNYARD_HOME: home.root };
  const closing: (() => Promise<void>)[] = [];
  const servers: BenchServer[] = [];

  const launch = ({ heapMb = 0, port = 0, env: more = {} }: UpOptions): ChildProcess => {
    const flags = heapMb > 0 ? ["--import", HOLD_HEAP] : [];
    return spawn(process.execPath, [...flags, program, "up", "--port", String(port), "--json"], {
      env: { ...env, ...more, BENCH_HEAP_MB: String(heapMb) },
      stdio: ["ignore", "pipe", "pipe"],
    });
  };
  const made: BenchHome = {
    home,
    repository: makeRepository(root),
    launch,
    async up(options = {}) {
      const server = await ready(launch(options));
      servers.push(server);
      return server;
    },
    async database() {
      const { connectionString } = await ensurePostgres({ home });
      const admin = new pg.Client({ connectionString });
      admin.on("error", () => undefined);
      await admin.connect();
      const db = openDatabase({ connectionString, applicationName: "runyard-bench" });
      closing.push(
        () => admin.end(),
        () => db.close(),
      );
      return { db, admin, connectionString };
    },
    async close() {
      homes.delete(made);
      for (const end of closing) await end();
      for (const server of servers) await server.stop();
      await promisify(execFile)(process.execPath, [program, "down"], { env });
      rmSync(root, { recursive: true, force: true });
    },
  };
  homes.add(made);
  return made;
}

async function ready(child: ChildProcess): Promise<BenchServer> {
  let said = "";
  child.stderr?.on("data", (data: Buffer) => (said += data.toString()));
  const exited = once(child, "exit").then(() => undefined);
  if (child.stdout === null) throw new Error("The server has no output");
  const line = await Promise.race([once(createInterface({ input: child.stdout }), "line"), exited]);
  if (line === undefined) throw new Error(`The server did not start: ${said}`);
  const { url, tokenFile, pid } = JSON.parse(String(line[0])) as { url: string; tokenFile: string; pid: number };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  return { url, token: readFileSync(tokenFile, "utf8").trim(), pid, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

/** Lets `work` use a home, and leaves nothing of it behind. */
export async function withHome<T>(program: string, work: (home: BenchHome) => Promise<T>): Promise<T> {
  const home = makeBenchHome(program);
  try {
    return await work(home);
  } finally {
    await home.close();
  }
}

/** A port that nobody uses at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
