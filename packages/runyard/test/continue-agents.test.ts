// Real agents take their conversation up again: each turn has a new process, in the home of the one before.
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunyardClient } from "@runyard/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readShimPid } from "../src/sandbox/run-directory.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome } from "../src/testing/server.ts";

const AGENTS = await realAgents(["opencode", "codex", "claude", "gemini"]);

const TOOL_PREFIXES: Readonly<Record<string, string>> = { opencode: "runyard_", claude: "mcp__runyard__", gemini: "mcp_runyard_" };

for (const { name, reason } of AGENTS)
  describe.skipIf(reason !== null)(`${name}${reason === null ? "" : ` (not tested: ${reason})`}`, () => {
    let database: TestDatabase;
    let home: TestHome;
    let model: ScriptedModel;
    let client: RunyardClient;
    /** The name under which the model knows a tool of Runyard's. */
    const tool = (word: string): string => `${TOOL_PREFIXES[name] ?? ""}${word}`;

    beforeAll(async () => {
      database = await createTestDatabase();
      model = await startScriptedModel({
        first: [{ write: ["one.txt", "one\n"] }, { say: "The first turn is done." }],
        // Whatever becomes of the call that nobody answered: it is made again.
        wait: [...Array.from({ length: 3 }, () => ({ run: "touch asked.txt" })), { say: "It is touched." }],
        lost: [...Array.from({ length: 3 }, () => ({ run: "test -e again || { touch again; sleep 600; }" })), { say: "It is there." }],
        tools: [
          { calls: [{ name: tool("submit_plan"), input: { plan: "# Plan", steps: ["Write port.txt"] } }] },
          { say: "It is handed in." },
          { calls: [{ name: tool("report_progress"), input: { percentage: 50, message: "Half of it" } }] },
          { calls: [{ name: tool("ask_user"), input: { question: "Which port?", options: ["4600", "4700"] } }] },
          { say: "I wait." },
          { write: ["port.txt", "4600\n"] },
          { say: "The port is written." },
        ],
        second: [{ run: "cat one.txt" }, { write: ["two.txt", "two\n"] }, { say: "The second turn is done." }],
      });
      home = makeTestHome({
        ...PINNED_AGENTS,
        ...scriptedProviders(model),
        DATABASE_URL: database.connectionString,
      });
      ({ client } = await home.up());
    }, 60_000);
    afterAll(async () => {
      await home.close();
      await model.close();
      await database.drop();
    });

    test("knows in the second turn what was said in the first", async () => {
      const repository = makeRepository(home.root, { "README.md": "# x\n" });
      const { id } = await client.runs.create({
        task: "[[first]] Write one",
        repositoryUrl: repository,
        agent: { profile: name },
        model: "scripted-1",
      });
      const first = await client.runs.waitForEnd(id);
      expect(first).toMatchObject({ status: "completed", error: null });
      const before = model.requests.length;
      await client.runs.continue(id, "[[second]] Now two");
      const run = await client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "completed",
        error: null,
        turn: 2,
        result: { summary: "The second turn is done.", filesChanged: 2 },
      });
      expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`).split("\n")).toEqual([
        "[[second]] Now two",
        "[[first]] Write one",
        "First",
      ]);

      const log = await readLog(client, id);
      const [session, resumed] = log.flatMap((event) => (event.type === "agent.started" ? [event.data.sessionId] : []));
      expect(resumed).toBe(session);
      expect(log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []))).toEqual([]);
      // Nothing of the first turn is told again, and the model was shown all of it.
      const second = JSON.stringify(
        log.filter((event) => event.turn === 2 && event.type !== "run.completed" && event.type !== "result.regular"),
      );
      expect(second).not.toContain("The first turn is done.");
      const shown = JSON.stringify(model.requests[before]?.messages);
      for (const words of ["Write one", "The first turn is done.", "Now two"]) expect(shown).toContain(words);
      expect(JSON.stringify(log)).not.toContain("sk-decoy");
    }, 300_000);

    // Gemini CLI keeps every tool from its model that is called ask_user.
    test.skipIf(!process.env["RUNYARD_TEST_FULL"] || name === "gemini")(
      "hands in a plan, tells progress and asks, with the tools that it is given",
      async () => {
        const { id } = await client.runs.create({
          task: "[[tools]] Write the port",
          repositoryUrl: makeRepository(home.root, { "README.md": "# x\n" }, "tools"),
          agent: { profile: name },
          model: "scripted-1",
          plan: true,
          // Nobody is asked about Runyard's own tools.
          permissionPolicy: { default: "ask", rules: [{ decision: "allow", kinds: ["edit"] }] },
        });
        for await (const event of client.runs.events(id)) if (event.type === "plan.proposed") break;
        expect((await client.runs.plan(id)).data).toMatchObject([{ source: "tool", text: "# Plan\n\n- Write port.txt" }]);
        await client.runs.confirmPlan(id);
        for await (const event of client.runs.events(id)) if (event.type === "question.asked") break;
        const asking = await client.runs.get(id);
        expect(asking).toMatchObject({ status: "awaiting_input", progress: { percentage: 50 } });
        expect(asking.waitingFor).toMatchObject([{ kind: "question", title: "Which port?\n- 4600\n- 4700" }]);
        await client.runs.answerQuestion(id, asking.waitingFor[0]?.id ?? "", "4600");
        const run = await client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 3, result: { filesChanged: 1 } });
        const log = await readLog(client, id);
        expect(new Set(log.flatMap((event) => (event.type === "agent.started" ? [event.data.sessionId] : []))).size).toBe(1);
        expect(log.flatMap((event) => (event.type === "notice" ? [event.data.message] : []))).toEqual([]);
        expect(JSON.stringify(model.requests.at(-1)?.messages)).toContain("The answer: 4600");
      },
      300_000,
    );

    test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
      "is let go while it waits for a person, and goes on with the answer",
      async () => {
        const repository = makeRepository(home.root, { "README.md": "# x\n" }, "wait");
        const created = await client.runs.create({
          task: "[[wait]] Touch it",
          repositoryUrl: repository,
          agent: { profile: name },
          model: "scripted-1",
          permissionPolicy: { ask: ["execute"] },
          settings: { agentWait: 1_000 },
        });
        for await (const event of client.runs.events(created.id))
          if (event.type === "notice" && event.data.code === "agent-released") break;
        const { waitingFor, status } = await client.runs.get(created.id);
        expect(status).toBe("awaiting_input");
        await client.runs.answerPermission(created.id, waitingFor[0]?.id ?? "", "allow");
        const run = await client.runs.waitForEnd(created.id);
        expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 2 });
        expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${run.id}`).split("\n")).toContain("asked.txt");
        const log = await readLog(client, run.id);
        const [session, resumed] = log.flatMap((event) => (event.type === "agent.started" ? [event.data.sessionId] : []));
        expect(resumed).toBe(session);
      },
      120_000,
    );

    test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
      "is killed in the middle of a command, and goes on in the same conversation",
      async () => {
        const repository = makeRepository(home.root, { "README.md": "# x\n" }, "lost");
        const { id } = await client.runs.create({
          task: "[[lost]] Make it",
          repositoryUrl: repository,
          agent: { profile: name },
          model: "scripted-1",
        });
        const dirs = path.join(home.root, "home", "runs", id, "1");
        while (!existsSync(path.join(dirs, "workspace", "again"))) await sleep(50);
        process.kill(readShimPid(path.join(dirs, "steps", "agent"))?.pid ?? 0, "SIGKILL");
        const run = await client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 2, failedAttempts: [{ error: { type: "lost" } }] });
        expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${run.id}`).split("\n")).toContain("again");
        const log = await readLog(client, id);
        const [session, resumed] = log.flatMap((event) => (event.type === "agent.started" ? [event.data.sessionId] : []));
        expect(resumed).toBe(session);
      },
      300_000,
    );
  });
