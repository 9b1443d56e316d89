import type { NewEvent, RunError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NO_USAGE } from "../core/usage.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { readEvents } from "./events.ts";
import { ensureAdministrator } from "./identities.ts";
import type { Carry, RunRow, RunSpec } from "./run-row.ts";
import { adoptRuns, answerRequest, cancelRun, claimRun, commitStep, findRun, insertRun, listRuns, readInputs, reloadRun } from "./runs.ts";
import { continueRun, type NextTurn } from "./turns.ts";

let test_: TestDatabase;
const ORG = "org_test";
const OTHER = "org_other";
let serial = 0;

const spec: RunSpec = {
  agent: { profile: "builtin", command: null },
  model: null,
  permissionPolicy: { ask: [], deny: [] },
  timeoutMs: 60_000,
  sandboxDriver: "process",
};
const CARRY: Carry = { attempts: [1], head: null, published: null, sessionId: "s\u0000", prompt: "Before", lastWords: null };
const said = (text: string): NewEvent => ({ type: "log", data: { text } });

beforeAll(async () => {
  test_ = await createTestDatabase();
  for (const orgId of [ORG, OTHER]) {
    await ensureAdministrator(test_.db, {
      orgId,
      orgName: orgId,
      userId: `user_${orgId}`,
      userName: "x",
      tokenId: `token_${orgId}`,
      tokenHash: Buffer.from(orgId),
      scopes: [],
    });
  }
});
afterAll(() => test_?.drop());

async function newRun(orgId = ORG): Promise<RunRow> {
  serial += 1;
  return insertRun(test_.db, {
    id: `run_${serial}`,
    orgId,
    userId: `user_${orgId}`,
    repositoryId: `repo_${orgId}_${serial}`,
    task: "A task",
    repositoryUrl: "/repository",
    branch: "main",
    baseCommit: "a".repeat(40),
    spec,
    simulated: false,
    usage: NO_USAGE,
    status: "pending",
    error: null,
    events: [said("created")],
  });
}

/** Claims until this very run is claimed; other queued runs of the organization are ended. */
async function claimed(owner = "owner-1", runnerId = "runner-1"): Promise<RunRow> {
  const run = await newRun();
  for (;;) {
    const row = await claimRun(test_.db, { owner, runnerId, events: [said("claimed")] });
    if (row === undefined) throw new Error("nothing could be claimed");
    if (row.id === run.id) return row;
    await commitStep(test_.db, { run: row, change: { status: "failed" } });
  }
}

async function logOf(runId: string, orgId = ORG): Promise<{ seqs: number[]; texts: string[] }> {
  const read = await readEvents(test_.db, { orgId, runId, after: 0, limit: 1000 });
  const parsed = (read?.events ?? []).map((event) => JSON.parse(event.json) as { seq: number; data: { text: string } });
  return { seqs: parsed.map((event) => event.seq), texts: parsed.map((event) => event.data.text) };
}

describe("the fenced write", () => {
  test("moves cursors, log, requests, lines and state in one commit", async () => {
    const run = await claimed();
    const after = await commitStep(test_.db, {
      run,
      outTo: 120,
      events: [said("one"), said("two")],
      requests: [{ id: "perm_1_60", kind: "permission", offset: 60 }],
      lines: ['{"é":1}\n', "x\n"],
      change: { state: { phase: "prompting" }, percentage: 50 },
    });
    expect(after).toMatchObject({
      status: "awaiting_input",
      open_requests: 1,
      out_cursor: 120,
      in_size: 11,
      last_seq: run.last_seq + 2,
      state: { phase: "prompting" },
      percentage: 50,
    });
    expect(await readInputs(test_.db, { run, from: 0 })).toEqual([
      { off: 0, line: '{"é":1}\n' },
      { off: 9, line: "x\n" },
    ]);
    expect((await logOf(run.id)).texts).toEqual(["created", "claimed", "one", "two"]);
  });

  test.each([
    ["another owner", { owner: "owner-2" }],
    ["another attempt", { attempt: 2 }],
    ["a cursor that moved", { out_cursor: 7 }],
    ["a usage cursor that moved", { usage_cursor: 7 }],
  ])("writes nothing for %s", async (_, stale) => {
    const run = await claimed();
    const before = await logOf(run.id);
    expect(await commitStep(test_.db, { run: { ...run, ...stale }, events: [said("stale")], lines: ["x\n"] })).toBeUndefined();
    expect(await logOf(run.id)).toEqual(before);
    expect(await readInputs(test_.db, { run, from: 0 })).toEqual([]);
    // The control: the same write with what the store holds goes through.
    expect(await commitStep(test_.db, { run, events: [said("fresh")] })).toBeDefined();
  });

  test("gives back the run as it is stored, with what people have changed meanwhile", async () => {
    const run = await claimed();
    await cancelRun(test_.db, { orgId: ORG, runId: run.id, reason: "enough", events: [] });
    const after = await commitStep(test_.db, {
      run,
      outTo: 5,
      usageTo: 3,
      events: [said("one")],
      requests: [{ id: "perm_1_4", kind: "permission", offset: 4 }],
      lines: ["x\n"],
      change: { state: { turn: { text: "\u0000" }, left: undefined }, phase: "building", percentage: 10, usage: NO_USAGE },
    });
    const { active_now_ms: _, ...stored } = { ...(await reloadRun(test_.db, run)) };
    expect(after).toEqual(stored);
    expect(after?.cancel_reason).toBe("enough");
    const ended =
      after && (await commitStep(test_.db, { run: after, change: { status: "failed", error: { type: "agent-error", message: "x" } } }));
    const { active_now_ms: __, ...storedEnd } = { ...(await reloadRun(test_.db, run)) };
    expect(ended).toEqual(storedEnd);
  });

  test("is for the run's organization, and changes nothing for whoever asks in another one's name", async () => {
    const run = await claimed();
    const alone = { ...test_.db, inOrganization: () => Promise.reject(new Error("more than one statement")) };
    expect(await commitStep(alone, { run: { ...run, org_id: OTHER }, events: [said("foreign")] })).toBeUndefined();
    expect((await logOf(run.id)).texts).toEqual(["created", "claimed"]);
    const orgs = await test_.db.inOrganization(OTHER, async ({ query }) => {
      const now = async (): Promise<unknown> => (await query("select runyard.current_org() as org"))[0]?.["org"];
      const db = { ...test_.db, query };
      const written = await commitStep(db, { run, events: [said("in between")] });
      const seen = [await now()];
      await commitStep(db, { run, outTo: 9, events: [] });
      await commitStep(db, { run, events: [said("fenced")] });
      return [written?.last_seq, ...seen, await now()];
    });
    expect(orgs).toEqual([run.last_seq + 1, OTHER, OTHER]);
    expect((await logOf(run.id)).texts).toEqual(["created", "claimed", "in between"]);
    await commitStep(test_.db, { run: { ...run, out_cursor: 9 }, change: { status: "failed" } });
  });

  test("writes nothing once the turn has ended", async () => {
    const run = await claimed();
    expect(await commitStep(test_.db, { run, change: { status: "completed" } })).toBeDefined();
    expect(await commitStep(test_.db, { run, events: [said("late")] })).toBeUndefined();
  });

  test("a takeover fences the owner before, whatever it was doing", async () => {
    const run = await claimed("owner-old", "runner-takeover");
    const [adopted] = await adoptRuns(test_.db, { owner: "owner-new", runnerId: "runner-takeover" });
    expect(adopted?.id).toBe(run.id);
    expect(await commitStep(test_.db, { run, events: [said("zombie")] })).toBeUndefined();
    expect(await commitStep(test_.db, { run: adopted ?? run, events: [said("heir")] })).toBeDefined();
  });

  test("keeps what PostgreSQL's jsonb would refuse", async () => {
    const run = await claimed();
    const text = "\u0000 \ud800 é 🙂";
    const after = await commitStep(test_.db, {
      run,
      events: [said(text)],
      requests: [{ id: "ask_1_5", kind: "question", offset: 5, title: text } as never],
      change: { state: { text } },
    });
    expect(after?.state).toEqual({ text });
    expect((await logOf(run.id)).texts.at(-1)).toBe(text);
    expect((await findRun(test_.db, ORG, run.id))?.open[0]?.request.title).toBe(text);
  });
});

describe("answers", () => {
  test("of two at once, the first counts and the agent hears one", async () => {
    const run = await claimed();
    await commitStep(test_.db, { run, requests: [{ id: "perm_1_0", kind: "permission", offset: 0 }] });
    const answer = (by: string) =>
      answerRequest(test_.db, {
        orgId: ORG,
        runId: run.id,
        requestId: "perm_1_0",
        answer: "allow",
        by,
        line: "answer\n",
        event: said(`by ${by}`),
      });
    const both = await Promise.all([answer("a"), answer("b")]);
    expect(both.filter((row) => row !== undefined)).toHaveLength(1);
    expect(await readInputs(test_.db, { run, from: 0 })).toHaveLength(1);
    expect((await findRun(test_.db, ORG, run.id))?.run).toMatchObject({ status: "running", open_requests: 0, in_size: 7 });
  });

  test("of another organization find nothing", async () => {
    const run = await claimed();
    await commitStep(test_.db, { run, requests: [{ id: "perm_1_0", kind: "permission", offset: 0 }] });
    expect(
      await answerRequest(test_.db, {
        orgId: OTHER,
        runId: run.id,
        requestId: "perm_1_0",
        answer: "allow",
        by: "x",
        line: "x\n",
        event: said("x"),
      }),
    ).toBeUndefined();
  });
});

describe("organizations", () => {
  test("see only their own runs, logs and lists", async () => {
    const run = await newRun(OTHER);
    expect(await findRun(test_.db, ORG, run.id)).toBeUndefined();
    expect(await readEvents(test_.db, { orgId: ORG, runId: run.id, after: 0, limit: 10 })).toBeUndefined();
    expect(await cancelRun(test_.db, { orgId: ORG, runId: run.id, reason: "no", events: [] })).toBeUndefined();
    expect((await listRuns(test_.db, { orgId: ORG, before: null, status: null, limit: 100 })).map((one) => one.run.id)).not.toContain(
      run.id,
    );
    expect((await findRun(test_.db, OTHER, run.id))?.run.id).toBe(run.id);
  });
});

describe("claiming", () => {
  test("never exceeds the limit of an organization, and claims every run once", async () => {
    const orgId = "org_limited";
    await ensureAdministrator(test_.db, {
      orgId,
      orgName: orgId,
      userId: `user_${orgId}`,
      userName: "x",
      tokenId: `token_${orgId}`,
      tokenHash: Buffer.from(orgId),
      scopes: [],
    });
    await test_.db.inOrganization(orgId, (tx) => tx.query("update runyard.org_slots set max_active = 3 where org_id = $1", [orgId]));
    const wanted = 40;
    await Promise.all(Array.from({ length: wanted }, () => newRun(orgId)));
    let active = 0;
    let most = 0;
    const seen: string[] = [];
    const worker = async (owner: string): Promise<void> => {
      while (seen.length < wanted) {
        const run = await claimRun(test_.db, { owner, runnerId: "runner-limit", events: [] });
        if (run === undefined) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        if (run.org_id === orgId) {
          seen.push(run.id);
          most = Math.max(most, ++active);
          // As many as may be at once are so for certain; after that they only hurry.
          do await new Promise((resolve) => setTimeout(resolve, 2));
          while (most < 3);
          active -= 1;
        }
        await commitStep(test_.db, { run, change: { status: "completed" } });
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, i) => worker(`owner-${i}`)));
    expect(new Set(seen).size).toBe(wanted);
    expect(most).toBe(3);
    const [slot] = await test_.db.queryInOrganization<{ active: number; queued: number }>(
      orgId,
      "select active, queued from runyard.org_slots",
    );
    expect(slot).toEqual({ active: 0, queued: 0 });
  });
});

describe("the next turn", () => {
  const next = (run: RunRow, error: RunError | null = null): NextTurn => ({
    run,
    prompt: "Go on",
    spec,
    carry: CARRY,
    plans: false,
    error,
    events: [said("continued")],
  });

  test("begins once, with events of its own where it is claimed, and goes on with usage and active time", async () => {
    const run = await claimed();
    expect(await continueRun(test_.db, next(run))).toBeUndefined();
    const usage = { ...NO_USAGE, modelCalls: 3 };
    const ended = await commitStep(test_.db, { run, outTo: 9, usageTo: 7, change: { status: "completed", usage, percentage: 50 } });
    expect(await continueRun(test_.db, next({ ...run, turn: 2 }))).toBeUndefined();
    const again = await continueRun(test_.db, next(run));
    expect(again).toMatchObject({ status: "pending", turn: 2, attempt: 1, usage, turn_active_ms: ended?.active_ms, percentage: null });
    expect(await continueRun(test_.db, next(run))).toBeUndefined();
    let taken: RunRow | undefined;
    while (taken?.id !== run.id) {
      if (taken !== undefined) await commitStep(test_.db, { run: taken, change: { status: "failed" } });
      taken = await claimRun(test_.db, { owner: "owner-1", runnerId: "runner-1", events: [said("first")], laterEvents: [said("later")] });
    }
    expect(taken).toMatchObject({ turn: 2, attempt: 2, out_cursor: 0, usage_cursor: 7, carry: CARRY });
    expect((await logOf(run.id)).texts).toEqual(["created", "claimed", "continued", "later"]);
    await commitStep(test_.db, { run: taken, change: { status: "completed" } });
  });

  test("that cannot begin has ended at once, and is not queued", async () => {
    const run = await newRun();
    await cancelRun(test_.db, { orgId: ORG, runId: run.id, reason: "x", events: [] });
    const queued = async () => test_.db.queryInOrganization<{ queued: number }>(ORG, "select queued from runyard.org_slots");
    const before = await queued();
    const error: RunError = { type: "no-model-configured", message: "no" };
    const failed = await continueRun(test_.db, next(run, error));
    expect(failed).toMatchObject({ status: "failed", turn: 2, error, finished_at: expect.any(String) as string });
    expect(await queued()).toEqual(before);
  });

  test("of another organization begins nowhere", async () => {
    const run = await newRun(OTHER);
    const cancelled = await cancelRun(test_.db, { orgId: OTHER, runId: run.id, reason: "x", events: [] });
    expect(await continueRun(test_.db, next({ ...run, org_id: ORG }))).toBeUndefined();
    expect(await continueRun(test_.db, next(cancelled ?? run))).toBeDefined();
  });
});
