// A saved agent on the whole line: what it is told, the MCP servers that it has, and that no secret goes with them.
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { firstPrompt } from "../src/core/prompt.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { startMcpServer, type TestMcpServer } from "../src/testing/mcp-server.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { readSource } from "./docs/sources.ts";
import { STDIO_MCP_SERVER } from "./stdio-mcp-server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const SECRET = "sk-canary-of-the-mcp-server";

test("the prompt in the page about saved agents is the one that its command makes", () => {
  const [, block = ""] = /\ngives:\n\n((?: {4}.*\n|\n)+)/.exec(readSource("docs/saved-agents.md")) ?? [];
  const told = block
    .trimEnd()
    .split("\n")
    .map((text) => text.slice(4));
  const context = { issue: "LIN-123", priority: "high" };
  const instructions = "Change as little as you can. Say what you did not check.";
  const files = ["test/slug.test.js", "src/slug.js"];
  expect(told.join("\n")).toBe(firstPrompt({ instructions, task: "Fix the failing test", repositories: [], context, files }));
});

describe.skipIf(unavailable !== null)(unavailable === null ? "a saved agent" : `saved agents cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let server: TestMcpServer;
  beforeAll(async () => {
    server = await startMcpServer();
  });
  afterAll(() => server?.close());

  test("is told its instructions, context and files, and uses its servers from inside the sandbox", async () => {
    const client = await line.serve([
      { calls: [{ name: "mcp__docs__shout", input: { text: "hello" } }] },
      { calls: [{ name: "mcp__docs__headers", input: {} }] },
      { calls: [{ name: "mcp__local__tell", input: {} }] },
      { write: ["out.txt", "done\n"] },
      { say: "Done." },
    ]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n", "tools/server.mjs": STDIO_MCP_SERVER }, "mcp");
    const docs = { name: "docs", url: server.url, headers: { authorization: `Bearer ${SECRET}` } };
    const words = [
      "agents",
      "create",
      "librarian",
      "--instructions",
      "You look things up.",
      "--mcp-servers",
      JSON.stringify([docs]),
      "--json",
    ];
    const agent = await line.home.cli(words);
    expect(agent).toMatchObject({ code: 0, stderr: "" });
    expect(agent.stdout).not.toContain(SECRET);

    const local = { name: "local", command: ["node", "tools/server.mjs"], env: { GIVEN: "a value" } };
    const context = ["--context", '{"issue": "LIN-1"}', "--file", "README.md", "--file", "gone.md"];
    const more = ["--agent", "librarian", "--mcp-servers", JSON.stringify([local]), "--json"];
    const run = await line.home.cli(["run", "Look it up", "--repo", repository, ...context, ...more]);
    expect(run).toMatchObject({ code: 0 });
    const { id, result } = JSON.parse(run.stdout) as { id: string; result: { headBranch: string } };
    expect(gitIn(repository, "show", `${result.headBranch}:out.txt`)).toBe("done");

    expect((await line.home.cli(["show", id])).stdout).toMatch(
      /librarian \(builtin\)[^]*context \{"issue":"LIN-1"\}\n {2}files {3}README\.md, gone\.md\n {2}mcp {5}docs, local\n/,
    );

    const [first] = line.model.requests;
    const prompt = first?.messages.find((message) => message.role === "user")?.content;
    expect(prompt).toBe(
      'You look things up.\n\n---\n\nLook it up\n\nContext:\n\n```json\n{\n  "issue": "LIN-1"\n}\n```\n\nLook at these files first:\n\n- README.md\n- gone.md',
    );
    const told =
      line.model.requests
        .at(-1)
        ?.messages.filter((message) => message.role === "tool")
        .map((message) => String(message.content)) ?? [];
    expect(told[0]).toBe("HELLO");
    expect(told[1]).toContain("[redacted]");
    expect(told[2]).toBe("given: a value");
    expect(new Set(server.seen.map(({ headers }) => headers.authorization))).toEqual(new Set([`Bearer ${SECRET}`]));

    const log = await readLog(client, id);
    expect(log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []))).toEqual(["file-missing"]);
    // What an agent, a person and a file of the home see, the database aside.
    expect(JSON.stringify([log, line.model.requests, await client.runs.get(id), await client.agents.list()])).not.toContain(SECRET);
    expect(filesWith(line.home.root, SECRET)).toEqual([]);
    // Nor in the database, where the server's address stands.
    const stored = await storedText(line.home.env["DATABASE_URL"]);
    expect(stored).toContain(server.url);
    expect(stored).not.toContain(SECRET);
    // The control: the search finds what is there.
    expect(filesWith(line.home.root, "You look things up.").length).toBeGreaterThan(0);
  }, 90_000);

  test("that cannot take up its conversation is told the whole first prompt again, also when it was changed since", async () => {
    const client = await line.serve([]);
    // Keeps what it is told, one file for each turn.
    const program = `import { existsSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
const say = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") say({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") say({ id, result: { sessionId: "s1" } });
  if (method === "session/prompt") {
    writeFileSync(existsSync("first.md") ? "second.md" : "first.md", params.prompt[0].text);
    say({ method: "session/update", params: { sessionId: "s1", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "Kept." } } } });
    say({ id, result: { stopReason: "end_turn" } });
  }
});`;
    const repository = makeRepository(line.home.root, { "agent.mjs": program }, "forgetful");
    await client.agents.create({ name: "forgetful", command: ["node", "agent.mjs"], instructions: "You forget." });
    const { id } = await client.runs.create({
      task: "Remember",
      repositoryUrl: repository,
      agent: { name: "forgetful" },
      context: { issue: "LIN-1" },
    });
    const first = await client.runs.waitForEnd(id);
    expect(first).toMatchObject({ status: "completed", task: "Remember", prompt: "Remember" });
    await client.agents.update("forgetful", { instructions: "You remember." });
    await client.runs.continue(id, "And now?");
    const { result } = await client.runs.waitForEnd(id);
    const told = (name: string): string => gitIn(repository, "show", `${result?.headBranch}:${name}`);
    expect(told("first.md")).toMatch(/^You forget\.\n\n---\n\nRemember\n\nContext:\n/);
    const second = told("second.md");
    expect(second).toContain(`The task was:\n${told("first.md")}`);
    expect(second).toMatch(/What you said last:\nKept\.\n\nWhat to do now:\nAnd now\?$/);
    expect(second.split("LIN-1")).toHaveLength(2);
  }, 60_000);

  test("with a server over HTTP ends plainly where its program takes none", async () => {
    const client = await line.serve([]);
    const program = `import { createInterface } from "node:readline";
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id } = JSON.parse(line);
  console.log(JSON.stringify({ jsonrpc: "2.0", id, result: { protocolVersion: 1, agentCapabilities: { mcpCapabilities: { http: false } } } }));
});`;
    const repository = makeRepository(line.home.root, { "agent.mjs": program }, "no-http");
    await client.agents.create({ name: "plain", command: ["node", "agent.mjs"], mcpServers: [{ name: "docs", url: server.url }] });
    const { id } = await client.runs.create({ task: "x", repositoryUrl: repository, agent: { name: "plain" } });
    expect(await client.runs.waitForEnd(id)).toMatchObject({
      status: "failed",
      agent: { name: "plain", profile: "custom" },
      error: { type: "agent-error", message: expect.stringContaining("takes no MCP servers over HTTP") as string },
    });
  }, 60_000);

  test("is listed beside the profiles, shown, changed and deleted by command", async () => {
    const { home } = line;
    expect(
      await home.cli(["agents", "create", "reviewer", "--profile", "builtin", "--plan", "--ask", "edit", "--budget", "2"]),
    ).toMatchObject({ code: 0 });
    const listed = await home.cli(["agents"]);
    expect(listed.stdout).toMatch(/^reviewer +builtin +saved/m);
    expect(listed.stdout).toMatch(/^builtin +profile +ready +asks openai, with the key of OPENAI_API_KEY$/m);
    expect((await home.cli(["agents", "show", "reviewer"])).stdout).toMatch(
      /plan +its runs make one first\n.*ask edit\n[^]*at most 2 US dollars/,
    );
    expect(await home.cli(["agents", "create", "reviewer"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("already") as string,
    });
    expect(await home.cli(["agents", "update", "reviewer"])).toMatchObject({ code: 2 });
    const changed = await home.cli([
      "agents",
      "update",
      "reviewer",
      "--name",
      "second",
      "--plan-default",
      "--no-budget",
      "--model",
      "m",
      "--json",
    ]);
    expect(JSON.parse(changed.stdout)).toMatchObject({
      name: "second",
      plan: null,
      budget: null,
      model: "m",
      permissionPolicy: { ask: ["edit"] },
    });
    expect(await home.cli(["agents", "delete", "second"])).toMatchObject({ code: 0, stderr: "Deleted second.\n" });
    expect(await home.cli(["agents", "show", "second"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("no saved agent second") as string,
    });
    expect(await home.cli(["run", "x", "--repo", home.root, "--agent", "second"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("Known agents: ") as string,
    });
  }, 60_000);
});

/** Files below a folder that hold a text; the database's and repositories' own aside. */
function filesWith(root: string, text: string): string[] {
  const names = readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => path.join(root, name));
  return names.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true && readFileSync(file).includes(text));
}

/** What the database holds of saved agents and of runs. */
async function storedText(connectionString: string | undefined): Promise<string> {
  const database = new pg.Client({ connectionString });
  await database.connect();
  const { rows } = await database.query<{ text: string }>(
    "select definition::text as text from runyard.agents union all select spec::text from runyard.runs",
  );
  await database.end();
  return rows.map(({ text }) => text).join("\n");
}
