import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { RunyardClient } from "@runyard/sdk";
import type { RunEvent } from "@runyard/sdk/contract";
import { publishedProgram } from "./published.ts";
import { removeTree } from "../sandbox/remove-tree.ts";

/** A `runyard up` in a process of its own, as people run what they have installed. */
export interface TestServer {
  readonly url: string;
  readonly token: string;
  readonly client: RunyardClient;
  readonly pid: number;
  /** kill -9, and nothing else: what outlives the server goes on. */
  kill(): Promise<void>;
  isAlive(): boolean;
  /** What the server said on stderr. */
  said(): string;
}

/** A home for tests, and everything that is started in it. */
export interface TestHome {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  up(...flags: string[]): Promise<TestServer>;
  /** The same of another copy of the package, given by its bin. */
  upOf(program: string, ...flags: string[]): Promise<TestServer>;
  /** Runs a command of the CLI against this home. */
  cli(words: readonly string[], options?: { readonly cwd?: string; readonly input?: string }): Promise<CliResult>;
  /** Ends everything and removes the home. */
  close(): Promise<void>;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** In gigabytes: how many runs of a test are at work at a time is not to depend on the memory of the machine. */
const RUNYARD_MEMORY_BUDGET = "64";

/** Makes a home below the temporary directory; `env` comes on top of a plain environment. */
export function makeTestHome(env: Readonly<Record<string, string>> = {}): TestHome {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-test-home-"));
  const { PATH, HOME, LANG, NODE_OPTIONS } = process.env;
  const own = { NO_COLOR: "1", RUNYARD_HOME: path.join(root, "home"), RUNYARD_MEMORY_BUDGET };
  const whole: NodeJS.ProcessEnv = { PATH, HOME, LANG, NODE_OPTIONS, ...own, ...env };
  const cli: TestHome["cli"] = (words, options = {}) => runCli(words, { env: whole, ...options });
  return {
    root,
    env: whole,
    cli,
    up: async (...flags) => startServer(await publishedProgram(), whole, flags),
    upOf: (program, ...flags) => startServer(program, whole, flags),
    async close() {
      const down = await cli(["down"]);
      removeTree(root); // an agent may have left anything
      if (down.code !== 0) throw new Error(`runyard down failed: ${down.stderr}`);
    },
  };
}

async function startServer(program: string, env: NodeJS.ProcessEnv, flags: readonly string[]): Promise<TestServer> {
  const child = spawn(process.execPath, [program, "up", "--port", "0", "--json", ...flags], { env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const line = await new Promise<string | null>((resolve) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    void exited.then(() => resolve(null));
  });
  if (line === null) throw new Error(`The server did not start: ${said}`);
  const { url, tokenFile, pid } = JSON.parse(line) as { url: string; tokenFile: string; pid: number };
  const token = readFileSync(tokenFile, "utf8").trim();
  return {
    url,
    token,
    pid,
    client: new RunyardClient({ baseUrl: url, token }),
    said: () => said,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function runCli(
  words: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd?: string; readonly input?: string },
): Promise<CliResult> {
  const { env, cwd, input } = options;
  const child = spawn(process.execPath, [await publishedProgram(), ...words], { env, cwd, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  child.stdin.end(input ?? "");
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
}

/** A git repository with one commit of these files. */
export function makeRepository(root: string, files: Readonly<Record<string, string>>, name = "repository"): string {
  const repository = path.join(root, name);
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(repository, file)), { recursive: true });
    writeFileSync(path.join(repository, file), content);
  }
  gitIn(repository, "init", "--quiet", "--initial-branch=main");
  gitIn(repository, "add", "--all");
  gitIn(repository, "commit", "--quiet", "--message", "First");
  return repository;
}

/** Runs git in a repository that the test made, and returns what it printed. */
export function gitIn(repository: string, ...words: string[]): string {
  const identity = ["-c", "user.name=Test", "-c", "user.email=test@runyard.invalid", "-c", "commit.gpgsign=false"];
  return execFileSync("git", ["-C", repository, ...identity, ...words], { encoding: "utf8" }).trimEnd();
}

/** The whole log of a run, up to the end of its turn. */
export async function readLog(client: RunyardClient, runId: string): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of client.runs.events(runId)) events.push(event as RunEvent);
  return events;
}
