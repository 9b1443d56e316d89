// Real agents on a scripted model, through Runyard and alone: how long until they are ready and done, and what memory they take.
import { client, methods, ndJsonStream } from "@agentclientprotocol/sdk";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { RunEvent } from "@runyard/sdk/contract";
import type { ProfileContext } from "../packages/runyard/src/agents/profiles/profile.ts";
import { resolveProfile } from "../packages/runyard/src/agents/profiles/profiles.ts";
import { SYSTEM_PATH } from "../packages/runyard/src/sandbox/toolchains.ts";
import {
  type ModelScript,
  type ModelStep,
  type ScriptedModel,
  startScriptedModel,
} from "../packages/runyard/src/testing/scripted-model.ts";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { findProcesses, memoryOf, treeOf } from "./lib/process.ts";
import { megabytes, ms, type Row } from "./lib/report.ts";
import { createRun, followRun } from "./lib/runs.ts";
import { interleave, medianOf } from "./lib/stats.ts";

const NAMES = ["builtin", "opencode", "codex"] as const;
type Name = (typeof NAMES)[number];

const FOLDER = fileURLToPath(new URL("../test/agents", import.meta.url));
/** The pinned agents of the test suite. */
const PROGRAMS = { RUNYARD_OPENCODE: FOLDER, RUNYARD_CODEX: path.join(FOLDER, "codex"), RUNYARD_CODEX_ACP: path.join(FOLDER, "codex") };

/** Two commands, a file, some words: four model calls. */
const SCRIPT: readonly ModelStep[] = [
  { run: "ls" },
  { write: ["note.txt", "Measured.\n"] },
  { run: "cat note.txt" },
  { say: "The note is written." },
];
/** The same from a model that takes as long as a fast one does before each answer. */
const MODEL_TAKES_MS = 1000;
const PACED_SCRIPT: ModelScript = SCRIPT.map((step) => ({ ...step, delayMs: MODEL_TAKES_MS }));
const TASK = "Write a note";
const MEMORY_EVERY_MS = 200;
/** What Runyard may add to an agent's own time: 3 hundredths of it, and this. */
const [ALLOWED_RATIO, ALLOWED_MS] = [1.03, 10];

interface Measured {
  /** From its start to a session, milliseconds. */
  readonly ready: number;
  /** From its start to the end of its turn, milliseconds. */
  readonly done: number;
  /** The same with the workspace before and the result behind it; alone: as `done`. */
  readonly whole: number;
  /** Most memory of all its processes at a time; bytes. */
  readonly peak: number;
}

export async function benchAgents(context: BenchContext): Promise<Row[]> {
  const model = await startScriptedModel(SCRIPT);
  try {
    return await withHome(context.program, async (home) => {
      const server = await home.up({
        env: { ...PROGRAMS, OPENAI_BASE_URL: model.url, OPENAI_API_KEY: "sk-bench", RUNYARD_MODEL: "scripted-1" },
      });
      const rows: Row[] = [];
      for (const name of NAMES) rows.push(...(await measure(context, { name, home, server, model })));
      return rows;
    });
  } finally {
    await model.close();
  }
}

interface Place {
  readonly name: Name;
  readonly home: BenchHome;
  readonly server: BenchServer;
  readonly model: ScriptedModel;
}

async function measure(context: BenchContext, place: Place): Promise<Row[]> {
  const { name } = place;
  const probe = await resolveProfile(name, { ...process.env, ...PROGRAMS })?.probe({ ...process.env, ...PROGRAMS });
  if (probe?.installed !== true) {
    context.say(`agents: ${name} is left out. ${probe?.reason ?? ""}`);
    return [];
  }
  const both = (script: ModelScript): Promise<{ runyard: Measured[]; alone: Measured[] }> => {
    place.model.play(script);
    return interleave(context.count(context.rounds), { runyard: () => throughRunyard(place), alone: () => alone(place) });
  };
  const title = `${name}${probe.version === null ? "" : ` ${probe.version}`}`;
  const atOnce = rowsOf(title, await both(SCRIPT));
  const paced = rowsOf(title, await both(PACED_SCRIPT));
  return [
    atOnce("start to a session", "ready"),
    atOnce("start to the end of a turn of four model calls, answered at once", "done"),
    paced(`the same, each model call answered after ${MODEL_TAKES_MS / 1000} s`, "done"),
    atOnce("create to done, workspace and branch included", "whole"),
    atOnce("most memory, all of its processes", "peak"),
  ];
}

/** Makes rows of what was measured; the whole of a turn has a target. */
function rowsOf(
  title: string,
  measured: Readonly<Record<"runyard" | "alone", readonly Measured[]>>,
): (item: string, what: keyof Measured) => Row {
  return (item, what) => {
    const [candidate, floor] = [medianOf(measured.runyard, (one) => one[what]), medianOf(measured.alone, (one) => one[what])];
    const say = (value: number): string => (what === "peak" ? `${megabytes(value)} PSS` : ms(value));
    const most = floor * ALLOWED_RATIO + ALLOWED_MS;
    const target = { text: `≤ ${ALLOWED_RATIO} × + ${ALLOWED_MS} ms (${ms(most)})`, met: candidate <= most };
    return {
      bench: "agents",
      item: `${title}: ${item}`,
      candidate: say(candidate),
      floor: say(floor),
      ratio: candidate / floor,
      target: what === "done" ? target : null,
    };
  };
}

async function throughRunyard({ name, home, server }: Place): Promise<Measured> {
  const begunAt = performance.now();
  const { id } = await createRun(server, { task: TASK, repositoryUrl: home.repository, agent: { profile: name } });
  const watch = watchMemory(() => findProcesses(home.home.runsDir, "shim.sh").flatMap(treeOf));
  const events = await followRun(server, id);
  const whole = performance.now() - begunAt;
  const at = (type: RunEvent["type"]): number => Date.parse(events.find((event) => event.type === type)?.at ?? "");
  const from = at("sandbox.ready");
  return { ready: at("agent.started") - from, done: at("turn.ended") - from, whole, peak: watch.stop() };
}

/** The same program in a clone of the same repository, told the same, without a sandbox and a log. */
async function alone({ name, home, model }: Place): Promise<Measured> {
  const dir = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-bench-agent-")));
  const [workspace, own] = [path.join(dir, "workspace"), path.join(dir, "home")];
  const profile = resolveProfile(name, { ...process.env, ...PROGRAMS });
  if (profile === undefined) throw new Error(`There is no profile ${name}`);
  execFileSync("git", ["clone", "--quiet", home.repository, workspace]);
  mkdirSync(own);
  const context: ProfileContext = {
    workspace,
    home: own,
    gatewayUrl: model.url.replace(/\/v1$/, ""),
    token: "sk-bench",
    model: "scripted-1",
    command: null,
    builtinProgram: builtinProgram(home),
    nodeProgram: process.execPath,
  };
  for (const file of profile.homeFiles(context)) {
    const target = path.join(own, file.path);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, file.content);
  }
  const [program = "", ...words] = profile.argv(context);
  const begunAt = performance.now();
  const child = spawn(program, words, {
    cwd: workspace,
    env: { ...profile.env(context), PATH: SYSTEM_PATH.join(":") },
    stdio: ["pipe", "pipe", "ignore"],
    detached: true,
  });
  const watch = watchMemory(() => treeOf(child.pid ?? 0));
  try {
    const { ready, done } = await converse(child, workspace);
    return { ready: ready - begunAt, done: done - begunAt, whole: done - begunAt, peak: watch.stop() };
  } finally {
    endGroup(child);
    await once(child, "close");
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One session with one prompt; everything that is asked is allowed. The times at which both were there. */
async function converse(child: ChildProcess, cwd: string): Promise<{ ready: number; done: number }> {
  if (child.stdin === null || child.stdout === null) throw new Error("The agent has no streams");
  const input = Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>;
  const connection = client({ name: "bench" })
    .onRequest(methods.client.session.requestPermission, ({ params }) => {
      const option = params.options.find(({ kind }) => kind === "allow_once") ?? params.options[0];
      return { outcome: { outcome: "selected" as const, optionId: option?.optionId ?? "" } };
    })
    .onNotification(methods.client.session.update, () => undefined)
    .connect(ndJsonStream(Writable.toWeb(child.stdin), input));
  await connection.agent.request(methods.agent.initialize, { protocolVersion: 1, clientCapabilities: {} });
  const { sessionId } = await connection.agent.request(methods.agent.session.new, { cwd, mcpServers: [] });
  const ready = performance.now();
  const { stopReason } = await connection.agent.request(methods.agent.session.prompt, {
    sessionId,
    prompt: [{ type: "text", text: TASK }],
  });
  if (stopReason !== "end_turn") throw new Error(`The agent stopped: ${stopReason}`);
  return { ready, done: performance.now() };
}

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** The built-in agent as the server of this home has installed it. */
function builtinProgram({ home }: BenchHome): string {
  const version = readdirSync(home.runtimeDir).find((name) => !name.startsWith("."));
  return path.join(home.runtimeDir, version ?? "", "agent.mjs");
}

/** Looks at the memory of processes again and again; `stop` gives the most that there was at a time. */
function watchMemory(pids: () => number[]): { stop(): number } {
  let peak = 0;
  const look = (): void => {
    peak = Math.max(
      peak,
      [...new Set(pids())].reduce((sum, pid) => sum + memoryOf(pid).pss, 0),
    );
  };
  const timer = setInterval(look, MEMORY_EVERY_MS);
  return {
    stop() {
      look();
      clearInterval(timer);
      return peak;
    },
  };
}
