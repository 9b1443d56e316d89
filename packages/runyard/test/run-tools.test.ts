// The tools that every agent gets, called for real by an agent that starts the server which it is given.
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { TOOL_AGENT, type ToolAgentStep } from "../src/testing/tool-agent.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "run tools" : `run tools cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  /** A run of the agent that does this, turn after turn. */
  async function create(script: readonly (readonly ToolAgentStep[])[], input: Partial<CreateRunRequest> = {}) {
    const files = { "agent.mjs": TOOL_AGENT, "script.json": JSON.stringify(script) };
    const repository = makeRepository(line.home.root, files, `tools-${(serial += 1)}`);
    const agent = { command: ["node", "agent.mjs"] };
    const settings = { sandboxDriver: "bwrap", ...input.settings } as const;
    const run = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, agent, ...input, settings });
    return { run, repository };
  }

  /** The run once it waits for people, or has ended. */
  async function waiting(id: string, type: "question.asked" | "plan.proposed"): Promise<Run> {
    for await (const event of line.client.runs.events(id)) if (event.type === type) break;
    return line.client.runs.get(id);
  }

  const outputs = (log: readonly RunEvent[]): (string | null)[] =>
    log.flatMap((event) => (event.type === "tool.finished" ? [event.data.output] : []));
  const notices = (log: readonly RunEvent[]): string[] =>
    log.flatMap((event) => (event.type === "notice" && event.data.code === "tool-call-ignored" ? [event.data.message] : []));
  const said = (log: readonly RunEvent[]): string[] =>
    log.flatMap((event) => (event.type === "message.completed" ? [event.data.text] : []));

  test("a plan is handed in, progress is told, and questions end the turn and are answered in the next prompt", async () => {
    const { run: created, repository } = await create(
      [
        [{ call: "submit_plan", with: { plan: "# Plan", steps: ["Write port.txt"] } }, { say: "I have handed it in." }],
        [
          { call: "submit_plan", with: { plan: "Another one" } },
          { call: "report_progress", with: { percentage: 40, message: "Half of it" } },
          { call: "report_progress", with: { percentage: 30, message: "A little less" } },
          { call: "ask_user", with: { question: "Which port?", options: ["4600", "4700"] } },
          { call: "ask_user", with: { question: "Which host?" } },
        ],
        [{ write: ["port.txt", "4600\n"] }, { say: "Done." }],
      ],
      // The agent stays for what verifies its work, unless it has asked.
      { plan: true, verify: [{ run: "test -f port.txt", kind: "test" }] },
    );
    await waiting(created.id, "plan.proposed");
    const { data: plans } = await line.client.runs.plan(created.id);
    expect(plans).toMatchObject([{ version: 1, source: "tool", text: "# Plan\n\n- Write port.txt" }]);
    await line.client.runs.confirmPlan(created.id);

    const asking = await waiting(created.id, "question.asked");
    expect(asking).toMatchObject({
      status: "awaiting_input",
      phase: "building",
      attempt: 2,
      progress: { percentage: 40 },
      waitingFor: [
        { kind: "question", title: "Which port?\n- 4600\n- 4700" },
        { kind: "question", title: "Which host?" },
      ],
    });
    expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
    const [port = "", host = ""] = asking.waitingFor.map((request) => request.id);
    const once = await line.client.runs.answerQuestion(created.id, host, "localhost");
    expect(once).toMatchObject({ status: "awaiting_input", waitingFor: [{ id: port }] });
    // Not one of those that it named.
    await line.client.runs.answerQuestion(created.id, port, "4601");
    const run = await line.client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 3, progress: { percentage: 40 } });
    expect(gitIn(repository, "show", `runyard/${run.id}:port.txt`)).toBe("4600");

    const log = await readLog(line.client, run.id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, at) => at + 1));
    const agents = log.flatMap((event) => (event.type === "agent.started" ? [event.data] : []));
    expect(agents.map((agent) => agent.sessionId)).toEqual(["s1", "s1", "s1"]);
    for (const { pid } of agents) expect(identifyProcess(pid ?? 0)).toBeNull();
    expect(outputs(log)).toEqual([
      "The plan was handed in. End your turn now; a person decides.",
      "No plan was asked for, so this one was not handed in. Go on with your work.",
      "It was told. Go on with your work.",
      "It was told. Go on with your work.",
      "Your question was passed on. End your turn now; the answer will be your next message.",
      "Your question was passed on. End your turn now; the answer will be your next message.",
    ]);
    expect(notices(log)).toEqual(["The agent handed in a plan, and was not asked for one. It was ignored."]);
    expect(log.flatMap((event) => (event.type === "progress.reported" ? [event.data] : []))).toEqual([
      { percentage: 40, message: "Half of it" },
      { percentage: 30, message: "A little less" },
    ]);
    const types = log.map((event) => event.type);
    expect(types.slice(types.indexOf("question.asked") - 1, types.indexOf("question.asked") + 4)).toEqual([
      "turn.ended",
      "question.asked",
      "question.asked",
      "question.answered",
      "question.answered",
    ]);
    expect(said(log)[0]).toMatch(/I have: submit_plan, ask_user, report_progress$/);
    expect(said(log).at(-2)).toContain(
      "Go on with your work where you were.\n\nYou asked: Which port?\n- 4600\n- 4700\nThe answer: 4601\n\nYou asked: Which host?\nThe answer: localhost\n",
    );
  }, 60_000);

  test("a question while planning comes before the plan; its run can be cancelled while it waits", async () => {
    const { run: created } = await create(
      [
        [
          { call: "submit_plan", with: { plan: "Too early" } },
          { call: "ask_user", with: { question: "Which port?" } },
        ],
        [{ call: "ask_user", with: { question: "Are you sure?" } }],
      ],
      { plan: true },
    );
    const asking = await waiting(created.id, "question.asked");
    expect(asking).toMatchObject({ status: "awaiting_input", phase: "planning", plan: null });
    await line.client.runs.answerQuestion(created.id, asking.waitingFor[0]?.id ?? "", "4600");
    const again = await line.waiting(created.id, asking.waitingFor[0]?.id);
    expect(again).toMatchObject({ phase: "planning", attempt: 2, waitingFor: [{ title: "Are you sure?" }] });
    expect(await line.client.runs.cancel(created.id)).toMatchObject({ status: "cancelled", waitingFor: [] });
    const log = await readLog(line.client, created.id);
    expect(said(log).at(-1)).toContain("The answer: 4600\n\nYou are still to make the plan");
    expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
  }, 60_000);

  test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "a server that is killed when an agent has asked asks in the place of the one before, once",
    async () => {
      const { run: created } = await create([[{ call: "ask_user", with: { question: "Which port?" } }], [{ say: "Done." }]]);
      for await (const event of line.client.runs.events(created.id)) if (event.type === "tool.finished") break;
      await line.restart();
      const asking = await waiting(created.id, "question.asked");
      expect(asking).toMatchObject({ status: "awaiting_input", attempt: 1, waitingFor: [{ title: "Which port?" }] });
      await line.restart();
      await line.client.runs.answerQuestion(created.id, asking.waitingFor[0]?.id ?? "", "4600");
      expect(await line.client.runs.waitForEnd(created.id)).toMatchObject({ status: "completed", attempt: 2 });
      const log = await readLog(line.client, created.id);
      expect(log.filter((event) => event.type === "question.asked")).toHaveLength(1);
    },
    60_000,
  );

  test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "a question is asked, too, when the agent that asked it is let go in the middle of its turn",
    async () => {
      const script: ToolAgentStep[] = [{ call: "ask_user", with: { question: "Which port?" } }, { permit: "make" }, { say: "Unheard." }];
      const { run: created } = await create([script, [{ say: "Done." }]], {
        permissionPolicy: { ask: ["execute"] },
        settings: { agentWait: 1_000 },
      });
      const asking = await waiting(created.id, "question.asked");
      expect(asking).toMatchObject({
        status: "awaiting_input",
        waitingFor: [{ kind: "question", title: "Which port?" }, { title: "make" }],
      });
      await line.client.runs.answerPermission(created.id, asking.waitingFor[1]?.id ?? "", "allow");
      await line.client.runs.answerQuestion(created.id, asking.waitingFor[0]?.id ?? "", "4600");
      expect(await line.client.runs.waitForEnd(created.id)).toMatchObject({ status: "completed", attempt: 2 });
      const log = await readLog(line.client, created.id);
      expect(said(log).at(-2)).toMatch(
        /has not been done yet\.\n\nYou asked: Which port\?\nThe answer: 4600\n\nYou asked for permission: make/,
      );
      expect(log.filter((event) => event.type === "notice").map((event) => event.data.code)).toEqual(["agent-released"]);
    },
    60_000,
  );

  test("calls that ask are allowed in front of every rule; what lies is bounded, ignored and told", async () => {
    const own = (title: string, rawInput: unknown, toolCallId: string): ToolAgentStep => ({
      report: { sessionUpdate: "tool_call", toolCallId, title, kind: "other", status: "completed", rawInput },
    });
    const { run: created } = await create(
      [
        [
          { call: "report_progress", with: { percentage: 10, message: "Begun" }, asks: true },
          own("mcp__other__submit_plan", { plan: "Of another server" }, "a"),
          own("runyard_submit_plan", { plan: 7 }, "b"),
          own("runyard_ask_user", { question: "x", command: "rm -r ." }, "c"),
          own("runyard_report_progress", { percentage: 4_000, message: "More than all" }, "d"),
          own("mcp__runyard__submit_plan", { plan: "x".repeat(10_000_000) }, "e"),
          { say: "Handed in." },
        ],
      ],
      { plan: true, permissionPolicy: { default: "ask", rules: [{ decision: "deny", kinds: ["other"] }] } },
    );
    const planned = await waiting(created.id, "plan.proposed");
    expect(planned).toMatchObject({ status: "awaiting_plan", plan: { source: "tool" }, progress: { percentage: null } });
    const { data: plans } = await line.client.runs.plan(created.id);
    expect(plans[0]?.text).toMatch(/^x{60000}x+\n\n\(The plan is longer than Runyard keeps; its end was cut off\.\)$/);
    await line.client.runs.cancel(created.id);
    const log = await readLog(line.client, created.id);
    expect(log.flatMap((event) => (event.type === "permission.resolved" ? [event.data] : []))).toMatchObject([
      { decision: "allow", by: "policy", rule: "run tools" },
    ]);
    expect(notices(log)).toEqual(
      ["submit_plan", "ask_user", "report_progress"].map(
        (tool) => `The agent called ${tool} and passed nothing that the tool takes. It was ignored.`,
      ),
    );
  }, 60_000);
});
