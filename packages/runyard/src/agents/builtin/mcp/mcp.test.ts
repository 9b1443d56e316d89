// The built-in agent as a client of real MCP servers, over streamable HTTP and on standard streams.
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startMcpServer, type TestMcpServer } from "../../../testing/mcp-server.ts";
import { buildAgent, finalCall, makeDir, shownText, startAgent } from "../testing/agent-process.ts";
import { startChatServer, type Reply } from "../testing/chat-server.ts";

let built: Awaited<ReturnType<typeof buildAgent>>;
let server: TestMcpServer;
let workspace: string;
let home: string;
beforeAll(async () => {
  [built, server] = await Promise.all([buildAgent(), startMcpServer()]);
});
afterAll(async () => {
  built?.remove();
  await server?.close();
});
beforeEach(() => {
  workspace = makeDir("workspace");
  home = makeDir("home");
});
afterEach(() => {
  for (const dir of [workspace, home]) rmSync(dir, { recursive: true });
});

/** A whole MCP server of one tool, which tells what it was given. */
const STDIO_SERVER = `
import { createInterface } from "node:readline";
const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }));
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") say(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "local", version: "1" } });
  if (method === "tools/list") say(id, { tools: [{ name: "tell", description: "Tells", inputSchema: { type: "object", properties: {} } }] });
  if (method === "tools/call") say(id, { content: [{ type: "text", text: [process.env.GIVEN, process.env.OPENAI_API_KEY ?? "no key", process.cwd(), ...process.argv.slice(2)].join("|") }] });
});
`;

const call = (name: string, input: unknown = {}): Reply => ({ calls: [{ name, input }] });

test("tools of servers are offered, asked for like others, called, and their words go to the model", async () => {
  writeFileSync(path.join(workspace, "server.mjs"), STDIO_SERVER);
  await using model = await startChatServer([
    call("mcp__docs__shout", { text: "hello" }),
    call("mcp__docs__fail"),
    call("mcp__local__tell"),
    { text: ["Done."] },
  ]);
  const headers = [{ name: "Authorization", value: "Bearer run-token" }];
  const local = { name: "local", command: process.execPath, args: ["server.mjs", "--word"], env: [{ name: "GIVEN", value: "a value" }] };
  const mcpServers = [{ type: "http" as const, name: "docs", url: server.url, headers }, local];
  await using agent = await startAgent(built.program, { baseUrl: model.baseUrl, workspace, home, mcpServers });
  expect(agent.initialized.agentCapabilities?.mcpCapabilities).toEqual({ http: true });
  expect(await agent.prompt("Use them")).toMatchObject({ stopReason: "end_turn" });

  const offered = model.requests[0]?.body.tools.map((tool) => tool.function) ?? [];
  expect(offered.map((tool) => tool.name)).toEqual(expect.arrayContaining(["read_file", "mcp__docs__shout", "mcp__local__tell"]));
  expect(offered.find((tool) => tool.name === "mcp__docs__shout")?.parameters).toMatchObject({ properties: { text: { type: "string" } } });
  const told = model.requests
    .at(-1)
    ?.body.messages.filter((message) => message.role === "tool")
    .map((message) => message.content);
  expect(told).toEqual(["HELLO", "it went wrong", `a value|no key|${workspace}|--word`]);
  expect(finalCall(agent.updates, 0)).toMatchObject({
    title: "docs: shout",
    kind: "other",
    status: "completed",
    rawInput: { text: "hello" },
  });
  expect(shownText(finalCall(agent.updates, 0))).toBe("HELLO");
  expect(finalCall(agent.updates, 1)).toMatchObject({ status: "failed" });
  expect(agent.permissions.map(({ toolCall }) => toolCall.title)).toEqual(["docs: shout", "docs: fail", "local: tell"]);
  expect(new Set(server.seen.map(({ headers: sent }) => sent.authorization))).toEqual(new Set(["Bearer run-token"]));
});

test("a call that is refused is not made", async () => {
  await using model = await startChatServer([call("mcp__docs__shout", { text: "hello" }), { text: ["Then not."] }]);
  const before = server.seen.length;
  await using agent = await startAgent(built.program, {
    baseUrl: model.baseUrl,
    workspace,
    home,
    mcpServers: [{ type: "http", name: "docs", url: server.url, headers: [] }],
    onPermission: () => "reject",
  });
  const opened = server.seen.length;
  expect(opened).toBeGreaterThan(before);
  await agent.prompt("Shout");
  expect(model.requests[1]?.body.messages.at(-1)?.content).toContain("refused");
  expect(server.seen.filter(({ method }) => method === "POST").length).toBe(
    server.seen.slice(0, opened).filter(({ method }) => method === "POST").length,
  );
});

test.each([
  ["is not there", { type: "http" as const, name: "docs", url: "http://127.0.0.1:1/mcp", headers: [] }],
  ["is no server of MCP", { name: "docs", command: "/bin/false", args: [], env: [] }],
  ["cannot be started", { name: "docs", command: "/no/such/program", args: [], env: [] }],
])("a server that %s makes no session, and is named", async (_, broken) => {
  await using model = await startChatServer([{ text: ["ok"] }]);
  const options = { baseUrl: model.baseUrl, workspace, home, mcpServers: [broken] };
  await expect(startAgent(built.program, options)).rejects.toThrow(/The MCP server docs cannot be used: /);
});
