import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("../programs/floor.mjs", import.meta.url));

export interface FloorOptions {
  readonly kind: "bare" | "hono" | "feed" | "create" | "query" | "push" | "ingest";
  readonly databaseUrl?: string;
  readonly port?: number;
  readonly file?: string;
}

export interface FloorServer {
  readonly url: string;
  readonly pid: number;
}

/** Starts a floor in a process of its own, and does not wait for it. */
export function launchFloor({ kind, databaseUrl = "", port = 0, file = "" }: FloorOptions): ChildProcess {
  return spawn(process.execPath, [PROGRAM, kind, String(port), file], {
    env: { PATH: process.env["PATH"], DATABASE_URL: databaseUrl },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Lets `work` use a floor that serves, and ends it. */
export async function withFloor<T>(options: FloorOptions, work: (floor: FloorServer) => Promise<T>): Promise<T> {
  const child = launchFloor(options);
  const exited = once(child, "exit");
  try {
    if (child.stdout === null) throw new Error("The floor has no output");
    const line = await Promise.race([once(createInterface({ input: child.stdout }), "line"), exited.then(() => undefined)]);
    if (line === undefined) throw new Error(`The floor ${options.kind} did not start`);
    return await work(JSON.parse(String(line[0])) as FloorServer);
  } finally {
    await killed(child);
  }
}

/** Kills a child and waits for its end. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
