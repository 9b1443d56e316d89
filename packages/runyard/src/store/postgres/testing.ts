import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { homeAt, type Home } from "../../home.ts";
import { stopPostgres } from "./postgres.ts";

export interface Scratch {
  readonly home: Home;
  /** Stops the home's server and removes everything. */
  clear(): Promise<void>;
}

/**
 * A home in a new temporary directory with the given rights; `below` makes its path longer, and
 * `programsOf` spares it the copy of PostgreSQL's programs.
 */
export function scratchHome(options: { mode?: number; below?: string; programsOf?: Home } = {}): Scratch {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-pg-"));
  chmodSync(root, options.mode ?? 0o700);
  const home = homeAt(path.join(root, options.below ?? "home"));
  if (options.programsOf !== undefined) borrowPrograms(options.programsOf, home);
  return {
    home,
    async clear() {
      await stopPostgres(home);
      rmSync(root, { recursive: true, force: true });
      rmSync(home.postgresSocketDir, { recursive: true, force: true });
    },
  };
}

function borrowPrograms(from: Home, to: Home): void {
  mkdirSync(to.runtimeDir, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(from.runtimeDir)) symlinkSync(path.join(from.runtimeDir, name), path.join(to.runtimeDir, name));
}

/** Where a module of this folder is, for a program that is given as text. */
export function moduleUrl(name: string): string {
  return new URL(name, import.meta.url).href;
}

/** Runs a program of TypeScript text in a Node process of its own, which does not outlive the test that calls this. */
export function startNode(program: string, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const flags = ["--import", import.meta.resolve("tsx"), "--conditions=runyard-source", "--input-type=module", "--eval", program];
  const child = spawn(process.execPath, flags, {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** What a child wrote until it ended. */
export async function outputOf(child: ChildProcess): Promise<string> {
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((resolve) => child.once("close", resolve));
  return output;
}

/** The first line that a child writes. */
export function firstLineOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const end = output.indexOf("\n");
      if (end !== -1) resolve(output.slice(0, end));
    });
    child.once("close", () => reject(new Error(`The child ended and said only "${output}"`)));
  });
}
