// An agent that waits too long for people is let go, and the run goes on with their answers.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

/** Asks once, and hears nothing else: neither that its turn is cancelled nor that its stdin is closed. */
const DEAF = `
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
setInterval(() => undefined, 1_000);
for await (const text of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(text);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") continue;
  const options = [{ optionId: "yes", name: "Yes", kind: "allow_once" }, { optionId: "no", name: "No", kind: "reject_once" }];
  send({ id: 99, method: "session/request_permission", params: { sessionId: "s", toolCall: { toolCallId: "t", title: "Do", kind: "execute" }, options } });
}
`;

/** The same, but that it ends its turn when it is told to; it does not leave. */
const LINGERS = DEAF.replace(
  'if (method !== "session/prompt") continue;',
  'if (method === "session/cancel") send({ id: asked, result: { stopReason: "cancelled" } });\n  if (method !== "session/prompt") continue;\n  asked = id;',
).replace("setInterval", "let asked;\nsetInterval");

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "release" : `release cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  async function create(input: Partial<CreateRunRequest> = {}): Promise<{ run: Run; repository: string }> {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, `release-${(serial += 1)}`);
    const settings = { sandboxDriver: "bwrap", agentWait: 1_000, ...input.settings } as const;
    return { repository, run: await line.client.runs.create({ task: "Do it", repositoryUrl: repository, ...input, settings }) };
  }

  /** The run once its agent was let go. */
  async function released(id: string): Promise<Run> {
    for await (const event of line.client.runs.events(id)) if (event.type === "notice" && event.data.code === "agent-released") break;
    return line.client.runs.get(id);
  }

  /** The log up to now, of a run that goes on. */
  async function logSoFar(id: string): Promise<RunEvent[]> {
    const { lastSeq } = await line.client.runs.get(id);
    const log: RunEvent[] = [];
    for await (const event of line.client.runs.events(id)) {
      log.push(event as RunEvent);
      if (event.seq >= lastSeq) break;
    }
    return log;
  }

  const asked = (): string[] =>
    (line.model.requests.at(-1)?.messages ?? []).filter((message) => message.role === "user").map((message) => String(message.content));

  test("a question: the place is free, and the answer is the next prompt, in the same workspace and conversation", async () => {
    await line.serve([
      { run: "echo kept >kept.txt" },
      { ask: "Which port?" },
      { run: "cat kept.txt" },
      { write: ["port.txt", "4600\n"] },
      { say: "Done." },
    ]);
    const { run: created, repository } = await create();
    const waiting = await released(created.id);
    expect(waiting).toMatchObject({ status: "awaiting_input", attempt: 1, waitingFor: [{ kind: "question", title: "Which port?" }] });
    expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
    const started = (await logSoFar(created.id)).flatMap((event) => (event.type === "agent.started" ? [event.data.pid] : []));
    expect(identifyProcess(started[0] ?? 0)).toBeNull();

    // It waits through a restart, and for as long as people take.
    await line.restart();
    expect(await line.client.runs.get(created.id)).toMatchObject({ status: "awaiting_input", waitingFor: waiting.waitingFor });
    await line.client.runs.answerQuestion(created.id, waiting.waitingFor[0]?.id ?? "", "Port 4600.");
    const run = await line.client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 2 });
    expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${run.id}`).split("\n")).toEqual([
      "README.md",
      "kept.txt",
      "port.txt",
    ]);
    expect(asked()).toHaveLength(2);
    expect(asked()[1]).toContain("You asked: Which port?\nThe answer: Port 4600.");
    const log = await readLog(line.client, run.id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, at) => at + 1));
    expect(log.filter((event) => event.type === "turn.started")).toHaveLength(1);
    expect(log.flatMap((event) => (event.type === "question.answered" ? [event.data] : []))).toEqual([
      expect.objectContaining({ answer: "Port 4600.", by: "person" }),
    ]);
  }, 60_000);

  test.skipIf(isShort)(
    "a permission: the agent is told, and is not asked about the same call again",
    async () => {
      await line.serve([{ run: "touch asked.txt" }, { run: "touch asked.txt" }, { run: "touch denied.txt" }, { say: "Done." }]);
      const { run: created, repository } = await create({ permissionPolicy: { ask: ["execute"] } });
      const waiting = await released(created.id);
      await line.client.runs.answerPermission(created.id, waiting.waitingFor[0]?.id ?? "", "allow");
      const second = await releasedAgain(created.id, waiting.waitingFor[0]?.id ?? "");
      expect(second.waitingFor).toMatchObject([{ title: "touch denied.txt" }]);
      await line.client.runs.answerPermission(created.id, second.waitingFor[0]?.id ?? "", "deny");
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({ status: "completed", attempt: 3 });
      expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${run.id}`).split("\n")).toEqual(["README.md", "asked.txt"]);
    },
    60_000,
  );

  /** The run once its agent was let go while it waits for something else than `before`. */
  async function releasedAgain(id: string, before: string): Promise<Run> {
    for (;;) {
      const run = await line.client.runs.get(id);
      const letGo = (await logSoFar(id)).filter((event) => event.type === "notice" && event.data.code === "agent-released");
      if (letGo.length === 2 && run.waitingFor.some((request) => request.id !== before)) return run;
      if (run.finishedAt !== null) throw new Error(`the run has ended: ${JSON.stringify(run.error)}`);
      await sleep(50);
    }
  }

  test.skipIf(isShort)(
    "a run that waits without an agent waits through `runyard down`, too; one whose agent waits with it ends",
    async () => {
      await line.serve([{ ask: "Which port?" }, { say: "Done." }]);
      const { run: created } = await create();
      const { run: other } = await create({ settings: { agentWait: 600_000 } });
      const waiting = await released(created.id);
      await line.waiting(other.id);
      expect(await line.home.cli(["down"])).toMatchObject({ code: 0, stderr: expect.stringContaining("ended 1 living run") as string });
      await line.serve([{ ask: "Which port?" }, { say: "Done." }]);
      expect(await line.client.runs.get(created.id)).toMatchObject({ status: "awaiting_input", waitingFor: waiting.waitingFor });
      expect(await line.client.runs.get(other.id)).toMatchObject({ status: "cancelled" });
      await line.client.runs.answerQuestion(created.id, waiting.waitingFor[0]?.id ?? "", "4600");
      expect(await line.client.runs.waitForEnd(created.id)).toMatchObject({ status: "completed", attempt: 2 });
    },
    60_000,
  );

  fullTest(
    "a run that waits without an agent is cancelled at once",
    async () => {
      await line.serve([{ ask: "Which port?" }, { say: "Done." }]);
      const { run: created } = await create();
      const waiting = await released(created.id);
      const cancelled = await line.client.runs.cancel(created.id);
      expect(cancelled).toMatchObject({ status: "cancelled", waitingFor: [] });
      await expect(line.client.runs.answerQuestion(created.id, waiting.waitingFor[0]?.id ?? "", "Late.")).rejects.toMatchObject({
        code: expect.stringMatching(/already_answered|run_ended/) as string,
      });
      expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
    },
    60_000,
  );

  // The agent is given ten seconds to leave.
  test.skipIf(isShort)(
    "who cancels or answers while an agent that does not listen is parted with, is heard",
    async () => {
      await line.serve([]);
      const deaf = async (): Promise<{ id: string; waitingFor: Run["waitingFor"] }> => {
        const repository = makeRepository(line.home.root, { "deaf.mjs": DEAF }, `deaf-${(serial += 1)}`);
        const { id } = await line.client.runs.create({
          task: "Ask",
          repositoryUrl: repository,
          agent: { command: ["node", "deaf.mjs"] },
          permissionPolicy: { ask: ["execute"] },
          settings: { sandboxDriver: "bwrap", agentWait: 1_000 },
        });
        const input = path.join(line.home.root, "home", "runs", id, "1", "steps", "agent", "in");
        while (!existsSync(input) || !readFileSync(input, "utf8").includes("session/cancel")) await sleep(50);
        return { id, waitingFor: (await line.client.runs.get(id)).waitingFor };
      };
      const [one, other] = await Promise.all([deaf(), deaf()]);
      expect(await line.client.runs.cancel(one.id)).toMatchObject({ status: "awaiting_input", cancelRequested: true });
      await line.client.runs.answerPermission(other.id, other.waitingFor[0]?.id ?? "", "allow");
      expect(await line.client.runs.waitForEnd(one.id)).toMatchObject({ status: "cancelled", attempt: 1 });
      // It is answered once more, and asks again in its next attempt, to nobody's surprise: its policy knows no rule for it.
      for (;;) {
        const run = await line.client.runs.get(other.id);
        expect(run.finishedAt).toBeNull();
        if (run.attempt === 2 && run.status === "awaiting_input") break;
        await sleep(50);
      }
      await line.client.runs.cancel(other.id);
      expect(await line.client.runs.waitForEnd(other.id)).toMatchObject({ status: "cancelled" });
      expect((await line.client.status()).runs).toMatchObject({ running: 0, waiting: 0, queued: 0 });
    },
    90_000,
  );

  // Five seconds until the agent is ended.
  test.skipIf(isShort)(
    "an answer that comes while an agent is parted with is kept when the server is killed just then",
    async () => {
      await line.serve([]);
      const repository = makeRepository(line.home.root, { "lingers.mjs": LINGERS }, `lingers-${(serial += 1)}`);
      const { id } = await line.client.runs.create({
        task: "Ask",
        repositoryUrl: repository,
        agent: { command: ["node", "lingers.mjs"] },
        permissionPolicy: { ask: ["execute"] },
        settings: { sandboxDriver: "bwrap", agentWait: 1_000 },
      });
      for await (const event of line.client.runs.events(id)) if (event.type === "turn.ended") break;
      const { waitingFor } = await line.client.runs.get(id);
      await line.client.runs.answerPermission(id, waitingFor[0]?.id ?? "", "allow");
      await line.restart();
      // It asks again in its next attempt.
      expect(await line.waiting(id, waitingFor[0]?.id)).toMatchObject({ status: "awaiting_input", attempt: 2, error: null });
      await line.client.runs.cancel(id);
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled" });
    },
    90_000,
  );

  test.skipIf(isShort)(
    "an agent that waits while it plans goes on planning",
    async () => {
      await line.serve([{ ask: "Which port?" }, { say: "The plan: port 4600." }, { write: ["port.txt", "4600\n"] }, { say: "Done." }]);
      const { run: created, repository } = await create({ plan: true });
      const waiting = await released(created.id);
      expect(waiting).toMatchObject({ status: "awaiting_input", planFirst: true });
      await line.client.runs.answerQuestion(created.id, waiting.waitingFor[0]?.id ?? "", "4600");
      for await (const event of line.client.runs.events(created.id)) if (event.type === "plan.proposed") break;
      await line.client.runs.confirmPlan(created.id);
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({ status: "completed", attempt: 3, plan: { version: 1, state: "approved" } });
      expect(gitIn(repository, "show", `runyard/${run.id}:port.txt`)).toBe("4600");
      expect(asked()[1]).toContain("The answer: 4600");
    },
    60_000,
  );
});
