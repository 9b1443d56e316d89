// Runs that wait for a person because of what they may cost, over the real engine and a real PostgreSQL.
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QUEUED, transition } from "../core/run-machine.ts";
import { claimRun } from "../store/runs.ts";
import { serve, type Served } from "./testing/served.ts";

/** Dollars for twenty calls, whatever they are: what a run is estimated to cost. */
let price: number | null = 8;
let served: Served;
beforeAll(async () => {
  served = await serve({
    costOf: async () => (price === null ? null : price * 1_000_000_000),
    inspectRepository: async (url) => ({ root: url, branch: "main", commit: "a".repeat(40), notices: [] }),
  });
  await served.addToken("reader", { orgId: "org_a", scopes: ["agent:read", "agent:execute"] });
});
afterAll(() => served?.close());

const ESTIMATE = { cost: 8, executionTime: null, range: { low: 2.666666667, high: 24 }, basis: "task", runs: 0 };

const create = (more: Partial<CreateRunRequest> = {}): Promise<Run> =>
  served.client.runs.create({ task: "Fix it", repositoryUrl: "/repository", ...more });
const above = (approvalAboveUsd: number): Partial<CreateRunRequest> => ({ settings: { approvalAboveUsd } });

async function ask(path: string, options: { readonly token?: string; readonly body?: string } = {}): Promise<Response> {
  return fetch(`${served.door.url}/v1/agent-runs/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${options.token ?? "token-a"}`, "content-type": "application/json" },
    ...(options.body !== undefined && { body: options.body }),
  });
}

async function eventsOf(id: string): Promise<{ type: string; data: unknown }[]> {
  const { db } = served.database;
  return db.queryInOrganization("org_a", "select type, data from runyard.events where run_id = $1 order by seq", [id]);
}

test("a run above the limit waits, queued nowhere and claimed by nobody, until a person lets it begin", async () => {
  const run = await create(above(5));
  const waitingFor = [
    {
      kind: "approval",
      id: "approval_1",
      title: "It may cost about $8.00, and above $5.00 a person decides",
      toolKind: null,
      approval: { estimate: ESTIMATE, aboveUsd: 5 },
    },
  ];
  const waits = { status: "awaiting_input", phase: "queued", queuePosition: null, attempt: 0, startedAt: null, finishedAt: null };
  expect(run).toMatchObject({ ...waits, waitingFor, settings: { approvalAboveUsd: 5 } });
  expect(await served.client.runs.get(run.id)).toEqual(run);
  expect((await served.client.runs.list({ status: "awaiting_input" })).data).toEqual([run]);
  expect(await claimRun(served.database.db, { owner: "o", runnerId: "r", events: [] })).toBeUndefined();

  const approved = await served.client.runs.approve(run.id);
  expect(approved).toMatchObject({ status: "pending", queuePosition: 1, waitingFor: [], finishedAt: null });
  const told = { approvalId: "approval_1", userId: "user_org_a", userName: "org_a" };
  expect((await eventsOf(run.id)).slice(2)).toEqual([
    { type: "approval.requested", data: { approvalId: "approval_1", title: waitingFor[0]?.title, estimate: ESTIMATE, aboveUsd: 5 } },
    { type: "approval.granted", data: told },
  ]);
  // Once more changes nothing; the opposite is too late, and says who was faster.
  expect(await served.client.runs.approve(run.id)).toEqual(approved);
  await expect(served.client.runs.reject(run.id)).rejects.toMatchObject({ code: "approval_not_open", status: 409 });
  await expect(served.client.runs.reject(run.id)).rejects.toThrow("org_a has approved it");
  expect(await served.claim(run.id)).toMatchObject({ attempt: 1, status: "running" });
  expect(await served.client.runs.approve(run.id)).toMatchObject({ status: "running" });
});

test("a rejected run ends as cancelled, with the reason, and never counted in the queue", async () => {
  const run = await create(above(5));
  const rejected = await served.client.runs.reject(run.id, { reason: "Split it up" });
  expect(rejected).toMatchObject({ status: "cancelled", waitingFor: [], queuePosition: null, cancelRequested: false });
  expect(rejected.finishedAt).not.toBeNull();
  expect((await eventsOf(run.id)).slice(3)).toEqual([
    { type: "approval.rejected", data: { approvalId: "approval_1", reason: "Split it up", userId: "user_org_a", userName: "org_a" } },
    { type: "run.cancelled", data: { reason: "Split it up" } },
  ]);
  expect(await served.client.runs.reject(run.id)).toEqual(rejected);
  await expect(served.client.runs.approve(run.id)).rejects.toThrow("org_a has rejected it");
  const silent = await create(above(5));
  await ask(`${silent.id}/reject`);
  expect((await eventsOf(silent.id)).at(-1)).toEqual({
    type: "run.cancelled",
    data: { reason: "A person rejected what it may cost" },
  });
});

test("of two decisions at once one counts, and the queue has the run once", async () => {
  const run = await create(above(5));
  const decisions = [...Array.from({ length: 4 }, () => served.client.runs.approve(run.id)), served.client.runs.reject(run.id)];
  await Promise.allSettled(decisions);
  const types = (await eventsOf(run.id)).map(({ type }) => type).filter((type) => type.startsWith("approval."));
  expect(types).toHaveLength(2);
  const { runs } = await served.client.status();
  const pending = (await served.client.runs.list({ status: "pending" })).data;
  expect(runs.queued).toBe(pending.length);
});

test("cancelling ends a run that waits, and nothing lets it begin any more", async () => {
  const run = await create(above(5));
  expect(await served.client.runs.cancel(run.id)).toMatchObject({ status: "cancelled", waitingFor: [] });
  await expect(served.client.runs.approve(run.id)).rejects.toThrow("it ended before anybody decided");
});

test("the lowest limit counts, whoever set it, and a run cannot loosen it", async () => {
  const { organization, repositories, agents } = served.client;
  const { id } = await repositories.create("/bound");
  const limitOf = async (more: Partial<CreateRunRequest> = {}): Promise<[string, number | null]> => {
    const run = await create({ repositoryUrl: "/bound", ...more });
    return [run.status, run.settings.approvalAboveUsd];
  };
  expect(await limitOf()).toEqual(["pending", null]);
  expect(await organization.update({ approvalAboveUsd: 9 })).toMatchObject({ approvalAboveUsd: 9, dailyCapUsd: null });
  expect(await limitOf()).toEqual(["pending", 9]);
  expect(await repositories.update(id, { approvalAboveUsd: 7 })).toMatchObject({ approvalAboveUsd: 7, plan: null });
  expect(await limitOf()).toEqual(["awaiting_input", 7]);
  expect(await limitOf(above(50))).toEqual(["awaiting_input", 7]);
  expect(await create(above(50))).toMatchObject({ status: "pending", settings: { approvalAboveUsd: 9 } });
  await agents.create({ name: "dear", settings: { approvalAboveUsd: 6 } });
  expect(await limitOf({ agent: { name: "dear" } })).toEqual(["awaiting_input", 6]);
  expect(await limitOf({ agent: { name: "dear" }, ...above(8) })).toEqual(["awaiting_input", 6]);
  expect(await limitOf({ agent: { name: "dear" }, ...above(0) })).toEqual(["awaiting_input", 0]);
  await organization.update({ planFirst: false });
  await repositories.update(id, { plan: null });
  expect(await limitOf()).toEqual(["awaiting_input", 7]);
  expect(await repositories.update(id, { approvalAboveUsd: null })).toMatchObject({ approvalAboveUsd: null });
  expect(await organization.update({ approvalAboveUsd: null })).toMatchObject({ approvalAboveUsd: null });
  expect(await limitOf()).toEqual(["pending", null]);
});

test("what nobody can estimate waits at any limit, what costs nothing at none", async () => {
  try {
    price = null;
    const unknown = await create(above(1_000_000));
    expect(unknown).toMatchObject({
      status: "awaiting_input",
      waitingFor: [{ title: "Nobody knows what it costs, and above $1000000.00 a person decides", approval: { estimate: { cost: null } } }],
    });
    price = 0;
    expect(await create(above(0))).toMatchObject({ status: "pending" });
  } finally {
    price = 8;
  }
});

test("a create under the same key gives the run that waits, and asks nobody again", async () => {
  const idempotencyKey = "once";
  const run = await create({ ...above(5), idempotencyKey });
  expect(await create({ ...above(5), idempotencyKey })).toEqual(run);
});

test("a later turn is asked by the same rule, by what its prompt is estimated to take and the limits that hold by then", async () => {
  const first = await create();
  await served.complete(await served.claim(first.id));
  const { organization } = served.client;
  await organization.update({ approvalAboveUsd: 5 });
  const waits = await served.client.runs.continue(first.id, "Go on");
  await organization.update({ approvalAboveUsd: null });
  expect(waits).toMatchObject({ status: "awaiting_input", turn: 2, phase: "queued", waitingFor: [{ kind: "approval", id: "approval_2" }] });
  expect(await served.client.runs.approve(first.id)).toMatchObject({ status: "pending", turn: 2 });
  await served.complete(await served.claim(first.id));
  // It keeps the limit that it has had, and what was approved before was another turn.
  expect(await served.client.runs.continue(first.id, "Go on")).toMatchObject({ status: "awaiting_input", turn: 3 });
  expect(await served.client.runs.reject(first.id)).toMatchObject({ status: "cancelled", turn: 3 });
  expect(await served.client.runs.continue(first.id, "Go on")).toMatchObject({ status: "awaiting_input", turn: 4 });
  expect((await eventsOf(first.id)).filter(({ type }) => type === "approval.requested")).toHaveLength(3);
});

test("a write of the turn before that comes late does not reach a turn that waits", async () => {
  const run = await create();
  const late = await served.claim(run.id);
  await served.complete(late);
  await served.client.organization.update({ approvalAboveUsd: 5 });
  await served.client.runs.continue(run.id, "Go on");
  await served.client.organization.update({ approvalAboveUsd: null });
  const decided = transition(QUEUED, { type: "cancelled", reason: "late" });
  await expect(served.say(late, decided.ok ? decided.events : [])).rejects.toThrow("fenced");
});

test("the agent's questions are no approval, and an approval is no question", async () => {
  const run = await create(above(5));
  for (const path of ["permissions/approval_1", "questions/approval_1"])
    expect((await ask(`${run.id}/${path}`, { body: JSON.stringify({ decision: "allow", answer: "x" }) })).status).not.toBe(200);
  await expect(served.client.runs.answerQuestion(run.id, "ask_1_1", "yes")).rejects.toMatchObject({ code: "request_not_found" });
  expect(await served.client.runs.get(run.id)).toEqual(run);
  const plain = await create();
  await expect(served.client.runs.approve(plain.id)).rejects.toThrow("it asked for none");
});

test("deciding needs agent:write, the right organization and a reason that is one", async () => {
  const run = await create(above(5));
  for (const path of ["approve", "reject"]) {
    expect((await ask(`${run.id}/${path}`, { token: "reader" })).status).toBe(403);
    expect((await ask(`${run.id}/${path}`, { token: "token-b" })).status).toBe(404);
    expect((await ask(`${run.id}/${path}`, { token: "nobody" })).status).toBe(401);
    expect((await ask(`run_x/${path}`)).status).toBe(404);
  }
  for (const body of ['{"reason": ""}', '{"reason": "a\\u0000"}', '{"why": "x"}', '"x"'])
    expect((await ask(`${run.id}/reject`, { body })).status).toBe(422);
  expect((await ask(`${run.id}/reject`, { body: "{" })).status).toBe(400);
  for (const approvalAboveUsd of [-1, "5", 2_000_000, null])
    await expect(create({ settings: { approvalAboveUsd: approvalAboveUsd as number } })).rejects.toMatchObject({ code: "invalid_request" });
  expect(await served.client.runs.get(run.id)).toMatchObject({ status: "awaiting_input" });
});

test("simulated runs are never asked", async () => {
  const scripted = await serve({
    model: () => ({ connected: true, simulated: true, model: "scripted" }),
    costOf: async () => null,
    inspectRepository: async (url) => ({ root: url, branch: "main", commit: "a".repeat(40), notices: [] }),
  });
  try {
    const run = await scripted.client.runs.create({ task: "x", repositoryUrl: "/r", ...above(0) });
    expect(run).toMatchObject({ status: "pending", simulated: true });
  } finally {
    await scripted.close();
  }
});
