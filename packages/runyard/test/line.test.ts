// The whole line, on real parts: a server in a process of its own, PostgreSQL, sandbox, gateway, agents,
// git. One task becomes one change, or a plain error.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

/** Seconds that nobody else sleeps: what is left of it is of this test. */
const NAP = 10_000_000 + process.pid;
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "the whole line" : `the whole line cannot be tested: ${unavailable}`, () => {
  const line = useLine();

  test("the built-in agent's change arrives as a branch; the working tree is not touched", async () => {
    const client = await line.serve([
      { say: "I will write it.", plan: { "Write it": "in_progress" } },
      { write: ["notes/hello.txt", "hello\n"] },
      { run: "cat notes/hello.txt; exit 3" },
      { say: "Written.", plan: { "Write it": "completed" } },
      { say: "All done." },
    ]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "plain");
    gitIn(repository, "update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},lib/other`);
    gitIn(repository, "commit", "--quiet", "--message", "A submodule");
    writeFileSync(path.join(repository, "README.md"), "# not committed\n");
    const before = gitIn(repository, "status", "--porcelain");

    const created = await client.runs.create({ task: "Write hello", repositoryUrl: repository });
    expect(created.sandboxId).toBe(created.id.replace("run_", "sandbox_"));
    const run = await client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({
      status: "completed",
      error: null,
      simulated: false,
      responseType: "regular",
      progress: { percentage: 100 },
    });
    expect(run.result).toMatchObject({
      summary: "All done.",
      headBranch: `runyard/${run.id}`,
      filesChanged: 1,
      insertions: 1,
      deletions: 0,
    });
    expect(gitIn(repository, "show", `${run.result?.headBranch}:notes/hello.txt`)).toBe("hello");
    expect(gitIn(repository, "status", "--porcelain")).toBe(before);
    expect(gitIn(repository, "rev-parse", `${run.result?.headBranch}~1`)).toBe(created.baseCommit);
    expect(await client.runs.patch(run.id)).toContain("+hello");

    const log = await readLog(client, run.id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    const finished = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data] : []));
    expect(finished.map((tool) => tool.exitCode)).toEqual([3]);
    const notices = log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
    expect(notices).toEqual(["uncommitted-changes", "submodules-left-out"]);
    expect(run.usage).toMatchObject({ modelCalls: 5, failedModelCalls: 0, inputTokens: 5000, outputTokens: 210 });
    // The provider's key went to the provider and nowhere else.
    expect(line.model.requests.map((request) => request.authorization)).toEqual(
      Array.from({ length: 5 }, () => "Bearer sk-decoy-provider-key"),
    );
    expect(JSON.stringify(log)).not.toContain("sk-decoy");
  }, 60_000);

  test("a person decides what the policy asks, once, by API and by command", async () => {
    const client = await line.serve([{ write: ["a.txt", "a\n"] }, { run: "touch b.txt" }, { ask: "Which colour?" }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "asking");
    const { id } = await client.runs.create({ task: "Ask me", repositoryUrl: repository, permissionPolicy: { ask: ["edit", "execute"] } });
    const waiting = async (kind: string, toolKind: string | null, after?: string): Promise<string> => {
      const run = await line.waiting(id, after);
      expect(run).toMatchObject({ status: "awaiting_input", waitingFor: [{ kind, toolKind }] });
      return run.waitingFor[0]?.id ?? "";
    };
    const edit = await waiting("permission", "edit");
    await client.runs.answerPermission(id, edit, "deny");
    await expect(client.runs.answerPermission(id, edit, "allow")).rejects.toMatchObject({ code: "already_answered", status: 409 });
    const command = await waiting("permission", "execute", edit);
    expect(await line.home.cli(["answer", id, "allow"])).toMatchObject({ code: 0 });
    const question = await waiting("question", null, command);
    await expect(client.runs.answerPermission(id, question.replace("ask_", "perm_"), "allow")).rejects.toMatchObject({ status: 404 });
    await client.runs.answerQuestion(id, question, 'Blue\u2028 "quoted"');
    const run = await client.runs.waitForEnd(id);
    expect(run.status).toBe("completed");
    expect(gitIn(repository, "ls-tree", "--name-only", `${run.result?.headBranch}`).split("\n")).toEqual(["README.md", "b.txt"]);
    expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain("Blue");
    const log = await readLog(client, id);
    expect(log.flatMap((event) => (event.type === "permission.resolved" ? [[event.data.decision, event.data.by]] : []))).toEqual([
      ["deny", "person"],
      ["allow", "person"],
    ]);
  }, 60_000);

  test("a cancelled run ends with its whole process tree", async () => {
    const client = await line.serve([{ run: `echo begun; sleep ${NAP} & sleep ${NAP}` }, { say: "Never." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "cancelled");
    const { id } = await client.runs.create({ task: "Sleep", repositoryUrl: repository });
    for await (const event of client.runs.events(id))
      if (event.type === "tool.updated" && JSON.stringify(event.data).includes("begun")) break;
    // The command says that it has begun before it starts them.
    while (sleepers() < 2) await sleep(20);
    await client.runs.cancel(id);
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "cancelled", cancelRequested: true });
    expect(sleepers()).toBe(0);
    await expect(client.runs.cancel(id)).rejects.toMatchObject({ code: "run_ended" });
  }, 60_000);

  test("a run that uses up its time is ended", async () => {
    const client = await line.serve([{ run: `sleep ${NAP}` }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "slow");
    const { id } = await client.runs.create({ task: "Sleep", repositoryUrl: repository, settings: { timeout: 3_000 } });
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "timeout", error: { type: "timeout" } });
    expect(sleepers()).toBe(0);
  }, 60_000);

  describe("what must not look like success", () => {
    const agents: Record<string, string> = {
      "exit.mjs": "process.exit(3)",
      "garbage.mjs": "console.log('hello, this is no protocol'); setTimeout(() => process.exit(0), 200)",
      "silent.mjs": "process.stdin.resume(); process.stdin.on('end', () => process.exit(0)); setTimeout(() => process.exit(0), 300)",
      "throws.mjs": "throw new Error('the decoy reason')",
    };
    let repository: string;
    beforeAll(() => {
      repository = makeRepository(line.home.root, { "README.md": "# x\n", ...agents }, "bad-agents");
    });

    test.each([
      ["exits at once", ["node", "exit.mjs"], "agent-error", /exited with code 3/],
      ["prints garbage", ["node", "garbage.mjs"], "agent-error", /exited with code 0 before its turn was over/],
      ["says nothing", ["node", "silent.mjs"], "agent-error", /exited with code 0/],
      ["throws", ["node", "throws.mjs"], "agent-error", /the decoy reason/],
      ["does not exist", ["./no-such-program"], "agent-error", /not found/],
      ["is not executable", ["./README.md"], "agent-error", /not executable|not found/],
    ])(
      "an agent that %s",
      async (_, command, type, message) => {
        const client = await line.serve([]);
        const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository, agent: { command } });
        const run = await client.runs.waitForEnd(id);
        expect(run.status).toBe("failed");
        expect(run.error?.type).toBe(type);
        expect(run.error?.message).toMatch(message);
        expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
      },
      60_000,
    );

    test.each([
      [401, "agent-error", /401/],
      [404, "agent-error", /404/],
      [429, "rate-limit", /429/],
      [500, "network-error", /500/],
    ])(
      "a model that always answers %d",
      async (status, type, message) => {
        const client = await line.serve([{ fail: status, message: "the decoy words" }]);
        const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository });
        const run = await client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "failed", error: { type } });
        expect(run.error?.message).toMatch(message);
        expect(run.error?.message).toContain("the decoy words");
        expect(run.usage.failedModelCalls).toBe(run.usage.modelCalls);
      },
      90_000,
    );
  });

  test.runIf(process.env["RUNYARD_TEST_FULL"])(
    "of several providers a run asks the one that it names, with that one's key, and says where nobody lists its model",
    async () => {
      await line.serve([{ write: ["a.txt", "a\n"] }, { say: "Written." }]);
      await line.restart({ ANTHROPIC_BASE_URL: line.model.root, ANTHROPIC_API_KEY: "sk-ant-decoy-of-the-maker" });
      const { client, model } = line;
      expect((await client.status()).model).toMatchObject({
        name: "openai/scripted-1",
        providers: [{ name: "openai" }, { name: "anthropic", api: "anthropic" }],
      });
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "several");
      const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository, model: "anthropic/claude-x" });
      expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed", model: "anthropic/claude-x" });
      expect(new Set(model.requests.map((request) => `${request.path} ${request.model} ${request.authorization}`))).toEqual(
        new Set(["/v1/chat/completions claude-x Bearer sk-ant-decoy-of-the-maker"]),
      );
      const notices = (await readLog(client, id)).filter((event) => event.type === "notice").map((event) => event.data.code);
      expect(notices).toEqual(["model-unknown"]);
      const { data, providers } = await client.models.list();
      expect(data.map((one) => one.id)).toEqual(["openai/scripted", "anthropic/scripted"]);
      expect(providers).toMatchObject([{ problem: null }, { problem: null }]);
    },
    60_000,
  );

  test("without a model a run fails at once and says what to do; an agent's own command is not refused", async () => {
    await line.restart({ OPENAI_BASE_URL: "", OPENAI_API_KEY: "" });
    const { client, server } = line;
    expect(server.said()).toContain("no-model-configured");
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "no-model");
    const refused = await client.runs.create({ task: "Do it", repositoryUrl: repository });
    expect(refused).toMatchObject({ status: "failed", error: { type: "no-model-configured" } });
    const own = await client.runs.create({ task: "Do it", repositoryUrl: repository, agent: { command: ["true"] } });
    expect(own.status).toBe("pending");
    expect((await client.runs.waitForEnd(own.id)).error?.type).toBe("agent-error");
  }, 60_000);

  test.each([
    ["a folder that is not there", (root: string) => path.join(root, "nowhere"), /There is no folder/],
    [
      "a folder that is no repository",
      (root: string) => (mkdirSync(path.join(root, "bare-folder"), { recursive: true }), path.join(root, "bare-folder")),
      /not in a git repository/,
    ],
    ["a repository on another machine", () => "https://example.invalid/x.git", /could not be reached/],
  ])("%s is refused with a plain message", async (_, urlOf, message) => {
    await expect(line.client.runs.create({ task: "x", repositoryUrl: urlOf(line.home.root) })).rejects.toMatchObject({
      status: 422,
      code: "repository_not_usable",
      message: expect.stringMatching(message) as string,
    });
  });
});

/** How many of the decoy's sleeping commands live, wherever they are. */
function sleepers(): number {
  return processesWith(`sleep\0${NAP}\0`).length;
}
