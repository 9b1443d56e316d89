// Real agents use a run's MCP servers: one over HTTP, by way of the gateway, and one that they start in the sandbox.
import type { RunyardClient } from "@runyard/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { startMcpServer, type TestMcpServer } from "../src/testing/mcp-server.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { makeRepository, makeTestHome, readLog, type TestHome } from "../src/testing/server.ts";
import { STDIO_MCP_SERVER } from "./stdio-mcp-server.ts";

const AGENTS = await realAgents(["opencode", "codex", "gemini", "claude"]);

/** How each agent's model calls the tools of servers, and how the agent asks for permission. */
const CALLS = {
  opencode: {
    shout: "docs_shout",
    tell: "local_tell",
    asked: [
      ["other", "docs_shout"],
      ["other", "local_tell"],
    ],
  },
  codex: {
    shout: "shout",
    tell: "tell",
    asked: [
      ["execute", "mcp.docs.shout"],
      ["execute", "mcp.local.tell"],
    ],
  },
  gemini: {
    shout: "mcp_docs_shout",
    tell: "mcp_local_tell",
    asked: [
      ["other", "shout (docs MCP Server)"],
      ["other", "tell (local MCP Server)"],
    ],
  },
  claude: {
    shout: "mcp__docs__shout",
    tell: "mcp__local__tell",
    asked: [
      ["other", "mcp__docs__shout"],
      ["other", "mcp__local__tell"],
    ],
  },
} as const;

for (const { name, reason } of AGENTS)
  describe.skipIf(reason !== null)(`${name}${reason === null ? "" : ` (not tested: ${reason})`}`, () => {
    let database: TestDatabase;
    let home: TestHome;
    let model: ScriptedModel;
    let server: TestMcpServer;
    let client: RunyardClient;

    beforeAll(async () => {
      database = await createTestDatabase();
      server = await startMcpServer();
      const shout = { calls: [{ name: CALLS[name as keyof typeof CALLS].shout, input: { text: "hello" } }] };
      const tell = { calls: [{ name: CALLS[name as keyof typeof CALLS].tell, input: {} }] };
      model = await startScriptedModel({ first: [shout, tell, { say: "Done." }], second: [shout, { say: "Done again." }] });
      home = makeTestHome({ ...PINNED_AGENTS, ...scriptedProviders(model), DATABASE_URL: database.connectionString });
      ({ client } = await home.up());
    }, 60_000);
    afterAll(async () => {
      await home.close();
      await model.close();
      await server.close();
      await database.drop();
    });

    test("calls them, and their words reach its model", async () => {
      const repository = makeRepository(home.root, { "tools/server.mjs": STDIO_MCP_SERVER });
      const { id } = await client.runs.create({
        task: "[[first]] Use them",
        repositoryUrl: repository,
        agent: { profile: name },
        model: "scripted-1",
        mcpServers: [
          { name: "docs", url: server.url, headers: { authorization: "Bearer sk-canary-of-the-server" } },
          { name: "local", command: ["node", "tools/server.mjs"], env: { GIVEN: "a value" } },
        ],
      });
      const run = await client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", error: null, result: { summary: expect.stringMatching(/Done\.$/) as string } });
      const asked = (await readLog(client, id)).flatMap((event) => (event.type === "permission.requested" ? [event.data] : []));
      expect(asked.map(({ kind, title }) => [kind, title])).toEqual(CALLS[name as keyof typeof CALLS].asked);
      const heard = JSON.stringify(model.requests.at(-1)?.messages);
      for (const words of ["HELLO", "given: a value"]) expect(heard).toContain(words);
      // The conversation that is taken up again has them too.
      const before = server.seen.length;
      await client.runs.continue(id, "[[second]] Once more");
      expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
      expect(server.seen.length).toBeGreaterThan(before);
      expect(new Set(server.seen.map(({ headers }) => headers.authorization))).toEqual(new Set(["Bearer sk-canary-of-the-server"]));
      expect(JSON.stringify([model.requests, await readLog(client, id)])).not.toContain("canary");
    }, 300_000);
  });
