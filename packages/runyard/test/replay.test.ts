// A recorded run runs again on its recording: no model is called, and the first difference is shown.
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunyardClient } from "@runyard/sdk";
import { type CreateRunRequest, exchangeDetailSchema, exchangeListSchema, type Run, runSchema } from "@runyard/sdk/contract";
import { beforeAll, describe, expect, test } from "vitest";
import { controlClient } from "../src/gateway/control-client.ts";
import { homeAt } from "../src/home.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const REAL_AGENTS = await realAgents(["opencode", "codex", "gemini", "claude"]);
/** The names under which models know Runyard's tool for questions; Gemini CLI keeps it from its model. */
const ASK_TOOLS: Readonly<Record<string, string>> = {
  opencode: "runyard_ask_user",
  codex: "ask_user",
  claude: "mcp__runyard__ask_user",
};

/** Of a server that no provider is connected to. */
const NO_MODEL = Object.fromEntries(Object.keys(scriptedProviders({ url: "", root: "" })).map((name) => [name, ""]));

describe.skipIf(unavailable !== null)(unavailable === null ? "a replay" : `replays cannot be tested: ${unavailable}`, () => {
  const line = useLine({ env: (model) => ({ ...PINNED_AGENTS, ...scriptedProviders(model) }) });
  /** The run whose recording is replayed: five calls, one of which was refused at first. */
  let recorded: Run;
  let repository: string;
  /** What one exchange or another of it is, from 1. */
  let ids: string[];

  /** A run in which people decided about two plans, two permissions and a question. */
  let decided: Run;

  async function decideAll(client: RunyardClient): Promise<Run> {
    const permissionPolicy: CreateRunRequest["permissionPolicy"] = { ask: ["execute"] };
    const { id } = await client.runs.create({ task: "[[people]] Ask me", repositoryUrl: repository, plan: true, permissionPolicy });
    const planned = async (version: number): Promise<void> => {
      while ((await client.runs.get(id)).plan?.version !== version) await sleep(20);
    };
    await planned(1);
    await client.runs.revisePlan(id, { feedback: "Write two" });
    await planned(2);
    await client.runs.confirmPlan(id, { text: "Write three." });
    const first = (await line.waiting(id)).waitingFor[0]?.id ?? "";
    await client.runs.answerPermission(id, first, "deny");
    const second = (await line.waiting(id, first)).waitingFor[0]?.id ?? "";
    await client.runs.answerPermission(id, second, "allow");
    const question = (await line.waiting(id, second)).waitingFor[0]?.id ?? "";
    await client.runs.answerQuestion(id, question, "Blue");
    return client.runs.waitForEnd(id);
  }

  const recordingOf = (id: string): string => path.join(homeAt(path.join(line.home.root, "home")).gatewayDir, "runs", id);
  const planted = async (
    change: (file: (n: number, side: "request.json" | "response") => string) => void,
    then: () => Promise<void>,
  ): Promise<void> => {
    const dir = recordingOf(recorded.id);
    const kept = path.join(line.home.root, "kept");
    cpSync(dir, kept, { recursive: true });
    change((n, side) => path.join(dir, `${ids[n - 1]}.${side}`));
    await then();
    rmSync(dir, { recursive: true });
    cpSync(kept, dir, { recursive: true });
    rmSync(kept, { recursive: true });
  };
  const edit = (file: string, from: string, to: string): void => {
    const text = readFileSync(file, "utf8");
    expect(text).toContain(from);
    writeFileSync(file, text.replaceAll(from, to));
  };

  beforeAll(async () => {
    const client = await line.serve({
      write: [
        { say: "I will write it.", plan: { "Write it": "in_progress" } },
        { write: ["notes/hello.txt", "hello\n"], fail: 500, times: 1 },
        { run: "date; ls -l notes; git branch --show-current; git log -1 --format=%cd; exit 3" },
        { say: "All done." },
      ],
      // Two calls of one turn, of a plan that is handed in, sent back, and approved in other words.
      people: [
        { calls: [{ name: "propose_plan", input: { plan: "Write one." } }] },
        { say: "Handed in." },
        { calls: [{ name: "propose_plan", input: { plan: "Write two." } }] },
        { say: "Handed in again." },
        { run: "echo refused >no.txt" },
        { run: "echo allowed >yes.txt" },
        { ask: "Which colour?" },
        { say: "Done." },
      ],
    });
    repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "recorded");
    const { id } = await client.runs.create({ task: "[[write]] Write hello", repositoryUrl: repository });
    recorded = await client.runs.waitForEnd(id);
    expect(recorded).toMatchObject({ status: "completed", replayOf: null, replay: null });
    ids = (await client.runs.exchanges(id)).data.map((exchange) => exchange.id);
    decided = await decideAll(client);
    // Nobody can be asked from here on.
    await line.restart(NO_MODEL);
    line.model.play([]);
  }, 90_000);

  test("does again what was done, without a model, and as often as one likes at once", async () => {
    const { client } = line;
    expect((await client.status()).model.connected).toBe(false);
    const [first, command] = await Promise.all([
      client.runs.replay(recorded.id).then(({ id }) => client.runs.waitForEnd(id)),
      line.home.cli(["replay", recorded.id]),
    ]);
    expect(runSchema.parse(first)).toMatchObject({
      status: "completed",
      task: recorded.task,
      baseCommit: recorded.baseCommit,
      simulated: false,
      replayOf: recorded.id,
      replay: { of: recorded.id, turn: 1, turns: 1, exchanges: 5, divergence: null, sameResult: true },
      result: { summary: "All done.", headBranch: null, filesChanged: 1 },
      usage: { modelCalls: 5, failedModelCalls: 1, inputTokens: null, outputTokens: null, totalCost: 0 },
    });
    expect(command).toMatchObject({ code: 0, stdout: "identical: 5 exchanges, same result\n" });
    expect(line.model.requests).toEqual([]);
    // The repository is left alone, and the change can be looked at all the same.
    expect(gitIn(repository, "branch", "--format=%(refname:short)").split("\n")).toEqual([
      "main",
      `runyard/${recorded.id}`,
      `runyard/${decided.id}`,
    ]);
    expect(await client.runs.patch(first.id)).toBe(await client.runs.patch(recorded.id));
    const tools = async (id: string): Promise<unknown> =>
      (await readLog(client, id)).flatMap(({ type, data }) => (type === "tool.finished" ? [[data.title, data.status, data.exitCode]] : []));
    expect(await tools(first.id)).toEqual(await tools(recorded.id));
    expect((await readLog(client, first.id))[0]).toMatchObject({ type: "run.created", data: { replayOf: recorded.id } });
    expect((await line.home.cli(["show", first.id])).stdout).toContain("identical: 5 exchanges, same result");
    await expect(client.runs.continue(first.id, "Go on")).rejects.toMatchObject({ status: 409, code: "not_for_replays" });

    const own = await client.runs.exchanges(first.id);
    expect(own.data.map(({ replays }) => replays)).toEqual(ids);
  }, 60_000);

  test("shows where the agent asks something else", async () => {
    await planted(
      (file) => edit(file(1, "request.json"), "Write hello", "Write hullo"),
      async () => {
        const { code, stdout } = await line.home.cli(["replay", recorded.id]);
        expect(code).toBe(1);
        expect(stdout.split("\n").slice(0, 4)).toEqual([
          expect.stringMatching(/^differs at exchange 1 of 5, in messages\[\d\]\.content/) as string,
          "  - [[write]] Write hullo",
          "  + [[write]] Write hello",
          "same result",
        ]);
        const [replay] = (await line.client.runs.list({ limit: 1 })).data;
        const told = (await readLog(line.client, replay?.id ?? "")).flatMap((event) =>
          event.type === "replay.diverged" ? [event.data] : [],
        );
        expect(told).toEqual([replay?.replay?.divergence]);
        expect(told).toMatchObject([
          { kind: "request", exchange: 1, recorded: "[[write]] Write hullo", replayed: "[[write]] Write hello" },
        ]);
      },
    );
  }, 60_000);

  test("that differs in the middle and finds no more answers has failed", async () => {
    await planted(
      (file) => {
        // Another content, as long as the recorded one: the agent does as it is told, and the next request tells of it.
        edit(file(3, "response"), "hello\\\\n", "HELLO\\\\n");
        const journal = path.join(path.dirname(file(1, "response")), "exchanges.ndjson");
        const lines = readFileSync(journal, "utf8").split("\n");
        writeFileSync(journal, `${lines.filter((text) => !text.includes(`"${ids[4]}"`)).join("\n")}{"type":"op`);
      },
      async () => {
        const { id } = await line.client.runs.replay(recorded.id);
        const run = await line.client.runs.waitForEnd(id);
        expect(run).toMatchObject({
          status: "failed",
          error: { type: "replay-diverged", message: expect.stringContaining("asks once more than was recorded (exchange 5)") as string },
          replay: { exchanges: 4, sameResult: false, divergence: { kind: "request", exchange: 4 } },
        });
        expect(run.replay?.divergence?.path).toMatch(/^messages\[\d\]/);
        const told = (await readLog(line.client, id)).filter((event) => event.type === "replay.diverged");
        expect(told).toHaveLength(1);
      },
    );
  }, 60_000);

  fullTest(
    "goes by what people decided then",
    async () => {
      expect(decided).toMatchObject({ status: "completed", turn: 1, attempt: 3, result: { filesChanged: 1 } });
      const { id } = await line.client.runs.replay(decided.id);
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "completed",
        attempt: 3,
        replay: { exchanges: decided.usage.modelCalls, divergence: null, sameResult: true },
      });
      const log = await readLog(line.client, id);
      expect(log.flatMap(({ type, data }) => (type === "permission.resolved" ? [[data.decision, data.by, data.rule]] : []))).toEqual([
        ["deny", "policy", "recording"],
        ["allow", "policy", "recording"],
      ]);
      expect(log.flatMap(({ type, data }) => (type === "question.answered" ? [[data.answer, data.by]] : []))).toEqual([["Blue", "policy"]]);
      expect((await line.client.runs.plan(id)).data.map(({ state, text, decidedBy }) => [state, text, decidedBy?.by])).toEqual([
        ["revised", "Write one.", "policy"],
        ["edited", "Write two.", "policy"],
        ["approved", "Write three.", "policy"],
      ]);
    },
    60_000,
  );

  test("is refused where nothing is recorded, or the run has not ended", async () => {
    const { client } = line;
    const unmodelled = await client.runs.create({ task: "x", repositoryUrl: repository });
    await expect(client.runs.replay(unmodelled.id)).rejects.toMatchObject({ status: 409, code: "nothing_recorded" });
    const { code, stderr } = await line.home.cli(["replay", unmodelled.id]);
    expect([code, stderr]).toEqual([3, expect.stringContaining("nothing to replay") as string]);
    expect((await client.runs.exchanges(unmodelled.id)).data).toEqual([]);
    const living = await client.runs.create({ task: "x", repositoryUrl: repository, agent: { command: ["sleep", "600"] } });
    await expect(client.runs.replay(living.id)).rejects.toMatchObject({ status: 409, code: "run_not_ended" });
    await client.runs.cancel(living.id);
    await client.runs.waitForEnd(living.id);
  }, 60_000);

  test("what was asked and answered can be read, without the key", async () => {
    const { client } = line;
    const { data } = exchangeListSchema.parse(await client.runs.exchanges(recorded.id));
    expect(data.map(({ number, status, ok, turn, attempt }) => [number, status, ok, turn, attempt])).toEqual([
      [1, 200, true, 1, 1],
      [2, 500, false, 1, 1],
      [3, 200, true, 1, 1],
      [4, 200, true, 1, 1],
      [5, 200, true, 1, 1],
    ]);
    const id = ids[1] ?? "";
    const refused = exchangeDetailSchema.parse(await client.runs.exchange(recorded.id, id));
    expect(refused).toMatchObject({
      headers: { "retry-after-ms": "1" },
      request: { state: "whole", json: { stream: true }, text: null, truncated: false },
      response: { state: "whole", json: { error: { message: "scripted failure 500" } } },
    });
    const streamed = await client.runs.exchange(recorded.id, ids[4] ?? "");
    expect(streamed.response).toMatchObject({ json: null, text: expect.stringContaining("data: [DONE]") as string });
    const raw = await client.runs.exchangeBytes(recorded.id, id, "request");
    expect(JSON.parse(Buffer.from(raw).toString())).toEqual(refused.request.json);

    const list = await line.home.cli(["exchanges", recorded.id]);
    expect(list.stdout.split("\n")[0]).toMatch(/^1 {2}1-[0-9a-f]+ {2}200 .*scripted-1 {2}\/v1\/chat\/completions {2}1,000 in, 42 out/);
    expect(list.stdout).toContain("scripted failure 500");
    expect((await line.home.cli(["exchanges", recorded.id, "2"])).stdout).toContain('"message": "scripted failure 500"');
    expect((await line.home.cli(["exchanges", recorded.id, id, "--raw", "request"])).stdout).toBe(Buffer.from(raw).toString());
    expect(await line.home.cli(["exchanges", recorded.id, "9"])).toMatchObject({ code: 3 });
    expect(await line.home.cli(["exchanges", recorded.id, "--raw", "request"])).toMatchObject({ code: 2 });
    for (const one of data)
      for (const side of ["request", "response"] as const)
        expect(Buffer.from(await client.runs.exchangeBytes(recorded.id, one.id, side)).toString()).not.toContain("sk-decoy");
  }, 60_000);

  test.skipIf(!full)(
    "fails where the recorded run failed, and tries again where that tried again",
    async () => {
      await line.restart();
      line.model.play({
        cut: [{ write: ["a.txt", "a\n"] }, { cut: "half an answer" }],
        retried: [{ write: ["a.txt", "a\n"], fail: 503, times: 4 }, { say: "Done." }],
      });
      const create = (task: string, settings: CreateRunRequest["settings"] = {}): Promise<Run> =>
        line.client.runs.create({ task, repositoryUrl: repository, settings });
      const created = [await create("[[cut]] x"), await create("[[retried]] x", { maxRetries: 2 })];
      const ended = await Promise.all(created.map(({ id }) => line.client.runs.waitForEnd(id)));
      expect(ended).toMatchObject([
        { status: "failed", error: { type: "network-error" } },
        { status: "completed", attempt: 2 },
      ]);
      await line.restart(NO_MODEL);
      line.model.play([]);
      const replays = await Promise.all(ended.map(async ({ id }) => line.client.runs.waitForEnd((await line.client.runs.replay(id)).id)));
      expect(replays).toMatchObject(
        ended.map(({ status, attempt, error, usage }) => ({
          status,
          attempt,
          error,
          usage: { modelCalls: usage.modelCalls, failedModelCalls: usage.failedModelCalls },
          replay: { exchanges: usage.modelCalls, divergence: null, sameResult: true },
        })),
      );
      expect(line.model.requests).toEqual([]);
    },
    300_000,
  );

  test.skipIf(!full)(
    "goes on where it was when server and gateway are killed in the middle",
    async () => {
      await line.restart();
      line.model.play([
        { write: ["one.txt", "one\n"] },
        { run: "echo begun; until test -e .git/go-on; do sleep 0.05; done; echo over" },
        { write: ["two.txt", "two\n"] },
        { say: "Done." },
      ]);
      const workspace = (id: string): string => path.join(line.home.root, "home", "runs", id, "1", "workspace");
      const begun = async (id: string): Promise<void> => {
        for await (const event of line.client.runs.events(id))
          if (event.type === "tool.updated" && JSON.stringify(event.data).includes("begun")) return;
      };
      const { id } = await line.client.runs.create({ task: "Wait", repositoryUrl: repository });
      await begun(id);
      writeFileSync(path.join(workspace(id), ".git", "go-on"), "");
      await line.client.runs.waitForEnd(id);

      const replay = await line.client.runs.replay(id);
      await begun(replay.id);
      const home = homeAt(path.join(line.home.root, "home"));
      await line.server.kill();
      process.kill((await controlClient(home.gatewayControlSocket).health()).pid, "SIGKILL");
      await line.restart(NO_MODEL);
      line.model.play([]);
      writeFileSync(path.join(workspace(replay.id), ".git", "go-on"), "");
      const run = await line.client.runs.waitForEnd(replay.id);
      expect(run).toMatchObject({ status: "completed", attempt: 1, replay: { exchanges: 4, divergence: null, sameResult: true } });
      expect(line.model.requests).toEqual([]);
    },
    120_000,
  );

  describe.each(REAL_AGENTS)("of a run of $name", ({ name, reason }) => {
    const askTool = ASK_TOOLS[name];
    test.skipIf(reason !== null)(
      `is identical${reason === null ? "" : ` (not tested: ${reason})`}`,
      async () => {
        await line.restart();
        line.model.play([
          { write: ["hello.txt", "hello\n"] },
          { run: "date; ls -l; cat hello.txt; git status; exit 3" },
          // It leaves this question behind, and goes on with the answer as another attempt.
          ...(askTool === undefined
            ? []
            : [{ calls: [{ name: askTool, input: { question: "Which colour?" } }] }, { say: "I have asked." }]),
          { write: ["colour.txt", "blue\n"] },
          { say: "Done." },
        ]);
        const { id } = await line.client.runs.create({
          task: "Write hello",
          repositoryUrl: repository,
          agent: { profile: name },
          model: "scripted-1",
        });
        if (askTool !== undefined) await line.client.runs.answerQuestion(id, (await line.waiting(id)).waitingFor[0]?.id ?? "", "Blue");
        const attempt = askTool === undefined ? 1 : 2;
        expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt, result: { filesChanged: 2 } });
        await line.restart(NO_MODEL);
        line.model.play([]);
        const replay = await line.client.runs.replay(id);
        const run = await line.client.runs.waitForEnd(replay.id);
        expect(run).toMatchObject({ status: "completed", attempt, replay: { divergence: null, sameResult: true } });
        expect(line.model.requests).toEqual([]);
      },
      300_000,
    );
  });
});
