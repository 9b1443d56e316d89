import { execFileSync, spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { RunyardClient } from "@runyard/sdk";
import { expect } from "vitest";
import { processesWith, readProc } from "../../src/sandbox/testing/processes.ts";
import { publishedProgram } from "../../src/testing/published.ts";
import type { CliResult, TestHome } from "../../src/testing/server.ts";

/** How a command is started; what is left out is as on any machine. */
export interface Circumstances {
  /** Words before the program, which change the machine that it sees. */
  readonly before?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
}

/** A `runyard up` that serves. */
export interface Serving {
  readonly url: string;
  readonly client: RunyardClient;
  readonly pid: number;
  /** Ends it as Ctrl-C does, and expects that nothing is left. */
  leave(): Promise<void>;
  /** kill -9: what outlives a server goes on. */
  kill(): Promise<void>;
}

async function start(home: TestHome, words: readonly string[], { before = [], env = {} }: Circumstances) {
  const [program = "", ...args] = [...before, process.execPath, await publishedProgram(), ...words];
  const child = spawn(program, args, { env: { ...home.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const closed = new Promise<CliResult>((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
  return { child, closed, said: () => stderr };
}

/** Runs a command to its end. */
export async function run(home: TestHome, words: readonly string[], circumstances: Circumstances = {}): Promise<CliResult> {
  const { child, closed } = await start(home, words, circumstances);
  // A command may end without having read what it was given.
  child.stdin.on("error", () => undefined);
  child.stdin.end(circumstances.input ?? "");
  return closed;
}

/** Starts a server that must come up. */
export async function serve(home: TestHome, flags: readonly string[] = [], circumstances: Circumstances = {}): Promise<Serving> {
  const { child, closed, said } = await start(home, ["up", "--port", "0", "--json", ...flags], circumstances);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    void closed.then(() => reject(new Error(`It did not start: ${said()}`)));
  });
  const { url, tokenFile, pid } = JSON.parse(line) as { url: string; tokenFile: string; pid: number };
  return {
    url,
    pid,
    client: new RunyardClient({ baseUrl: url, token: readFileSync(tokenFile, "utf8").trim() }),
    async leave() {
      process.kill(pid, "SIGINT");
      expect(await closed).toMatchObject({ code: 0, stderr: expect.stringContaining("Nothing is left running.") });
      expect(processesOf(home)).toEqual([]);
    },
    async kill() {
      process.kill(pid, "SIGKILL");
      await closed;
    },
  };
}

/** With its cause gone, the next start in the same home works, and leaves nothing running. */
export async function expectServes(home: TestHome, flags: readonly string[] = [], circumstances: Circumstances = {}): Promise<void> {
  await (await serve(home, flags, circumstances)).leave();
}

/** What `runyard up` says where it cannot start; nothing of that home may run afterwards. */
export async function refusedStart(home: TestHome, flags: readonly string[] = [], circumstances: Circumstances = {}): Promise<CliResult> {
  const { code, stdout, stderr } = await run(home, ["up", "--port", "0", "--json", ...flags], circumstances);
  // A gateway that could not take its place ends by itself, a moment later than the start.
  await expect.poll(() => processesOf(home)).toEqual([]);
  expect(stderr).not.toMatch(/^ +at /m);
  return { code, stdout, stderr: withoutProgress(stderr) };
}

/** What is told of the way is not what is told of the end. */
function withoutProgress(stderr: string): string {
  return stderr.replaceAll(/^(Building the programs|Making the database|Copying) .*\n/gm, "");
}

/** Command lines of what runs of a home: the programs that were started from it, and commands that were told of it. */
export function processesOf(home: TestHome): string[] {
  const told = processesWith(`RUNYARD_HOME=${home.root}${path.sep}`, ["environ"]);
  const pids = new Set([...processesWith(home.root), ...told]);
  return [...pids].map((pid) => readProc(pid, "cmdline").replaceAll("\0", " "));
}

/** Removes a home, in which nothing may run any more. */
export async function removeHome(home: TestHome): Promise<void> {
  const left = processesOf(home);
  if (left.length > 0) await run(home, ["down"]);
  rmSync(home.root, { recursive: true, force: true });
  expect(left).toEqual([]);
}

/** Words before a command for which some files of this machine are others: pairs of what it is to be, and where. */
export function machineWith(...files: readonly (readonly [source: string, place: string])[]): string[] {
  return ["bwrap", "--dev-bind", "/", "/", ...files.flatMap(([source, place]) => ["--bind", source, place]), "--"];
}

/** Where a program of this machine lies. */
export function placeOf(program: string): string {
  return execFileSync("which", [program], { encoding: "utf8" }).trim();
}

/** `NODE_OPTIONS` under which Node's clock is wrong by so many milliseconds. */
export function wrongClock(byMs: number): Record<string, string> {
  const script = `const Real=Date;const off=${byMs};globalThis.Date=class extends Real{constructor(...a){if(a.length)super(...a);else super(Real.now()+off)}static now(){return Real.now()+off}};`;
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(script)}` };
}

/** `NODE_OPTIONS` under which Node's clock is wrong by as many milliseconds as a file says, at every moment. */
export function movableClock(file: string): Record<string, string> {
  const script = `import{readFileSync}from"node:fs";const Real=Date;let off=0;setInterval(()=>{try{off=Number(readFileSync(${JSON.stringify(file)},"utf8"))||0}catch{}},50).unref();globalThis.Date=class extends Real{constructor(...a){if(a.length)super(...a);else super(Real.now()+off)}static now(){return Real.now()+off}};`;
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(script)}` };
}
