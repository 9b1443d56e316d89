// A run that goes on after its end: the next turn has the same workspace, conversation, log and branch.
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest, isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "continue" : `continue cannot be tested: ${unavailable}`, () => {
  const line = useLine({ flags: ["--unsafe-process"] });

  test.each(isFull ? (["bwrap", "process"] as const) : (["bwrap"] as const))(
    "goes on in the same workspace and conversation, and the branch goes on too (%s)",
    async (sandbox) => {
      const client = await line.serve([
        { write: ["one.txt", "one\n"] },
        { run: "echo kept >ignored.log; git status --porcelain" },
        { say: "The first turn is done." },
        { run: "git status --porcelain; git log --format=%s; cat one.txt ignored.log" },
        { write: ["two.txt", "two\n"] },
        { say: "The second turn is done." },
      ]);
      const repository = makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "*.log\n" }, `two-turns-${sandbox}`);
      const created = await client.runs.create({
        task: "Write one",
        repositoryUrl: repository,
        permissionPolicy: { ask: [] },
        settings: { sandboxDriver: sandbox },
      });
      const first = await client.runs.waitForEnd(created.id);
      expect(first).toMatchObject({ status: "completed", turn: 1, prompt: "Write one" });
      const firstLog = await readLog(client, first.id);

      const continued = await client.runs.continue(first.id, "Now write two");
      expect(continued).toMatchObject({
        id: first.id,
        status: expect.stringMatching(/pending|running/) as string,
        turn: 2,
        task: "Write one",
        prompt: "Now write two",
        result: null,
        error: null,
        finishedAt: null,
      });
      // A reader that comes back behind the first end gets the second turn.
      const rest = [];
      for await (const event of client.runs.events(first.id, { after: first.lastSeq })) rest.push(event);
      const run = await client.runs.get(first.id);
      expect(run).toMatchObject({ status: "completed", turn: 2, attempt: 2, error: null, result: { summary: "The second turn is done." } });
      expect(
        rest.map((event) => event.type).filter((type) => !/^(message\.(delta|completed)|tool\.|permission\.|usage\.)/.test(type)),
      ).toEqual([
        "message.user",
        "turn.started",
        "run.phase",
        "sandbox.ready",
        "run.phase",
        "agent.started",
        "turn.ended",
        "run.phase",
        "result.regular",
        "run.completed",
      ]);
      expect(rest.every((event) => event.turn === 2)).toBe(true);
      const log = await readLog(client, first.id);
      expect(log).toEqual([...firstLog, ...rest]);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      const ids = log.flatMap((event) => (event.type === "message.completed" ? [event.data.messageId] : []));
      expect(new Set(ids).size).toBe(ids.length);

      // The model was shown the whole conversation, and the agent found its files, its commit and what git ignores.
      const asked = line.model.requests[3]?.messages.filter((message) => message.role === "user");
      expect(JSON.stringify(asked)).toContain("Write one");
      expect(asked?.at(-1)?.content).toContain("Now write two");
      expect(JSON.stringify(line.model.requests[3]?.messages)).toContain("The first turn is done.");
      const seen = rest.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.output] : []));
      expect(seen).toEqual(["Write one\nFirst\none\nkept\n"]);

      const branch = `runyard/${run.id}`;
      expect(gitIn(repository, "log", "--format=%s", branch).split("\n")).toEqual(["Now write two", "Write one", "First"]);
      expect(gitIn(repository, "rev-parse", branch)).toBe(run.result?.headCommit);
      expect(run.result).toMatchObject({ headBranch: branch, baseCommit: created.baseCommit, filesChanged: 2, insertions: 2 });
      expect((await client.runs.files(run.id)).data.map((file) => file.path)).toEqual(["one.txt", "two.txt"]);
      expect(run.usage).toMatchObject({ modelCalls: 6, failedModelCalls: 0 });
    },
    60_000,
  );

  /** A run that has ended, of the model's script `first`; later turns choose theirs by `[[name]]`. */
  async function endedRun(
    script: Readonly<Record<string, readonly ModelStep[]>>,
    name: string,
  ): Promise<{ id: string; repository: string; run: Run }> {
    const client = await line.serve(script);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, name);
    const { id } = await client.runs.create({
      task: "[[first]] Write one",
      repositoryUrl: repository,
      settings: { sandboxDriver: "bwrap" },
    });
    return { id, repository, run: await client.runs.waitForEnd(id) };
  }

  async function nextTurn(id: string, prompt: string): Promise<Run> {
    await line.client.runs.continue(id, prompt);
    return line.client.runs.waitForEnd(id);
  }

  async function noticesOf(id: string, turn: number): Promise<string[]> {
    return (await readLog(line.client, id)).flatMap((event) => (event.type === "notice" && event.turn === turn ? [event.data.code] : []));
  }

  const FIRST: readonly ModelStep[] = [{ write: ["one.txt", "one\n"] }, { say: "The first turn is done." }];
  const SECOND: readonly ModelStep[] = [{ write: ["two.txt", "two\n"] }, { say: "The second turn is done." }];

  test("a workspace that is gone is made again from the last commit, and the agent is told what was said", async () => {
    const { id, repository } = await endedRun({ first: FIRST }, "gone");
    rmSync(path.join(line.home.root, "home", "runs", id, "1"), { recursive: true });
    const run = await nextTurn(id, "Look");
    expect(run).toMatchObject({ status: "completed", error: null, turn: 2 });
    expect(await noticesOf(id, 2)).toEqual(["workspace-renewed", "conversation-restarted"]);
    const told = JSON.stringify(line.model.requests[FIRST.length]?.messages);
    for (const words of ["Write one", "The first turn is done.", "What to do now:\\nLook"]) expect(told).toContain(words);
    // The new conversation plays the first script again: the file is there already, so nothing has changed.
    expect(run.result?.headCommit).toBe(gitIn(repository, "rev-parse", `runyard/${id}`));
    expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`)).toBe("[[first]] Write one\nFirst");
    expect(run.result).toMatchObject({ headBranch: `runyard/${id}`, filesChanged: 1 });
  }, 60_000);

  fullTest(
    "a branch that was removed is made again; one that was moved or is checked out is left alone",
    async () => {
      const third: readonly ModelStep[] = [{ write: ["three.txt", "three\n"] }, { say: "Three." }];
      const fourth: readonly ModelStep[] = [{ write: ["four.txt", "four\n"] }, { say: "Four." }];
      const { id, repository } = await endedRun({ first: FIRST, second: SECOND, third, fourth }, "branches");
      const branch = `runyard/${id}`;
      gitIn(repository, "branch", "-D", branch);
      const second = await nextTurn(id, "[[second]]");
      expect(second.result).toMatchObject({ headBranch: branch, filesChanged: 2 });
      expect(gitIn(repository, "rev-parse", branch)).toBe(second.result?.headCommit);

      gitIn(repository, "branch", "--force", branch, "main");
      const thirdRun = await nextTurn(id, "[[third]]");
      expect(await noticesOf(id, 3)).toEqual(["branch-in-the-way"]);
      expect(thirdRun.result).toMatchObject({ headBranch: `${branch}-3`, filesChanged: 3 });
      expect(gitIn(repository, "rev-parse", branch)).toBe(gitIn(repository, "rev-parse", "main"));

      gitIn(repository, "checkout", "--quiet", `${branch}-3`);
      const fourthRun = await nextTurn(id, "[[fourth]]");
      expect(await noticesOf(id, 4)).toEqual(["branch-in-the-way"]);
      expect(fourthRun.result).toMatchObject({ headBranch: `${branch}-4`, filesChanged: 4 });
      expect(gitIn(repository, "status", "--porcelain")).toBe("");
      expect(gitIn(repository, "rev-parse", `${branch}-4~1`)).toBe(thirdRun.result?.headCommit);
    },
    90_000,
  );

  test("a cancelled run goes on with the files that it had; one whose turn is not over is refused", async () => {
    const client = await line.serve({
      first: [{ write: ["one.txt", "one\n"] }, { run: "echo begun; sleep 987655" }],
      second: [{ run: "cat one.txt" }, { say: "Done." }],
    });
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "cancelled-turn");
    const { id } = await client.runs.create({ task: "[[first]]", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
    await expect(client.runs.continue(id, "Go on")).rejects.toMatchObject({
      status: 409,
      code: "run_not_ended",
      message: expect.stringContaining("Its turn is not over") as string,
    });
    for await (const event of client.runs.events(id))
      if (event.type === "tool.updated" && JSON.stringify(event.data).includes("begun")) break;
    await client.runs.cancel(id);
    expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled", cancelRequested: true });

    const both = await Promise.allSettled([client.runs.continue(id, "[[second]] a"), client.runs.continue(id, "[[second]] b")]);
    expect(both.map((one) => one.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(both.find((one) => one.status === "rejected")).toMatchObject({ reason: { code: "run_not_ended" } });
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", turn: 2, cancelRequested: false, result: { filesChanged: 1, summary: "Done." } });
    expect(gitIn(repository, "show", `runyard/${id}:one.txt`)).toBe("one");
    expect((await readLog(client, id)).filter((event) => event.type === "message.user")).toHaveLength(2);

    await expect(client.runs.continue(id, "  ")).rejects.toMatchObject({ status: 422, code: "invalid_request" });
    await expect(client.runs.continue(`run_${"0".repeat(26)}`, "x")).rejects.toMatchObject({ status: 404, code: "run_not_found" });
  }, 60_000);

  fullTest(
    "an agent that cannot take its conversation up is told what happened",
    async () => {
      const client = await line.serve([]);
      const repository = makeRepository(line.home.root, { "agent.mjs": FORGETFUL_AGENT }, "forgetful");
      const { id } = await client.runs.create({
        task: "Remember the number 7",
        repositoryUrl: repository,
        agent: { command: ["node", "agent.mjs"] },
        settings: { sandboxDriver: "bwrap" },
      });
      expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed" });
      await nextTurn(id, "Add 1");
      const run = await nextTurn(id, "Add 2");
      expect(run).toMatchObject({ status: "completed", turn: 3, attempt: 3 });
      expect(await noticesOf(id, 3)).toEqual(["conversation-restarted"]);
      const prompts = gitIn(repository, "show", `runyard/${id}:prompts.txt`).split("\n---\n");
      expect(prompts[0]).toBe("Remember the number 7");
      expect(prompts[2]).toMatch(
        /The task was:\nRemember the number 7\n\nWhat you were asked last:\nAdd 1\n\nWhat you said last:\nI said 2\.\n\nWhat to do now:\nAdd 2/,
      );
      expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`).split("\n")).toEqual([
        "Add 2",
        "Add 1",
        "Remember the number 7",
        "First",
      ]);
    },
    60_000,
  );

  fullTest(
    "the command goes on with a run and shows the new turn only",
    async () => {
      // The third turn lasts until it is cancelled, however long a command takes to start.
      const { id } = await endedRun({ first: FIRST, second: SECOND, third: [{ say: "Late.", delayMs: 600_000 }] }, "by-command");
      const done = await line.home.cli(["continue", id, "-", "--ndjson"], { input: "[[second]] Now two\n" });
      expect(done.code).toBe(0);
      const events = done.stdout
        .trimEnd()
        .split("\n")
        .map((text) => JSON.parse(text) as RunEvent);
      expect(events[0]).toMatchObject({ type: "message.user", turn: 2, data: { text: "[[second]] Now two" } });
      expect(events.at(-1)?.type).toBe("run.completed");
      const shown = await line.home.cli(["show", id]);
      expect(shown.stdout).toContain("turn 2 [[second]] Now two");
      expect(await line.home.cli(["continue", id, " "])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("must say what to do") as string,
      });
      const detached = await line.home.cli(["continue", id, "[[third]] Once more", "--detach", "--json"]);
      expect(JSON.parse(detached.stdout)).toMatchObject({ id, turn: 3, status: expect.stringMatching(/pending|running/) as string });
      expect(await line.home.cli(["continue", id, "And again"])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("not over") as string,
      });
      await line.client.runs.cancel(id);
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled", turn: 3 });
    },
    60_000,
  );

  fullTest(
    "a run that failed before it had a workspace begins when it is continued",
    async () => {
      await line.restart({ OPENAI_BASE_URL: "", OPENAI_API_KEY: "" });
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "no-model");
      const { id } = await line.client.runs.create({
        task: "[[first]] Write one",
        repositoryUrl: repository,
        settings: { sandboxDriver: "bwrap" },
      });
      expect(await line.client.runs.get(id)).toMatchObject({ status: "failed", error: { type: "no-model-configured" } });
      const again = await line.client.runs.continue(id, "Try again");
      expect(again).toMatchObject({ status: "failed", turn: 2, error: { type: "no-model-configured" } });
      expect((await readLog(line.client, id)).slice(-2).map((event) => event.type)).toEqual(["message.user", "run.failed"]);
      await line.serve({ first: FIRST });
      await line.restart();
      const run = await nextTurn(id, "And again");
      expect(run).toMatchObject({ status: "completed", turn: 3, attempt: 1, result: { filesChanged: 1 } });
      expect(await noticesOf(id, 3)).toEqual([]);
    },
    60_000,
  );

  test("a server that is killed in the second turn leaves it going", async () => {
    const second: readonly ModelStep[] = [
      { write: ["two.txt", "two\n"] },
      { run: "echo begun; until test -e .git/go-on; do sleep 0.05; done; echo over" },
      { say: "The second turn is done." },
    ];
    const { id, repository, run: first } = await endedRun({ first: FIRST, second }, "killed");
    await line.client.runs.continue(id, "[[second]]");
    // Whatever step it is in: the next server goes on with it.
    await line.restart();
    const seen: RunEvent[] = [];
    for await (const event of line.client.runs.events(id, { after: first.lastSeq })) {
      seen.push(event as RunEvent);
      if (event.type === "tool.updated" && JSON.stringify(event.data).includes("begun")) break;
    }
    const pid = seen.find((event) => event.type === "agent.started")?.data.pid ?? 0;
    await line.server.kill();
    expect(identifyProcess(pid)).not.toBeNull();
    await line.restart();
    writeFileSync(path.join(line.home.root, "home", "runs", id, "2", "workspace", ".git", "go-on"), "");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", turn: 2, attempt: 2, error: null });
    const log = await readLog(line.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    expect(log.slice(first.lastSeq, first.lastSeq + seen.length)).toEqual(seen);
    expect(log.filter((event) => event.type === "agent.started" && event.turn === 2)).toHaveLength(1);
    expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`).split("\n")).toEqual(["[[second]]", "[[first]] Write one", "First"]);
  }, 90_000);

  test.each(process.env["RUNYARD_TEST_FULL"] ? ["turn.started", "sandbox.ready", "agent.started", "turn.ended"] : ["sandbox.ready"])(
    "a server that is killed after %s of a later turn costs nothing",
    async (type) => {
      const { id, repository, run: first } = await endedRun({ first: FIRST, second: SECOND }, `killed-after-${type}`);
      await line.client.runs.continue(id, "[[second]]");
      const seen: RunEvent[] = [];
      for await (const event of line.client.runs.events(id, { after: first.lastSeq })) {
        seen.push(event as RunEvent);
        if (event.type === type) break;
      }
      await line.restart();
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({
        status: "completed",
        turn: 2,
        attempt: 2,
        result: { filesChanged: 2 },
      });
      const log = await readLog(line.client, id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      expect(log.slice(first.lastSeq, first.lastSeq + seen.length)).toEqual(seen);
      for (const once of ["turn.started", "sandbox.ready", "agent.started", "turn.ended", "run.completed"])
        expect(log.filter((event) => event.type === once && event.turn === 2)).toHaveLength(1);
      expect(log.filter((event) => event.type === "notice")).toEqual([]);
      expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`).split("\n")).toEqual(["[[second]]", "[[first]] Write one", "First"]);
    },
    90_000,
  );
});

/** Speaks ACP, writes down what it is asked, and can neither resume nor load. */
const FORGETFUL_AGENT = `import { appendFileSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  else if (method === "session/new") send({ id, result: { sessionId: "s" + process.pid } });
  else if (method === "session/prompt") {
    appendFileSync("prompts.txt", params.prompt[0].text + "\\n---\\n");
    const count = readFileSync("prompts.txt", "utf8").split("\\n---\\n").length - 1;
    const update = { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "I said " + count + "." } };
    send({ method: "session/update", params: { sessionId: params.sessionId, update } });
    send({ id, result: { stopReason: "end_turn" } });
  } else if (id !== undefined) send({ id, error: { code: -32601, message: "I do not know " + method } });
}
`;
