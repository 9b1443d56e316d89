// Settings of how results are published, and results that wait for a person, over the real engine and a real PostgreSQL.
import type { NewEvent, Run, RunResult } from "@runyard/sdk/contract";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runHandle } from "../runner/run-handle.ts";
import { createWakes } from "../engine/wakes.ts";
import { holdId } from "../store/holds.ts";
import { claimRun, commitStep } from "../store/runs.ts";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(() => served?.close());

const COMMIT = "c".repeat(40);
const FILES = [{ path: "CODEOWNERS", pattern: "CODEOWNERS", policy: "approve" as const }];
const CARRY = { attempts: [1], head: null, published: null, sessionId: null, prompt: "x", lastWords: null };
const RESULT: RunResult = {
  summary: "Done.",
  headBranch: null,
  headCommit: COMMIT,
  baseCommit: "a".repeat(40),
  filesChanged: 1,
  insertions: 1,
  deletions: 0,
};

/** A run whose result waits. */
async function held(): Promise<{ id: string; approvalId: string }> {
  const { id } = await served.client.runs.create({ task: "Fix it", repositoryUrl: "/repository" });
  const row = await served.claim(id);
  const { db } = served.database;
  const handle = runHandle({ db, wakes: createWakes() }, row);
  await handle.happen({ type: "entered", phase: "publishing" });
  const approvalId = holdId(row, COMMIT);
  const title = "It touches a protected file: CODEOWNERS";
  await handle.hold({
    fact: { type: "held", hold: { approvalId, title, commit: COMMIT, files: FILES, count: 1 } },
    hold: { id: approvalId, request: { title, toolKind: null, files: FILES } },
    result: RESULT,
    carry: CARRY,
    state: {},
  });
  return { id, approvalId };
}

async function eventsOf(id: string): Promise<NewEvent[]> {
  return served.database.db.queryInOrganization("org_a", "select type, data from runyard.events where run_id = $1 order by seq", [id]);
}

const slots = async (): Promise<unknown> => (await served.client.status()).runs;

test("a result that waits is shown with its files, and approved it queues for the runner that has it, once", async () => {
  const { id, approvalId } = await held();
  const run = await served.client.runs.get(id);
  const waitingFor = [{ kind: "approval", id: approvalId, title: "It touches a protected file: CODEOWNERS", toolKind: null, files: FILES }];
  expect(run).toMatchObject({ status: "awaiting_input", phase: "publishing", waitingFor, result: RESULT });
  expect(await slots()).toMatchObject({ running: 0, queued: 0 });
  expect((await served.ask("POST", `/agent-runs/${id}/approve`, { token: "token-b" })).status).toBe(404);

  const decisions = await Promise.allSettled([1, 2, 3].map(() => served.client.runs.approve(id)));
  expect(decisions.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  expect(await slots()).toMatchObject({ running: 0, queued: 1 });
  await expect(served.client.runs.reject(id)).rejects.toThrow("org_a has approved it");
  expect((await eventsOf(id)).filter(({ type }) => type === "approval.granted")).toEqual([
    { type: "approval.granted", data: { approvalId, userId: "user_org_a", userName: "org_a" } },
  ]);
  // Nobody else has its commits; once the turn is over, anybody may take up the next one.
  const { db } = served.database;
  expect(await claimRun(db, { owner: "o", runnerId: "other", events: [] })).toBeUndefined();
  const again = await claimRun(db, { owner: "owner", runnerId: "runner", events: [] });
  expect(again).toMatchObject({ id, attempt: 2, begun: true });
  if (again === undefined) throw new Error("nothing was claimed");
  await commitStep(db, { run: again, change: { status: "completed", result: RESULT } });
  await served.client.runs.continue(id, "Go on");
  expect(await claimRun(db, { owner: "o", runnerId: "other", events: [] })).toMatchObject({ id, turn: 2 });
});

test("rejected it ends as failed, and keeps its change", async () => {
  const { id, approvalId } = await held();
  const run: Run = await served.client.runs.reject(id, { reason: "Not that" });
  const message = `It touches a protected file: CODEOWNERS. A person rejected that (Not that), so nothing was published; \`runyard diff ${id}\` shows the change.`;
  const error = { type: "policy-violation", message };
  expect(run).toMatchObject({ status: "failed", error, result: RESULT, waitingFor: [] });
  expect(run.finishedAt).not.toBeNull();
  expect((await eventsOf(id)).slice(-2)).toEqual([
    { type: "approval.rejected", data: { approvalId, reason: "Not that", userId: "user_org_a", userName: "org_a" } },
    { type: "run.failed", data: { error } },
  ]);
  expect(await served.client.runs.patch(id)).toContain(COMMIT);
  expect(await served.client.runs.reject(id)).toEqual(run);
  await expect(served.client.runs.approve(id)).rejects.toMatchObject({ code: "approval_not_open" });
});

test("an answer to an agent answers no such approval, and cancelling ends it", async () => {
  const { id, approvalId } = await held();
  expect((await served.ask("POST", `/agent-runs/${id}/permissions/${approvalId}`, { body: { decision: "allow" } })).status).toBe(404);
  expect(await served.client.runs.cancel(id)).toMatchObject({ status: "cancelled", waitingFor: [] });
  await expect(served.client.runs.approve(id)).rejects.toThrow("it ended before anybody decided");
});

test("settings are kept, replaced as a whole, and taken away", async () => {
  const { organization, repositories } = served.client;
  const commitAuthor = { name: "Acme Bot", email: "bot@acme.example" };
  const protectedPaths = [{ pattern: "deploy/**", policy: "refuse" as const }];
  const none = { commitAuthor: null, coAuthor: false, protectedPaths: [] };
  expect(await organization.get()).toMatchObject(none);
  expect(await organization.update({ commitAuthor, coAuthor: true, protectedPaths })).toMatchObject({
    commitAuthor,
    coAuthor: true,
    protectedPaths,
  });
  expect(await organization.update({ planFirst: false })).toMatchObject({ commitAuthor, coAuthor: true, protectedPaths });
  expect(await organization.update({ commitAuthor: null, coAuthor: false, protectedPaths: null })).toMatchObject(none);
  const { id } = await repositories.create("/bound");
  expect(await repositories.get(id)).toMatchObject({ ...none, coAuthor: null });
  expect(await repositories.update(id, { commitAuthor, coAuthor: false, protectedPaths })).toMatchObject({
    commitAuthor,
    coAuthor: false,
    protectedPaths,
  });
  expect(await repositories.update(id, { coAuthor: null, protectedPaths: [] })).toMatchObject({
    commitAuthor,
    coAuthor: null,
    protectedPaths: [],
  });
});

test.skipIf(spawnSync("ssh-keygen", ["-?"]).error !== undefined)(
  "a key that signs commits goes in, and only its public half comes out (needs ssh-keygen)",
  async () => {
    const { organization } = served.client;
    const dir = mkdtempSync(path.join(tmpdir(), "runyard-key-"));
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-C", "", "-f", path.join(dir, "key"), "-N", ""]);
    const [key, publicKey] = [readFileSync(path.join(dir, "key"), "utf8"), readFileSync(path.join(dir, "key.pub"), "utf8").trim()];
    rmSync(dir, { recursive: true });
    expect(await organization.get()).toMatchObject({ signingKey: null });
    const set = await organization.update({ signingKey: key });
    expect(set.signingKey).toEqual({ publicKey, fingerprint: expect.stringMatching(/^SHA256:[\w+/]{43}$/) as string, usable: true });
    expect(await organization.update({ planFirst: false })).toEqual(set);
    const stored = await served.database.db.queryInOrganization("org_a", "select o::text as row from runyard.organizations o", []);
    for (const line of key.split("\n").slice(1, -2)) expect(JSON.stringify([set, stored, served.log])).not.toContain(line);
    const bad = await served.ask("PATCH", "/organization", { body: { signingKey: "hunter2-canary" } });
    expect(bad).toMatchObject({
      status: 422,
      body: { errors: [{ path: "signingKey", message: "is no private key in the format of OpenSSH" }] },
    });
    expect(JSON.stringify(bad)).not.toContain("canary");
    expect((await served.ask("GET", "/organization", { token: "token-b" })).body["signingKey"]).toBeNull();
    expect(await organization.update({ signingKey: null })).toMatchObject({ signingKey: null });
  },
);

test.each([
  [{ commitAuthor: { name: "A", email: "a b@x" } }, "commitAuthor.email"],
  [{ commitAuthor: { name: "A\nEvil: x", email: "a@x" } }, "commitAuthor.name"],
  [{ commitAuthor: { name: "A <b@x>", email: "a@x" } }, "commitAuthor.name"],
  [{ commitAuthor: { name: " . ", email: "a@x" } }, "commitAuthor.name"],
  [{ commitAuthor: { name: "A" } }, "commitAuthor.email"],
  [{ coAuthor: "yes" }, "coAuthor"],
  [{ protectedPaths: [{ pattern: "/deploy/**", policy: "approve" }] }, "protectedPaths[0].pattern"],
  [{ protectedPaths: [{ pattern: "../x", policy: "approve" }] }, "protectedPaths[0].pattern"],
  [{ protectedPaths: [{ pattern: "", policy: "approve" }] }, "protectedPaths[0].pattern"],
  [{ protectedPaths: [{ pattern: "x", policy: "maybe" }] }, "protectedPaths[0].policy"],
  [{ protectedPaths: Array.from({ length: 201 }, (_, n) => ({ pattern: `${n}`, policy: "approve" })) }, "protectedPaths"],
])("%j is refused, and said where", async (body, at) => {
  for (const place of ["/organization", `/repositories/${(await served.client.repositories.create("/bad")).id}`]) {
    const answer = await served.ask("PATCH", place, { body });
    expect(answer).toMatchObject({ status: 422, body: { code: "invalid_request" } });
    expect(JSON.stringify(answer.body["errors"])).toContain(`"path":"${at}"`);
  }
});
