import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { homeAt, type Home } from "../home.ts";
import { installFrom, installRuntime, runtimeVersion, type Runtime, type RuntimeSources } from "./install.ts";

let dir: string;
let home: Home;
let sources: RuntimeSources;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "runyard-runtime-"));
  home = homeAt(path.join(dir, "home"));
  mkdirSync(home.root);
  put("agent.ts", 'import { word } from "./word.ts";\nconsole.log("agent", word);\n');
  put("gateway.ts", 'import { word } from "./word.ts";\nconsole.log("gateway", word, typeof require);\n');
  put("run-tools.ts", 'console.log("run tools");\n');
  put("container.ts", 'console.log("container");\n');
  put("word.ts", 'export const word: string = "one";\n');
  for (const name of ["container-node.sh", "shim.sh", "spawner.sh"]) put(name, `#!/bin/sh\necho ${name}\n`);
  chmodSync(path.join(dir, "shim.sh"), 0o600);
  sources = {
    bundled: Object.fromEntries(["agent", "container", "gateway", "run-tools"].map((name) => [name, path.join(dir, `${name}.ts`)])),
    copied: ["container-node.sh", "shim.sh", "spawner.sh"].map((name) => path.join(dir, name)),
  };
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Writes a file with a time in the past: what has just changed is looked at again, as its time cannot be trusted. */
function put(name: string, text: string, ageS = 60): void {
  const file = path.join(dir, name);
  writeFileSync(file, text);
  const time = Date.now() / 1000 - ageS;
  utimesSync(file, time, time);
}

async function install(): Promise<{ runtime: Runtime; built: boolean }> {
  let built = false;
  const runtime = await installFrom(sources, { home, onProgress: () => (built = true) });
  return { runtime, built };
}

function visible(): string[] {
  return readdirSync(home.runtimeDir).filter((name) => !name.startsWith("."));
}

function unfinished(): string[] {
  return readdirSync(home.runtimeDir).filter((name) => name.startsWith(".new-"));
}

const run = (program: string): string =>
  execFileSync(program.endsWith(".sh") ? "sh" : process.execPath, [program], { encoding: "utf8", cwd: "/" });

test("the first install makes a directory by content, with programs that run", async () => {
  const { runtime, built } = await install();
  expect(built).toBe(true);
  expect(runtime.dir).toBe(path.join(home.runtimeDir, runtime.hash));
  expect(readdirSync(runtime.dir)).toEqual([
    "agent.mjs",
    "container-node.sh",
    "container.mjs",
    "gateway.mjs",
    "run-tools.mjs",
    "shim.sh",
    "spawner.sh",
  ]);
  expect(run(runtime.builtinAgentProgram)).toBe("agent one\n");
  expect(run(runtime.gatewayProgram)).toBe("gateway one function\n");
  expect(run(runtime.runToolsProgram)).toBe("run tools\n");
  expect(execFileSync(runtime.shimProgram, { encoding: "utf8" })).toBe("shim.sh\n");
  expect(run(runtime.spawnerProgram)).toBe("spawner.sh\n");
  expect(unfinished()).toEqual([]);
  expect(statSync(home.runtimeDir).mode & 0o777).toBe(0o700);
});

test("when nothing has changed, nothing is built", async () => {
  const first = await install();
  const made = statSync(first.runtime.builtinAgentProgram).mtimeMs;
  const second = await install();
  expect(second.built).toBe(false);
  expect(second.runtime).toEqual(first.runtime);
  expect(statSync(second.runtime.builtinAgentProgram).mtimeMs).toBe(made);
});

test.each(["word.ts", "shim.sh"])("a change of %s makes a new directory and leaves the old one", async (name) => {
  const first = await install();
  put(name, name === "word.ts" ? 'export const word: string = "two";\n' : "#!/bin/sh\necho changed\n", 30);
  const second = await install();
  expect(second.built).toBe(true);
  expect(visible().sort()).toEqual([first.runtime.hash, second.runtime.hash].sort());
  expect(run(first.runtime.builtinAgentProgram)).toBe("agent one\n");
  expect(run(second.runtime.builtinAgentProgram)).toBe(name === "word.ts" ? "agent two\n" : "agent one\n");
  expect(run(second.runtime.shimProgram)).toBe(name === "word.ts" ? "shim.sh\n" : "changed\n");
});

test("a source that is touched but says the same makes the same directory", async () => {
  const first = await install();
  put("word.ts", 'export const word: string = "one";\n', 10);
  const second = await install();
  expect(second).toEqual({ runtime: first.runtime, built: true });
  expect((await install()).built).toBe(false);
});

test("a source of the future is never taken for unchanged", async () => {
  put("word.ts", 'export const word: string = "one";\n', -60);
  expect((await install()).built).toBe(true);
  expect((await install()).built).toBe(true);
});

test("what is half there is replaced", async () => {
  const { runtime } = await install();
  writeFileSync(runtime.gatewayProgram, "");
  rmSync(runtime.shimProgram);
  const again = await install();
  expect(again).toEqual({ runtime, built: true });
  expect(run(runtime.gatewayProgram)).toBe("gateway one function\n");
  expect(visible()).toEqual([runtime.hash]);
});

test("left-overs are not used, and go when they are old", async () => {
  mkdirSync(path.join(home.runtimeDir, ".new-old"), { recursive: true });
  writeFileSync(path.join(home.runtimeDir, ".new-old/agent.mjs"), "half");
  utimesSync(path.join(home.runtimeDir, ".new-old"), 1, 1);
  mkdirSync(path.join(home.runtimeDir, ".new-young"));
  chmodSync(home.runtimeDir, 0o700);
  const { runtime } = await install();
  expect(run(runtime.builtinAgentProgram)).toBe("agent one\n");
  expect(unfinished()).toEqual([".new-young"]);
});

test("broken stamps are as good as none", async () => {
  const { runtime } = await install();
  const stamps = readdirSync(home.runtimeDir).find((name) => name.startsWith(".stamps-")) ?? "";
  writeFileSync(path.join(home.runtimeDir, stamps), '{"hash":"x');
  expect(await install()).toEqual({ runtime, built: true });
});

test("a built package copies its programs", async () => {
  const { runtime } = await install();
  const prebuilt = path.join(dir, "prebuilt");
  cpSync(runtime.dir, prebuilt, { recursive: true });
  const copied = readdirSync(prebuilt).map((name) => path.join(prebuilt, name));
  const other = homeAt(path.join(dir, "other"));
  mkdirSync(other.root);
  const result = await installFrom({ bundled: {}, copied }, { home: other });
  expect(result.hash).toBe(runtime.hash);
  expect(run(result.builtinAgentProgram)).toBe("agent one\n");
});

describe("in processes of their own", () => {
  function start(): ChildProcess {
    const program = fileURLToPath(new URL("testing/install-once.ts", import.meta.url));
    const words = ["--import", "tsx", "--conditions=runyard-source", program, JSON.stringify({ sources, root: home.root })];
    return spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  }

  async function outputOf(child: ChildProcess): Promise<string[]> {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    expect(code).toBe(0);
    return text.trim().split("\n");
  }

  test("several at once make one directory", async () => {
    const outputs = await Promise.all([start(), start(), start()].map(outputOf));
    const runtimes = outputs.map((lines) => JSON.parse(lines.at(-1) ?? "") as Runtime);
    expect(new Set(runtimes.map((runtime) => runtime.hash)).size).toBe(1);
    expect(visible()).toEqual([runtimes[0]?.hash]);
    expect(unfinished()).toEqual([]);
    expect(run(runtimes[0]?.builtinAgentProgram ?? "")).toBe("agent one\n");
  });

  test("one that is killed in the middle leaves nothing that is taken for whole", async () => {
    const child = start();
    child.stdout?.once("data", () => child.kill("SIGKILL"));
    await once(child, "close");
    expect(child.signalCode).toBe("SIGKILL");
    for (const hash of visible()) expect(run(path.join(home.runtimeDir, hash, "agent.mjs"))).toBe("agent one\n");
    const { runtime } = await install();
    expect(run(runtime.builtinAgentProgram)).toBe("agent one\n");
    expect(visible()).toEqual([runtime.hash]);
  });
});

describe("Runyard's own programs", () => {
  test("run with nothing beside them", async () => {
    const { dir: installed, hash } = await installRuntime({ home });
    const away = path.join(dir, "away");
    cpSync(installed, away, { recursive: true });
    rmSync(installed, { recursive: true });
    expect(existsSync(path.join(away, "agent.mjs"))).toBe(true);
    expect(hash).toMatch(/^[0-9a-f]{20}$/);

    const env = { PATH: process.env["PATH"] ?? "", HOME: dir };
    const agent = spawn(process.execPath, [path.join(away, "agent.mjs")], { cwd: away, env, stdio: ["pipe", "pipe", "inherit"] });
    agent.stdin.end(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: 1 } })}\n`);
    let answer = "";
    agent.stdout.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    await once(agent, "close");
    expect(JSON.parse(answer)).toMatchObject({ id: 1, result: { protocolVersion: 1, agentInfo: { version: runtimeVersion() } } });

    const tools = spawn(process.execPath, [path.join(away, "run-tools.mjs"), "plans"], {
      cwd: away,
      env,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const call = { name: "submit_plan", arguments: { plan: "# Plan" } };
    tools.stdin.end(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: call })}\n`);
    let said = "";
    tools.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await once(tools, "close");
    expect(said).toMatch(/^\{.*The plan was handed in\..*\}\n$/);

    // Says how it is called once all that it imports has been found.
    const gateway = spawn(process.execPath, [path.join(away, "gateway.mjs")], { cwd: away, env, stdio: ["ignore", "ignore", "pipe"] });
    let words = "";
    gateway.stderr.on("data", (chunk: Buffer) => (words += chunk.toString()));
    expect(await once(gateway, "close")).toEqual([2, null]);
    expect(words).toMatch(/^Usage: gateway /);
  });
});

test("the version is that of the package", () => {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  expect(runtimeVersion()).toBe(manifest.version);
});
