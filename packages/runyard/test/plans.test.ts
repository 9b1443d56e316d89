// A run that makes a plan first: nothing is changed before somebody has decided, and what is decided counts.
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunyardApiError } from "@runyard/sdk";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest, isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const PLAN = "# Plan\n\n1. Write `one.txt`.";
const HAND_IN = { calls: [{ name: "propose_plan", input: { plan: PLAN } }] };

describe.skipIf(unavailable !== null)(unavailable === null ? "plans" : `plans cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  const repositoryOf = (): string =>
    makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "*.log\n" }, `plans-${(serial += 1)}`);

  async function create(input: Partial<CreateRunRequest> = {}): Promise<{ run: Run; repository: string }> {
    const repository = input.repositoryUrl ?? repositoryOf();
    const settings = { sandboxDriver: "bwrap", ...input.settings } as const;
    const run = await line.client.runs.create({ task: "Write one", repositoryUrl: repository, plan: true, ...input, settings });
    return { run, repository };
  }

  /** The run once it waits for a decision or has ended. */
  async function planned(id: string): Promise<Run> {
    for await (const event of line.client.runs.events(id)) if (event.type === "plan.proposed") break;
    for (;;) {
      const run = await line.client.runs.get(id);
      if (run.status === "awaiting_plan" || run.finishedAt !== null) return run;
      await sleep(20);
    }
  }

  const typesOf = (log: readonly RunEvent[]): string[] =>
    log.map((event) => event.type).filter((type) => !/^(message\.|tool\.|permission\.|usage\.)/.test(type));

  async function refusal(action: Promise<unknown>): Promise<string | undefined> {
    const error: unknown = await action.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return error instanceof RunyardApiError ? (error.code ?? error.message) : String(error);
  }

  test.each(isFull ? (["bwrap", "process"] as const) : (["bwrap"] as const))(
    "waits for a decision, and goes on in the same conversation and a clean workspace (%s)",
    async (driver) => {
      await line.serve([
        { write: ["one.txt", "too early\n"] },
        ...(driver === "bwrap" ? [{ run: "echo sneaked >sneaked.txt; cat sneaked.txt" }] : []),
        HAND_IN,
        { say: "The plan is handed in." },
        { run: "git status --porcelain; ls" },
        { write: ["one.txt", "one\n"] },
        { say: "It is written." },
      ]);
      const { run: created, repository } = await create({
        permissionPolicy: { ask: [] },
        settings: { sandboxDriver: driver },
      });
      expect(created).toMatchObject({ planFirst: true, plan: null, responseType: null });
      const waiting = await planned(created.id);
      expect(waiting).toMatchObject({
        status: "awaiting_plan",
        phase: "planning",
        responseType: "plan",
        result: null,
        planFirst: true,
        plan: { version: 1, state: "proposed", source: "tool", decidedAt: null, decidedBy: null, dueAt: null },
        progress: { percentage: null },
      });
      const { data: plans } = await line.client.runs.plan(created.id);
      expect(plans).toMatchObject([{ version: 1, text: PLAN, hash: waiting.plan?.hash }]);
      // Nothing of it is in the repository, no agent is alive, and its place is free.
      expect(gitIn(repository, "branch", "--list", "--all").trim()).toBe("* main");
      expect(gitIn(repository, "status", "--porcelain")).toBe("");
      expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });

      const approved = await line.client.runs.confirmPlan(created.id, { version: 1 });
      expect(approved).toMatchObject({
        status: expect.stringMatching(/pending|running/) as string,
        turn: 1,
        plan: { version: 1, state: "approved", hash: waiting.plan?.hash, decidedBy: { by: "person" } },
      });
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({ status: "completed", error: null, turn: 1, attempt: 2, responseType: "regular", planFirst: true });
      expect(gitIn(repository, "show", `runyard/${run.id}:one.txt`)).toBe("one");
      expect(run.result).toMatchObject({ filesChanged: 1 });

      const log = await readLog(line.client, run.id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, at) => at + 1));
      expect(typesOf(log)).toEqual([
        "run.created",
        "run.started",
        "turn.started",
        "run.phase",
        "sandbox.ready",
        "run.phase",
        "agent.started",
        "turn.ended",
        ...(driver === "bwrap" ? ["notice"] : []),
        "plan.proposed",
        "plan.approved",
        "run.phase",
        "sandbox.ready",
        "run.phase",
        "agent.started",
        "turn.ended",
        "run.phase",
        "result.regular",
        "run.completed",
      ]);
      const decisions = log.flatMap((event) => (event.type === "permission.resolved" ? [[event.data.decision, event.data.rule]] : []));
      expect(decisions[0]).toEqual(["deny", "plan phase"]);
      const notices = log.flatMap((event) => (event.type === "notice" ? [event.data] : []));
      if (driver === "bwrap")
        expect(notices).toMatchObject([{ code: "plan-wrote-files", message: expect.stringContaining("sneaked.txt") as string }]);
      // The same conversation: it was asked the task, then told that its plan is approved; and its workspace was clean.
      const asked = line.model.requests.at(-1)?.messages.filter((message) => message.role === "user") ?? [];
      expect(asked).toHaveLength(2);
      expect(asked[0]?.content).toContain("Write one\n\n---\n\nDo not carry this out yet");
      expect(asked[1]?.content).toContain(`Your plan is approved. Carry it out now`);
      expect(asked[1]?.content).toContain(PLAN);
      const outputs = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.output] : []));
      expect(outputs.at(-1)).toBe("README.md\n");
    },
    60_000,
  );

  test("a plan goes back with feedback, is edited, and is carried out as it was edited", async () => {
    await line.serve([HAND_IN, { say: "There." }, { say: "# Plan\n\nShorter." }, { write: ["two.txt", "two\n"] }, { say: "Done." }]);
    const { run: created, repository } = await create();
    await planned(created.id);
    const revised = await line.client.runs.revisePlan(created.id, { version: 1, feedback: "Make it shorter." });
    expect(revised).toMatchObject({ planFirst: true, plan: { version: 1, state: "revised", note: "Make it shorter." } });
    for await (const event of line.client.runs.events(created.id)) if (event.type === "plan.proposed" && event.data.version === 2) break;
    expect(await refusal(line.client.runs.confirmPlan(created.id, { version: 1 }))).toBe("stale_plan");
    const text = "# Plan\n\nWrite two.txt, and nothing else.";
    const edited = await line.client.runs.confirmPlan(created.id, { version: 2, text });
    expect(edited.plan).toMatchObject({ version: 3, state: "approved", source: "person" });
    const run = await line.client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({ status: "completed", attempt: 3, plan: { version: 3, hash: edited.plan?.hash } });
    expect(gitIn(repository, "show", `runyard/${run.id}:two.txt`)).toBe("two");
    expect(
      (await line.client.runs.plan(run.id)).data.map(({ version, state, source, note }) => ({ version, state, source, note })),
    ).toEqual([
      { version: 1, state: "revised", source: "tool", note: "Make it shorter." },
      { version: 2, state: "edited", source: "message", note: null },
      { version: 3, state: "approved", source: "person", note: null },
    ]);
    const asked = line.model.requests
      .at(-1)
      ?.messages.filter((message) => message.role === "user")
      .map((message) => String(message.content));
    expect(asked?.[1]).toContain("Make it shorter.");
    expect(asked?.[2]).toContain(text);
    expect(asked?.[2]).toContain("A person has changed your plan");
  }, 60_000);

  fullTest(
    "a rejected plan ends its run, and so does a cancelled wait; both can be continued",
    async () => {
      await line.serve([{ say: "A plan." }, { write: ["late.txt", "late\n"] }, { say: "Done." }]);
      const { run: created, repository } = await create();
      await planned(created.id);
      const rejected = await line.client.runs.rejectPlan(created.id, { reason: "Not now." });
      expect(rejected).toMatchObject({
        status: "cancelled",
        responseType: "plan",
        plan: { state: "rejected", note: "Not now." },
        error: null,
      });
      expect(rejected.finishedAt).not.toBeNull();
      expect(typesOf(await readLog(line.client, created.id)).slice(-2)).toEqual(["plan.rejected", "run.cancelled"]);
      expect(await refusal(line.client.runs.confirmPlan(created.id))).toBe("plan_not_open");
      expect(await refusal(line.client.runs.rejectPlan(created.id))).toBe("plan_not_open");

      await line.client.runs.continue(created.id, "Then write late.txt", { plan: false });
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({ status: "completed", turn: 2, planFirst: false, plan: null });
      expect(gitIn(repository, "show", `runyard/${run.id}:late.txt`)).toBe("late");

      const { run: other } = await create();
      await planned(other.id);
      const cancelled = await line.client.runs.cancel(other.id);
      expect(cancelled).toMatchObject({ status: "cancelled", plan: { state: "withdrawn", decidedBy: null } });
      expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
    },
    60_000,
  );

  fullTest(
    "a later turn plans in a copy of its workspace, and is carried out in the workspace itself",
    async () => {
      await line.serve([
        { run: "echo kept >ignored.log; echo one >one.txt; echo x >locked.log; chmod 000 locked.log" },
        { say: "The first turn." },
        { run: "cat ignored.log; rm -f ignored.log; echo gone >one.txt" },
        { say: "The plan: write two." },
        { run: "cat ignored.log one.txt" },
        { write: ["two.txt", "two\n"] },
        { say: "Done." },
      ]);
      const { run: created, repository } = await create({ plan: false });
      await line.client.runs.waitForEnd(created.id);
      await line.client.runs.continue(created.id, "Write two", { plan: true });
      const waiting = await planned(created.id);
      expect(waiting).toMatchObject({ status: "awaiting_plan", turn: 2, plan: { version: 1, turn: 2 } });
      await line.client.runs.confirmPlan(created.id);
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({ status: "completed", turn: 2, error: null });
      const log = await readLog(line.client, run.id);
      const outputs = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.output] : []));
      expect(outputs.slice(1)).toEqual(["kept\n", "kept\none\n"]);
      const notices = log.flatMap((event) => (event.type === "notice" ? [`${event.data.code}: ${event.data.message}`] : []));
      expect(notices).toEqual([
        expect.stringMatching(/^plan-copy-incomplete: .*locked\.log/) as string,
        expect.stringMatching(/^plan-wrote-files: .*: one\.txt\. /) as string,
      ]);
      expect(gitIn(repository, "show", `runyard/${run.id}:one.txt`)).toBe("one");
      expect(gitIn(repository, "show", `runyard/${run.id}:two.txt`)).toBe("two");
    },
    60_000,
  );

  fullTest(
    "what a turn that failed left in the workspace is not taken for the planning's",
    async () => {
      await line.serve({ first: [{ run: "echo left >left.txt" }, { fail: 400, message: "no" }], second: [{ say: "The plan." }] });
      const { run: created } = await create({ task: "[[first]] Write", plan: false });
      expect(await line.client.runs.waitForEnd(created.id)).toMatchObject({ status: "failed" });
      await line.client.runs.continue(created.id, "[[second]] Plan it", { plan: true });
      expect(await planned(created.id)).toMatchObject({ status: "awaiting_plan" });
      await line.client.runs.rejectPlan(created.id);
      const notices = (await readLog(line.client, created.id)).flatMap((event) =>
        event.type === "notice" && event.turn === 2 ? [event.data.code] : [],
      );
      expect(notices).toEqual([]);
    },
    60_000,
  );

  test("strictPlan ends a run whose agent wrote while it was to plan", async () => {
    await line.serve([{ run: "echo x >x.txt" }, { say: "A plan." }]);
    const { run: created, repository } = await create({ settings: { strictPlan: true } });
    const run = await line.client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({
      status: "failed",
      error: { type: "policy-violation", message: expect.stringContaining("x.txt") as string },
      plan: null,
    });
    expect(gitIn(repository, "branch", "--list", "--all").trim()).toBe("* main");
  }, 60_000);

  test.each([
    ["approve", "completed"],
    ["reject", "cancelled"],
  ] as const)(
    "a plan that nobody decides about in time: %s",
    async (onPlanTimeout, status) => {
      await line.serve([{ say: "A plan." }, { write: ["one.txt", "one\n"] }, { say: "Done." }]);
      const { run: created } = await create({ settings: { planTimeout: onPlanTimeout === "approve" ? 0 : 1_000, onPlanTimeout } });
      const run = await line.client.runs.waitForEnd(created.id);
      expect(run).toMatchObject({
        status,
        plan: { state: onPlanTimeout === "approve" ? "approved" : "rejected", decidedBy: { by: "policy" } },
      });
    },
    60_000,
  );

  test("a server that is killed while a plan is made goes on with the same agent; one that waits is there after a restart", async () => {
    await line.serve([{ run: "sleep 2" }, { say: "A plan." }, { write: ["one.txt", "one\n"] }, { say: "Done." }]);
    const { run: created } = await create();
    for await (const event of line.client.runs.events(created.id)) if (event.type === "tool.started") break;
    await line.restart();
    const waiting = await planned(created.id);
    expect(waiting).toMatchObject({ status: "awaiting_plan", attempt: 1 });
    await line.restart();
    expect(await line.client.runs.get(created.id)).toMatchObject({ status: "awaiting_plan", plan: waiting.plan });
    await line.client.runs.confirmPlan(created.id);
    const run = await line.client.runs.waitForEnd(created.id);
    expect(run).toMatchObject({ status: "completed", attempt: 2 });
    const agents = (await readLog(line.client, run.id)).filter((event) => event.type === "agent.started");
    expect(agents).toHaveLength(2);
    expect(existsSync(path.join(line.home.root, "home", "runs", run.id, "1", "workspace"))).toBe(true);
    expect(readdirSync(path.join(line.home.root, "home", "runs", run.id)).toSorted()).toEqual(["1", "2"]);
  }, 60_000);

  test("many decisions at once: one counts", async () => {
    await line.serve([{ say: "A plan." }, { write: ["one.txt", "one\n"] }, { say: "Done." }]);
    const { run: created } = await create();
    await planned(created.id);
    const { runs } = line.client;
    const codes = await Promise.all([
      refusal(runs.confirmPlan(created.id)),
      refusal(runs.confirmPlan(created.id, { text: "Other words." })),
      refusal(runs.rejectPlan(created.id)),
      refusal(runs.revisePlan(created.id, { feedback: "Again." })),
      refusal(runs.confirmPlan(created.id)),
    ]);
    expect(codes.filter((code) => code !== "plan_not_open")).toEqual(["undefined"]);
    const { data: plans } = await line.client.runs.plan(created.id);
    expect(plans.find((plan) => plan.version === 1)?.decidedBy).toMatchObject({ by: "person" });
    await line.client.runs.cancel(created.id).catch(() => undefined);
  }, 60_000);
});
