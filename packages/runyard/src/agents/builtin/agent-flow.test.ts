import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { buildAgent, finalCall, makeDir, shownText, spoken, startAgent, toolCalls } from "./testing/agent-process.ts";
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

function put(name: string, text: string): void {
  writeFileSync(path.join(workspace, name), text);
}

const call = (name: string, input: unknown): Reply => ({ calls: [{ name, input }] });

test("reads, sees a test fail, repairs it and sees it pass", async () => {
  put("sum.mjs", "export const sum = (a, b) => a - b;\n");
  put(
    "sum.test.mjs",
    'import { sum } from "./sum.mjs";\nif (sum(2, 2) !== 4) { console.error("sum is wrong"); process.exit(1); }\nconsole.log("passed");\n',
  );
  await using server = await startChatServer([
    {
      ...call("update_plan", {
        entries: [
          { content: "Look", status: "in_progress" },
          { content: "Repair", status: "pending" },
        ],
      }),
      reasoning: "First a plan.",
    },
    {
      calls: [
        { name: "list_files", input: {} },
        { name: "search", input: { pattern: "a [-+] b" } },
        { name: "read_file", input: { path: "sum.mjs" } },
      ],
    },
    call("run_command", { command: "node sum.test.mjs" }),
    call("edit_file", { path: "sum.mjs", old_text: "a - b", new_text: "a + b" }),
    call("run_command", { command: "node sum.test.mjs" }),
    { text: ["Repaired ", "the sum."] },
  ]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const result = await agent.prompt("Make the test pass");

  expect(result.stopReason).toBe("end_turn");
  expect(result.usage).toEqual({ inputTokens: 600, outputTokens: 60, totalTokens: 660, cachedReadTokens: 240 });
  expect(readFileSync(path.join(workspace, "sum.mjs"), "utf8")).toBe("export const sum = (a, b) => a + b;\n");
  expect(spoken(agent.updates)).toBe("Repaired the sum.");
  expect(spoken(agent.updates, "agent_thought_chunk")).toBe("First a plan.");
  expect(agent.updates.find((update) => update.sessionUpdate === "plan")).toMatchObject({
    entries: [
      { content: "Look", status: "in_progress", priority: "medium" },
      { content: "Repair", status: "pending" },
    ],
  });

  const calls = toolCalls(agent.updates).map((_, index) => finalCall(agent.updates, index));
  expect(calls.map((one) => [one.name, one.kind, one.status])).toEqual([
    ["update_plan", "think", "completed"],
    ["list_files", "read", "completed"],
    ["search", "search", "completed"],
    ["read_file", "read", "completed"],
    ["run_command", "execute", "failed"],
    ["edit_file", "edit", "completed"],
    ["run_command", "execute", "completed"],
  ]);
  expect(calls[1] && shownText(calls[1])).toBe("sum.mjs\nsum.test.mjs");
  expect(calls[2] && shownText(calls[2])).toBe("sum.mjs:1: export const sum = (a, b) => a - b;");
  expect(calls[3]).toMatchObject({
    title: "Read sum.mjs",
    locations: [{ path: path.join(workspace, "sum.mjs"), line: 1 }],
    rawInput: { path: "sum.mjs" },
  });
  expect(calls[4]).toMatchObject({ title: "node sum.test.mjs", rawOutput: { exitCode: 1, timedOut: false } });
  expect(calls[4] && shownText(calls[4])).toBe("sum is wrong\n");
  expect(calls[5]?.content).toEqual([
    {
      type: "diff",
      path: path.join(workspace, "sum.mjs"),
      oldText: "export const sum = (a, b) => a - b;\n",
      newText: "export const sum = (a, b) => a + b;\n",
    },
  ]);
  expect(calls[6]).toMatchObject({ rawOutput: { exitCode: 0 } });
  // What changes something is asked for, with the change; what only looks is not.
  expect(agent.permissions.map(({ toolCall }) => [toolCall.kind, toolCall.title])).toEqual([
    ["execute", "node sum.test.mjs"],
    ["edit", "Edit sum.mjs"],
    ["execute", "node sum.test.mjs"],
  ]);
  expect(agent.permissions[1]?.toolCall.content).toEqual(calls[5]?.content);
  expect(agent.permissions[0]?.options.map((option) => option.kind)).toEqual(["allow_once", "reject_once"]);
  // The model saw what the tools said.
  const told = server.requests[5]?.body.messages.filter((message) => message.role === "tool").map((message) => message.content);
  expect(told?.[4]).toBe("sum is wrong\n[exit code 1]");
  expect(told?.[5]).toBe("Edited sum.mjs at line 1.");
  expect(told?.[6]).toBe("passed\n[exit code 0]");
});

test("speaks to the provider that the environment names, and offers all tools", async () => {
  await using server = await startChatServer([{ text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  await agent.prompt("Say ok");
  const request = server.requests[0];
  expect(request?.path).toBe("/v1/chat/completions");
  expect(request?.headers.authorization).toBe("Bearer run-token");
  expect(request?.body).toMatchObject({ model: "scripted", stream: true });
  expect(request?.body.tools.map((tool) => tool.function.name)).toEqual([
    "read_file",
    "list_files",
    "search",
    "edit_file",
    "write_file",
    "run_command",
    "update_plan",
    "propose_plan",
    "ask_user",
  ]);
  expect(request?.body.messages[0]?.content).toContain(`Working directory: ${workspace}`);
});

test("a refused call is not carried out, and the model is told", async () => {
  put("a.txt", "one\n");
  await using server = await startChatServer([
    call("edit_file", { path: "a.txt", old_text: "one", new_text: "two" }),
    call("run_command", { command: "touch made" }),
    { text: ["Not allowed."] },
  ]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home, onPermission: () => "reject" });
  expect((await agent.prompt("Change it")).stopReason).toBe("end_turn");
  expect(readFileSync(path.join(workspace, "a.txt"), "utf8")).toBe("one\n");
  expect(readdirSync(workspace)).toEqual(["a.txt"]);
  expect(finalCall(agent.updates, 0).status).toBe("failed");
  for (const request of server.requests.slice(1)) expect(request.body.messages.at(-1)?.content).toContain("This call was refused");
});

test("a question reaches the person, and the answer the model", async () => {
  await using server = await startChatServer([call("ask_user", { question: "Which colour?" }), { text: ["Blue it is."] }]);
  const asked: unknown[] = [];
  await using agent = await startAgent(built.program, {
    baseUrl: server.baseUrl,
    workspace,
    home,
    onQuestion: (request) => {
      asked.push(request);
      return { action: "accept", content: { answer: "blue" } };
    },
  });
  await agent.prompt("Paint it");
  expect(asked).toMatchObject([
    { mode: "form", message: "Which colour?", sessionId: agent.sessionId, requestedSchema: { properties: { answer: { type: "string" } } } },
  ]);
  expect(server.requests[1]?.body.messages.at(-1)).toMatchObject({ role: "tool", content: "blue" });
});

test("without an answer, or without anybody to ask, the model is told to decide", async () => {
  await using server = await startChatServer((_, index) => (index % 2 === 0 ? call("ask_user", { question: "Which?" }) : { text: ["ok"] }));
  await using declining = await startAgent(built.program, {
    baseUrl: server.baseUrl,
    workspace,
    home,
    onQuestion: () => ({ action: "decline" }),
  });
  await declining.prompt("Go");
  expect(server.requests[1]?.body.messages.at(-1)?.content).toContain("The person gave no answer");
  await using alone = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  await alone.prompt("Go");
  expect(server.requests[3]?.body.messages.at(-1)?.content).toContain("Nobody can be asked");
});

test("a second prompt goes on in the same conversation, and so does another process", async () => {
  put("a.txt", "one\n");
  await using server = await startChatServer((_, index) =>
    index === 0 ? call("read_file", { path: "a.txt" }) : { text: [`answer ${index}`] },
  );
  const options = { baseUrl: server.baseUrl, workspace, home };
  const roles = (): string[] => server.requests.at(-1)?.body.messages.map((message) => message.role) ?? [];
  await using agent = await startAgent(built.program, options);
  await agent.prompt("first");
  await agent.prompt("second");
  expect(roles()).toEqual(["system", "user", "assistant", "tool", "assistant", "user"]);
  agent.child.kill("SIGKILL");

  await using resumed = await startAgent(built.program, { ...options, resume: agent.sessionId });
  expect(resumed.initialized.agentCapabilities).toMatchObject({ loadSession: true, sessionCapabilities: { resume: {} } });
  await resumed.prompt("third");
  expect(roles()).toEqual(["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]);
  expect(spoken(resumed.updates)).toBe("answer 3");

  await using loaded = await startAgent(built.program, { ...options, load: agent.sessionId });
  expect(spoken(loaded.updates, "user_message_chunk")).toBe("firstsecondthird");
  expect(spoken(loaded.updates)).toBe("answer 1answer 2answer 3");
});

test("a session that was never kept cannot be loaded, nor a file that is none", async () => {
  await using server = await startChatServer([{ text: ["ok"] }]);
  const options = { baseUrl: server.baseUrl, workspace, home };
  await expect(startAgent(built.program, { ...options, load: "00000000-0000-4000-8000-000000000000" })).rejects.toThrow(
    "Resource not found",
  );
  await expect(startAgent(built.program, { ...options, load: "../../etc/passwd" })).rejects.toThrow("Resource not found");
  await expect(startAgent(built.program, { ...options, workspace: path.join(workspace, "missing") })).rejects.toThrow(
    "does not exist, or is not a directory",
  );
});

test("a home that cannot be written costs the way back, not the work", async () => {
  put("home-is-a-file", "");
  await using server = await startChatServer([{ text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home: path.join(workspace, "home-is-a-file") });
  expect((await agent.prompt("Go")).stopReason).toBe("end_turn");
  expect(agent.stderr()).toContain("The conversation could not be saved");
});

test("the project's AGENTS.md is context, bounded, and only from inside the workspace", async () => {
  await using server = await startChatServer([{ text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  put("AGENTS.md", "Use tabs.\n");
  await agent.prompt("one");
  expect(server.requests[0]?.body.messages[0]?.content).toContain("<agents_md>\nUse tabs.\n");
  put("AGENTS.md", `Start ${"x".repeat(100_000)} End`);
  await agent.prompt("two");
  const long = server.requests[1]?.body.messages[0]?.content ?? "";
  expect(long).toMatch(/Start x+\n\[\.\.\. \d+ bytes left out \.\.\.\]\nx+ End/);
  expect(long.length).toBeLessThan(40_000);
  rmSync(path.join(workspace, "AGENTS.md"));
  await agent.prompt("three");
  expect(server.requests[2]?.body.messages[0]?.content).not.toContain("agents_md");
});

test("standard output carries protocol lines and nothing else", async () => {
  await using server = await startChatServer([
    { calls: [{ name: "run_command", input: { command: "echo to stdout; echo to stderr >&2; echo hello > /dev/stderr" } }] },
    { text: ["Grüße, 世界 🌍\n", "zweite Zeile"] },
    { status: 401, body: '{"error":{"message":"no"}}' },
  ]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  await agent.prompt("Speak");
  await agent.prompt("Fail").catch(() => undefined);
  expect(spoken(agent.updates)).toBe("Grüße, 世界 🌍\nzweite Zeile");
  expect(shownText(finalCall(agent.updates))).toBe("to stdout\nto stderr\nhello\n");
  const lines = agent.stdout().trimEnd().split("\n");
  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ jsonrpc: "2.0" });
  expect(agent.stderr()).toBe("");
});
