// All agents of a pull request, stopped and allowed again, over the real engine and a real PostgreSQL.
import { setTimeout as sleep } from "node:timers/promises";
import { checksSettingsSchema, type PullRequest } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ChecksEffect } from "../core/checks.ts";
import { awaitChecks, endChecks } from "../store/checks.ts";
import { notePullRequest } from "../store/pull-requests.ts";
import type { RunRow } from "../store/run-row.ts";
import { commitStep } from "../store/runs.ts";
import { serve, type Served } from "./testing/served.ts";

const REPOSITORY = "https://github.com/Acme/app.git";
describe.skipIf(!process.env["RUNYARD_TEST_FULL"])("stops, in the full tests", () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve();
    await served.addToken("reader", { orgId: "org_a", scopes: ["agent:read", "agent:execute"] });
    await served.client.credentials.set({ kind: "token", url: "https://github.com", token: "decoy of a token" });
  });
  afterAll(() => served?.close());

  const address = (number: number): string => `https://github.com/acme/app/pull/${number}`;
  const create = async (): Promise<string> => (await served.client.runs.create({ task: "Fix it", repositoryUrl: REPOSITORY })).id;
  const pullOf = (id: string, number: number): PullRequest => ({
    id: number,
    number,
    url: address(number),
    title: "Fix it",
    state: "open",
    merged: false,
    draft: false,
    headBranchName: `runyard/${id}`,
    baseBranchName: "main",
    createdAt: "2026-01-01T00:00:00.000Z",
  });
  const note = (id: string, number: number): Promise<void> =>
    served.database.db.inOrganization("org_a", (tx) => notePullRequest(tx, { id, orgId: "org_a" }, pullOf(id, number)));
  /** A run that has ended with this pull request. */
  async function ended(number: number): Promise<string> {
    const id = await create();
    const row = await served.claim(id);
    await note(id, number);
    await served.complete(row, { pullRequestUrl: address(number) });
    return id;
  }
  /** What a runner does with a run that is to be cancelled. */
  const end = (run: RunRow): Promise<unknown> => commitStep(served.database.db, { run, change: { status: "cancelled" } });
  async function waitsForChecks(row: RunRow): Promise<void> {
    const place = { apiUrl: "https://api.github.com", owner: "acme", name: "app", tokenUrl: "https://github.com/acme/app" };
    const result = { summary: "", headBranch: "b", headCommit: "c", baseCommit: "d", filesChanged: 1, insertions: 1, deletions: 0 };
    const checks = { ...checksSettingsSchema.parse({}), place };
    const effect: ChecksEffect = { checks, commit: "c", branch: "b", before: null, result, pullRequest: null };
    await awaitChecks(served.database.db, { run: row, events: [], effectId: `effect_${row.id}`, effect });
  }
  const logOf = async (id: string): Promise<string> => JSON.stringify((await served.ask("GET", `/agent-runs/${id}/logs`)).body);
  const WHO = { userId: "user_org_a", userName: "org_a" };

  test("every run of it is cancelled wherever it is, and says by whom; none goes on before it is allowed again", async () => {
    const { runs, pullRequests } = served.client;
    const [over, stranger, queued] = [await ended(1), await ended(2), await ended(1)];
    const inHand = await create();
    const held = await served.claim(inHand);
    await note(inHand, 1);
    const waiting = await create();
    const waits = await served.claim(waiting);
    await note(waiting, 1);
    await waitsForChecks(waits);
    await runs.continue(queued, "Go on");

    const stopped = await pullRequests.stop("https://github.com/ACME/app/pull/1/files?w=1");
    expect(stopped).toMatchObject({ url: address(1), stopped: WHO });
    expect(stopped.cancelled.toSorted()).toEqual([inHand, waiting, queued].toSorted());
    expect(await runs.get(inHand)).toMatchObject({
      status: "running",
      cancelRequested: true,
      pullRequestStop: { url: address(1), ...WHO },
    });
    for (const id of [waiting, queued]) expect(await runs.get(id)).toMatchObject({ status: "cancelled" });
    expect(await logOf(waiting)).toContain(`All agents of ${address(1)} were stopped by org_a`);
    expect(await runs.get(over)).toMatchObject({ status: "completed", cancelRequested: false, pullRequestStop: WHO });
    expect((await runs.list({ limit: 10 })).data.find(({ id }) => id === over)?.pullRequestStop).toMatchObject({ url: address(1) });
    expect(await runs.get(stranger)).toMatchObject({ status: "completed", pullRequestStop: null });
    // What its checks have told meanwhile leads to nothing.
    const late = { status: "pending", events: [], goesOn: null, result: null, error: null } as const;
    expect(await served.database.db.inOrganization("org_a", (tx) => endChecks(tx, waits, late))).toBeUndefined();

    await expect(runs.continue(over, "Go on")).rejects.toMatchObject({
      code: "pull_request_stopped",
      status: 409,
      message: expect.stringMatching(/org_a has stopped all agents of .*\/pull\/1 at .*`runyard pr allow .*--allow-pull-request/) as string,
    });
    await runs.continue(stranger, "Go on");
    // Once more, by whatever name: nothing is left to do, and it is still the first one's.
    expect(await pullRequests.stop(over)).toEqual({ ...stopped, cancelled: [] });

    expect(await pullRequests.allow(over)).toEqual({ url: address(1), stopped: null, cancelled: [] });
    expect(await pullRequests.allow(address(1))).toEqual({ url: address(1), stopped: null, cancelled: [] });
    expect(await runs.continue(waiting, "Go on")).toMatchObject({ status: "pending", turn: 2, pullRequestStop: null });
    await end(held);
  });

  test("who continues can allow it in the same breath, and only with a turn that begins", async () => {
    const { runs, pullRequests } = served.client;
    const id = await ended(10);
    const queued = await ended(10);
    await runs.continue(queued, "Go on");
    await pullRequests.stop(address(10));
    expect(await runs.get(queued)).toMatchObject({ status: "cancelled" });
    expect((await served.ask("POST", `/agent-runs/${id}/continue`, { body: { prompt: "x", allowPullRequest: false } })).body).toMatchObject(
      {
        code: "pull_request_stopped",
      },
    );
    expect(await runs.continue(id, "Go on", { allowPullRequest: true })).toMatchObject({ status: "pending", pullRequestStop: null });
    await pullRequests.stop(id);
    expect(await runs.get(id)).toMatchObject({ status: "cancelled", pullRequestStop: { url: address(10) } });
  });

  test("one that is stopped before its run says that it has it cancels that run", async () => {
    const id = await create();
    const row = await served.claim(id);
    expect(await served.client.pullRequests.stop(address(20))).toMatchObject({ url: address(20), cancelled: [] });
    await note(id, 20);
    expect(await served.client.runs.get(id)).toMatchObject({ cancelRequested: true, pullRequestStop: { url: address(20) } });
    await end(row);
  });

  test("one that is stopped while its run is about to say so waits for that", async () => {
    const id = await create();
    const row = await served.claim(id);
    const { stopping } = await served.database.db.inOrganization("org_a", async (tx) => {
      await notePullRequest(tx, { id, orgId: "org_a" }, pullOf(id, 21));
      const asked = served.client.pullRequests.stop(address(21));
      // It has every chance to come too early.
      await Promise.race([asked, sleep(200)]);
      return { stopping: asked };
    });
    expect((await stopping).cancelled).toEqual([id]);
    await end(row);
  });

  test("whatever comes at the same moment, no run is left that goes on", async () => {
    const { runs, pullRequests } = served.client;
    for (let round = 0; round < 10; round += 1) {
      const number = 100 + round;
      const [id, other] = [await ended(number), await create()];
      const row = await served.claim(other);
      const [first, second, continued] = await Promise.all([
        pullRequests.stop(address(number)),
        pullRequests.stop(address(number)),
        runs.continue(id, "Go on").catch((error: unknown) => error),
        note(other, number),
      ]);
      const run = await runs.get(id);
      if (continued instanceof Error) expect(continued).toMatchObject({ code: "pull_request_stopped" });
      else expect(run).toMatchObject({ status: "cancelled", turn: 2 });
      expect(await runs.get(other)).toMatchObject({ cancelRequested: true });
      await end(row);
      // Each was cancelled by one of them at most.
      const cancelled = [...first.cancelled, ...second.cancelled];
      expect(new Set(cancelled).size).toBe(cancelled.length);
    }
  });

  test("another organization has none of it, and who may not, may not", async () => {
    const id = await ended(30);
    await served.client.pullRequests.stop(id);
    for (const path of ["/pull-requests/stop", "/pull-requests/allow"]) {
      const ask = (pullRequest: unknown, token = "token-a") => served.ask("POST", path, { body: { pullRequest }, token });
      expect(await ask(address(30), "token-b")).toMatchObject({ status: 404, body: { code: "pull_request_not_found" } });
      expect(await ask(id, "token-b")).toMatchObject({ status: 404, body: { code: "run_not_found" } });
      expect((await ask(id, "reader")).status).toBe(403);
      expect(await ask("https://github.com/other/app/pull/1")).toMatchObject({ status: 404, body: { code: "pull_request_not_found" } });
      expect(await ask("https://github.com/acme/app")).toMatchObject({ status: 404, body: { code: "pull_request_not_found" } });
      expect(await ask(await create())).toMatchObject({ status: 409, body: { code: "no_pull_request" } });
      for (const bad of ["7", "", 7, "run_x"])
        expect(await ask(bad)).toMatchObject({ status: 422, body: { errors: [{ path: "pullRequest" }] } });
    }
    expect((await served.client.runs.get(id)).pullRequestStop).toMatchObject(WHO);
    const rows = await served.database.db.queryInOrganization("org_b", "select 1 from runyard.pull_request_stops", []);
    expect(rows).toEqual([]);
  });
});
