import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { stepCountIs, streamText, tool, type ToolSet } from "ai";
import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { buildingPrompt, planningPrompt, revisionPrompt } from "../../core/plan.ts";
import { call, modelAt, QUESTION } from "../testing/caller.ts";
import { newRun, useHosts } from "../testing/host.ts";
import { DEMO_FIX } from "./demo.ts";

const { shared } = useHosts();
const DEMO = fileURLToPath(new URL("../../../assets/demo-repository", import.meta.url));

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

function copyOfDemo(): string {
  const dir = mkdtempSync(path.join(tmpdir(), "ry-demo-"));
  dirs.push(dir);
  cpSync(DEMO, dir, { recursive: true });
  return dir;
}

function emptyRepository(): string {
  const dir = mkdtempSync(path.join(tmpdir(), "ry-plain-"));
  dirs.push(dir);
  writeFileSync(path.join(dir, "README.md"), "# plain\n");
  return dir;
}

/** Runs the repository's tests as a person would. */
function testsPass(dir: string): boolean {
  // A test runner that finds itself inside another one reports differently.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync(process.execPath, ["--test"], { cwd: dir, env }).status === 0;
}

type Done = { tool: string; input: unknown };

/** Tools by the names that the built-in agent gives them, which really do what they say. */
function toolsIn(dir: string, done: Done[], refuse: readonly string[] = []): ToolSet {
  const define = (name: string, inputSchema: z.ZodType, act: (input: never) => string) => [
    name,
    tool({
      description: name,
      inputSchema,
      execute: (input) => {
        done.push({ tool: name, input });
        return refuse.includes(name) ? "The person did not allow this." : act(input as never);
      },
    }),
  ];
  const at = (name: string): string => path.join(dir, name);
  return Object.fromEntries([
    define("list_files", z.object({ path: z.string().optional() }), () =>
      readdirSync(dir, { recursive: true, encoding: "utf8" })
        .map((name) => (statSync(at(name)).isDirectory() ? `${name}/` : name))
        .join("\n"),
    ),
    define("read_file", z.object({ path: z.string() }), (input: { path: string }) => readFileSync(at(input.path), "utf8")),
    define("write_file", z.object({ path: z.string(), content: z.string() }), (input: { path: string; content: string }) => {
      writeFileSync(at(input.path), input.content);
      return `Wrote ${input.content.length} bytes to ${input.path}.`;
    }),
    define("edit_file", z.object({ path: z.string(), old_text: z.string(), new_text: z.string() }), (input: typeof DEMO_FIX) => {
      const before = readFileSync(at(input.path), "utf8");
      if (before.split(input.old_text).length !== 2) return "old_text was not found once";
      writeFileSync(
        at(input.path),
        before.replace(input.old_text, () => input.new_text),
      );
      return `Edited ${input.path}.`;
    }),
    define("run_command", z.object({ command: z.string() }), (input: { command: string }) => {
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const { stdout, status } = spawnSync("sh", ["-c", input.command], { cwd: dir, env, encoding: "utf8" });
      return `${stdout}[exit code ${status}]`;
    }),
    define(
      "update_plan",
      z.object({ entries: z.array(z.object({ content: z.string(), status: z.enum(["pending", "in_progress", "completed"]) })) }),
      () => "The plan is shown.",
    ),
    define("propose_plan", z.object({ plan: z.string() }), () => "The plan is handed in."),
  ]) as ToolSet;
}

interface Work {
  readonly task: string;
  readonly dir: string;
  readonly refuse?: readonly string[];
  readonly only?: readonly string[];
}

/** An agent's loop with the client library, the real gateway and real tools. */
async function work({ task, dir, refuse = [], only }: Work): Promise<{ done: Done[]; text: string; deltas: number; runId: string }> {
  const { gateway } = await shared();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  const done: Done[] = [];
  const all = toolsIn(dir, done, refuse);
  const tools = Object.fromEntries(Object.entries(all).filter(([name]) => only === undefined || only.includes(name)));
  const result = streamText({ model: modelAt(gateway, run), prompt: task, tools, stopWhen: stepCountIs(20), maxRetries: 0 });
  let deltas = 0;
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") deltas += 1;
  }
  expect(await result.finishReason).toBe("stop");
  return { done, text: await result.text, deltas, runId: run.runId };
}

test("the sample repository has one real bug, which the script's change mends", () => {
  const dir = copyOfDemo();
  expect(testsPass(dir)).toBe(false);
  const file = path.join(dir, DEMO_FIX.path);
  const before = readFileSync(file, "utf8");
  expect(before.split(DEMO_FIX.old_text)).toHaveLength(2);
  writeFileSync(
    file,
    before.replace(DEMO_FIX.old_text, () => DEMO_FIX.new_text),
  );
  expect(testsPass(dir)).toBe(true);
});

test("the demo: looks, plans, sees the tests fail, reads, edits, sees them pass, and tells", async () => {
  const dir = copyOfDemo();
  const { host } = await shared();
  const { done, text, deltas, runId } = await work({ task: "The tests of this repository fail. Find out why and mend it.", dir });

  expect(done.map((step) => step.tool)).toEqual([
    "update_plan",
    "list_files",
    "read_file",
    "run_command",
    "read_file",
    "read_file",
    "edit_file",
    "run_command",
    "update_plan",
  ]);
  expect(done[0]?.input).toMatchObject({ entries: [{ status: "in_progress" }, { status: "pending" }, { status: "pending" }] });
  expect(done.at(-1)?.input).toMatchObject({ entries: [{ status: "completed" }, { status: "completed" }, { status: "completed" }] });
  expect(text).toContain("All tests pass now.");
  expect(deltas).toBeGreaterThan(20);
  expect(testsPass(dir)).toBe(true);
  expect(execFileSync("diff", ["-rq", DEMO, dir, "--exclude=slug.js"], { encoding: "utf8" })).toBe("");

  const closes = host.closes(runId);
  expect(closes).toHaveLength(8);
  expect(
    closes.every(
      (close) => close.ok && close.inputTokens !== null && close.inputTokens > 0 && close.outputTokens !== null && close.outputTokens > 0,
    ),
  ).toBe(true);
  const inputs = closes.map((close) => close.inputTokens ?? 0);
  expect(inputs).toEqual(inputs.toSorted((a, b) => a - b));
});

test("the demo does not claim what it was not allowed to do", async () => {
  const dir = copyOfDemo();
  const { done, text } = await work({ task: "Mend the tests.", dir, refuse: ["edit_file"] });
  expect(done.filter((step) => step.tool === "edit_file")).toHaveLength(1);
  expect(text).toContain("The tests still fail.");
  expect(testsPass(dir)).toBe(false);
});

test("a sample repository that is in order stays as it is", async () => {
  const dir = copyOfDemo();
  const file = path.join(dir, DEMO_FIX.path);
  writeFileSync(
    file,
    readFileSync(file, "utf8").replace(DEMO_FIX.old_text, () => DEMO_FIX.new_text),
  );
  const { done, text } = await work({ task: "Mend the tests.", dir });
  expect(done.map((step) => step.tool)).toEqual(["update_plan", "list_files", "read_file", "run_command"]);
  expect(text).toContain("nothing to mend");
});

test.each([
  ["without a package.json", ["update_plan", "list_files", "write_file", "update_plan"]],
  ["with another package.json", ["update_plan", "list_files", "read_file", "write_file", "update_plan"]],
])("any other repository (%s) gets a note that nothing was done", async (kind, steps) => {
  const dir = emptyRepository();
  if (kind.startsWith("with another")) writeFileSync(path.join(dir, "package.json"), '{"name":"theirs","scripts":{"test":"touch ran"}}');
  const { done, text } = await work({ task: "Rewrite everything\nin Rust.", dir });
  expect(done.map((step) => step.tool)).toEqual(steps);
  const note = readFileSync(path.join(dir, "SIMULATED.md"), "utf8");
  expect(note).toContain("No model was connected");
  expect(note).toContain("> Rewrite everything\n> in Rust.");
  expect(text).toContain("This run was simulated");
  expect(text).toContain("I wrote SIMULATED.md and changed nothing else.");
});

test("without leave to write it says that it changed nothing", async () => {
  const { text } = await work({ task: "Do something.", dir: emptyRepository(), refuse: ["write_file"] });
  expect(text).toContain("I changed nothing.");
});

test.each([[[] as string[]], [["run_command"]], [["list_files"]]])(
  "an agent with other tools (%j) gets an honest answer too",
  async (only) => {
    const dir = emptyRepository();
    const { text } = await work({ task: "Do something.", dir, only });
    expect(text).toContain("This run was simulated");
    expect(readdirSync(dir)).toEqual(["README.md"]);
  },
);

test("the same request gets the same answer, streamed or whole", async () => {
  const { gateway } = await shared();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  const tools = [{ type: "function", function: { name: "list_files", parameters: {} } }];
  const ask = async (stream: boolean) => (await call(gateway, { token: run.token, body: { ...QUESTION, tools, stream } })).body;
  const timeless = (text: string): string => text.replaceAll(/"created":\d+/g, "");
  expect(timeless(await ask(false))).toBe(timeless(await ask(false)));
  const streamed = await ask(true);
  expect(timeless(streamed)).toBe(timeless(await ask(true)));
  expect(JSON.parse(await ask(false))).toMatchObject({
    model: "scripted-1",
    choices: [
      { finish_reason: "tool_calls", message: { tool_calls: [{ type: "function", function: { name: "list_files", arguments: "{}" } }] } },
    ],
    usage: { prompt_tokens: expect.any(Number) as number },
  });
  expect(streamed.split("\n\n").length).toBeGreaterThan(5);
});

test("a new message of the person begins the script anew", async () => {
  const { gateway } = await shared();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  const tools = [{ type: "function", function: { name: "list_files", parameters: {} } }];
  const first = [
    { role: "user", content: "One" },
    { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "list_files", arguments: "{}" } }] },
    { role: "tool", tool_call_id: "c1", content: [{ type: "text", text: "README.md" }] },
  ];
  const ask = async (messages: unknown[]) =>
    JSON.parse((await call(gateway, { token: run.token, body: { model: "runyard", messages, tools } })).body) as {
      choices: { finish_reason: string }[];
    };
  expect((await ask(first)).choices[0]?.finish_reason).toBe("stop");
  const later = [...first, { role: "assistant", content: "Done." }, { role: "user", content: [{ type: "text", text: "Two" }] }];
  expect((await ask(later)).choices[0]?.finish_reason).toBe("tool_calls");
});

test("the scripted model answers nobody but the gateway", async () => {
  const { startScriptedServer } = await import("./server.ts");
  const { baseUrl, apiKey } = await startScriptedServer();
  const ask = async (key: string) => (await fetch(`${baseUrl}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  expect(await ask("guess")).toBe(401);
  expect(await ask(apiKey ?? "")).toBe(200);
});

test.each([
  ["the sample repository", copyOfDemo, ["list_files", "read_file", "propose_plan"], "src/slug.js"],
  ["another repository", emptyRepository, ["list_files", "propose_plan"], "SIMULATED.md"],
] as const)("asked for a plan of %s, it changes nothing, and goes by what it is asked then", async (_, make, tools, words) => {
  const dir = make();
  const { done } = await work({ task: planningPrompt("Mend it", null), dir });
  expect(done.map((step) => step.tool)).toEqual(tools);
  expect(done.at(-1)?.input).toMatchObject({ plan: expect.stringContaining(words) as string });
  const again = await work({ task: revisionPrompt(1, "Shorter.\nMuch."), dir });
  expect(again.done.at(-1)).toMatchObject({
    tool: "propose_plan",
    input: { plan: expect.stringContaining("> Shorter.\n> Much.") as string },
  });
  const built = await work({ task: buildingPrompt({ text: "# Plan", isEdited: false }), dir });
  expect(built.done.map((step) => step.tool)).not.toContain("propose_plan");
});
