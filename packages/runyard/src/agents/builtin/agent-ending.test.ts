import { methods } from "@agentclientprotocol/sdk";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { buildAgent, finalCall, makeDir, spawnAgent, spoken, startAgent, until } from "./testing/agent-process.ts";
import { startChatServer, type Reply } from "./testing/chat-server.ts";

let built: Awaited<ReturnType<typeof buildAgent>>;
let workspace: string;
let home: string;
beforeAll(async () => {
  built = await buildAgent();
});
afterAll(() => built.remove());
beforeEach(() => {
  workspace = makeDir("workspace");
  home = makeDir("home");
});
afterEach(() => {
  rmSync(workspace, { recursive: true });
  rmSync(home, { recursive: true });
});

/** A command with a child and a grandchild in the background, which write their pids. */
const FAMILY = "sleep 600 & echo $! > child; (sh -c 'echo $$ > grandchild; exec sleep 600') & sleep 600";
const family: Reply = { calls: [{ name: "run_command", input: { command: FAMILY } }] };

function pidIn(name: string): number {
  const file = path.join(workspace, name);
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
}

function isAlive(pid: number): boolean {
  try {
    // A process that has ended and that nobody has waited for yet is a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function startedFamily(): Promise<number[]> {
  await until(() => pidIn("child") > 0 && pidIn("grandchild") > 0);
  const pids = [pidIn("child"), pidIn("grandchild")];
  expect(pids.map(isAlive)).toEqual([true, true]);
  return pids;
}

test("cancel kills the running command with all that it started", async () => {
  await using server = await startChatServer([family, { text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const result = agent.prompt("Run it");
  const pids = await startedFamily();
  await agent.cancel();
  expect((await result).stopReason).toBe("cancelled");
  await until(() => pids.every((pid) => !isAlive(pid)));
  expect(finalCall(agent.updates)).toMatchObject({ status: "failed", rawOutput: { exitCode: null, timedOut: false } });
  // The conversation is whole: it can go on.
  expect((await agent.prompt("Go on")).stopReason).toBe("end_turn");
  expect(server.requests[1]?.body.messages.find((message) => message.role === "tool")?.content).toContain(
    "[killed: the turn was cancelled]",
  );
});

test("cancel in the middle of an answer ends it at once and leaves the provider", async () => {
  await using server = await startChatServer([{ text: ["Once upon ", "a time"], after: "hang" }, { text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const result = agent.prompt("Tell a story");
  await until(() => spoken(agent.updates) === "Once upon a time");
  await agent.cancel();
  expect((await result).stopReason).toBe("cancelled");
  await until(() => server.abandoned === 1);
  await agent.prompt("Go on");
  expect(server.requests[1]?.body.messages.map((message) => [message.role, message.content]).slice(1)).toEqual([
    ["user", "Tell a story"],
    ["assistant", "Once upon a time"],
    ["user", "Go on"],
  ]);
});

test("cancel while a person is asked does not wait for the answer, and cancels the calls that follow", async () => {
  const calls = [
    { name: "run_command", input: { command: "touch one" } },
    { name: "run_command", input: { command: "touch two" } },
  ];
  await using server = await startChatServer([{ calls }]);
  await using agent = await startAgent(built.program, {
    baseUrl: server.baseUrl,
    workspace,
    home,
    onPermission: () => new Promise(() => undefined),
  });
  const result = agent.prompt("Go");
  await until(() => agent.permissions.length === 1);
  await agent.cancel();
  expect((await result).stopReason).toBe("cancelled");
  expect(agent.permissions).toHaveLength(1);
  expect(existsSync(path.join(workspace, "one"))).toBe(false);
});

test("cancel between two tries of a provider that refuses does not wait for the next", async () => {
  await using server = await startChatServer([{ status: 429, body: "", headers: { "retry-after-ms": "50000" } }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const result = agent.prompt("Go");
  await until(() => server.requests.length === 1);
  await agent.cancel();
  expect((await result).stopReason).toBe("cancelled");
});

test("a second prompt while the first is at work is refused", async () => {
  await using server = await startChatServer([{ text: ["a"], after: "hang" }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const first = agent.prompt("one");
  await until(() => server.requests.length === 1);
  await expect(agent.prompt("two")).rejects.toThrow("still being worked on");
  await agent.cancel();
  expect((await first).stopReason).toBe("cancelled");
});

test("SIGTERM ends the agent and what it runs", async () => {
  await using server = await startChatServer([family]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  agent.prompt("Run it").catch(() => undefined);
  const pids = await startedFamily();
  const exited = once(agent.child, "exit");
  agent.child.kill("SIGTERM");
  expect(await exited).toEqual([143, null]);
  await until(() => pids.every((pid) => !isAlive(pid)));
});

test("the end of standard input ends the agent and what it runs", async () => {
  await using server = await startChatServer([family]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  agent.prompt("Run it").catch(() => undefined);
  const pids = await startedFamily();
  const exited = once(agent.child, "exit");
  agent.child.stdin?.end();
  expect(await exited).toEqual([0, null]);
  await until(() => pids.every((pid) => !isAlive(pid)));
});

test("what a command left in the background ends with the agent", async () => {
  await using server = await startChatServer([
    { calls: [{ name: "run_command", input: { command: "sleep 600 & echo $! > child" } }] },
    { text: ["ok"] },
  ]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  await agent.prompt("Start it");
  const pid = pidIn("child");
  expect(isAlive(pid)).toBe(true);
  agent.child.stdin?.end();
  await until(() => !isAlive(pid));
});

test("an agent that nobody ever speaks to ends with its input", async () => {
  const child = spawnAgent(built.program, { baseUrl: "http://127.0.0.1:9/v1", home });
  const exited = once(child, "exit");
  child.stdin?.end();
  expect(await exited).toEqual([0, null]);
});

test("lines that are no messages are answered with an error, and the agent lives on", async () => {
  const child = spawnAgent(built.program, { baseUrl: "http://127.0.0.1:9/v1", home });
  const lines: string[] = [];
  child.stdout?.on("data", (chunk: Buffer) => lines.push(...chunk.toString().trimEnd().split("\n")));
  child.stdin?.write(
    `this is not json\n${JSON.stringify({ jsonrpc: "2.0", id: 7, method: methods.agent.initialize, params: { protocolVersion: 1 } })}\n`,
  );
  await until(() => lines.length === 2);
  const exited = once(child, "exit");
  child.stdin?.end();
  await exited;
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { id: null, error: { code: -32700 } },
    { id: 7, result: { protocolVersion: 1, agentInfo: { name: "runyard-builtin" } } },
  ]);
});
