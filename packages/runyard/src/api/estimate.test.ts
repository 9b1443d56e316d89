// What a run would cost, by the runs that there were, over the real engine and a real PostgreSQL.
import { RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NO_USAGE } from "../core/usage.ts";
import type { RunRow } from "../store/run-row.ts";
import { commitStep } from "../store/runs.ts";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve({
    costOf: async (model, calls) => (model === "house-model" ? null : calls.length * 1_000_000),
    inspectRepository: async (url, branch) => {
      if (url === "/nowhere") throw new RunyardError("repository_not_usable", "There is no repository there.");
      return { root: url, branch: branch ?? "main", commit: "a".repeat(40), notices: [] };
    },
  });
});
afterAll(() => served?.close());

const estimate = (more: object = {}) => served.client.runs.estimate({ task: "Fix it", repositoryUrl: "/repository", ...more });

async function ended(
  costNanoUsd: number | null,
  change: { status?: "completed" | "failed"; model?: string; repositoryUrl?: string } = {},
): Promise<RunRow> {
  const { status = "completed", ...asked } = change;
  const { id } = await served.client.runs.create({ task: "x", repositoryUrl: "/repository", ...asked });
  const run = await served.claim(id);
  const usage = { ...NO_USAGE, modelCalls: 1, costNanoUsd, unpricedCalls: costNanoUsd === null ? 1 : 0 };
  await commitStep(served.database.db, { run, change: { usage, status } });
  return run;
}

test("without runs of its kind it goes by a formula, at the model's prices, and creates nothing", async () => {
  expect(await estimate()).toEqual({
    cost: 0.02,
    executionTime: null,
    range: { low: 0.006666667, high: 0.06 },
    basis: "task",
    runs: 0,
    waitsFor: [],
  });
  expect(await estimate({ model: "house-model" })).toEqual({
    cost: null,
    executionTime: null,
    range: null,
    basis: "unknown",
    runs: 0,
    waitsFor: [],
  });
  expect((await served.client.runs.list()).data).toEqual([]);
});

test("three runs of the same agent and model on the same repository say more; others say nothing", async () => {
  for (const cost of [1, 2, 4]) await ended(cost * 1_000_000_000);
  await ended(90_000_000_000, { status: "failed" });
  await ended(90_000_000_000, { model: "another-model" });
  await ended(90_000_000_000, { repositoryUrl: "/another" });
  await ended(null);
  // A replay is paid to nobody.
  const replay = await ended(0);
  await served.database.db.inOrganization(replay.org_id, (tx) =>
    tx.query("update runyard.runs set replay = '{}' where id = $1", [replay.id]),
  );
  expect(await estimate()).toMatchObject({ cost: 2, range: { low: 1.5, high: 3 }, basis: "history", runs: 3 });
  expect((await estimate()).executionTime).toBeGreaterThanOrEqual(0);
  expect(await estimate({ agent: { command: ["./agent"] } })).toMatchObject({ basis: "task" });
});

test("it says what the run would wait for beside its turn", async () => {
  const gib = 1024 ** 3;
  const waitsFor = async (more: object = {}) => (await estimate({ model: "house-model", ...more })).waitsFor;
  expect(await waitsFor({ settings: { approvalAboveUsd: 5 } })).toEqual(["approval"]);
  await served.client.organization.update({ approvalAboveUsd: 5 });
  expect(await waitsFor()).toEqual(["approval"]);
  await served.client.organization.update({ approvalAboveUsd: null });
  // As a runner tells it that lives.
  const offers = JSON.stringify({ memoryBudgetBytes: 5 * gib });
  await served.database.db.query("select runyard.renew_runner('runner', 'owner', 60000, $1, true)", [offers]);
  expect(await waitsFor()).toEqual([]);
  expect(await waitsFor({ settings: { sandboxType: "high-memory" } })).toEqual(["memory"]);
  await served.claim(
    (await served.client.runs.create({ task: "x", repositoryUrl: "/repository", settings: { sandboxType: "high-cpu" } })).id,
  );
  expect(await waitsFor({ settings: { approvalAboveUsd: 0 } })).toEqual(["approval", "memory"]);
  const { id } = await served.client.runs.create({ task: "x", repositoryUrl: "/repository" });
  expect(await served.client.runs.get(id)).toMatchObject({ queueReason: "memory", queuePosition: 1 });
});

test("what could not be created is not estimated", async () => {
  await expect(estimate({ repositoryUrl: "/nowhere" })).rejects.toMatchObject({ code: "repository_not_usable" });
  await expect(estimate({ agent: { profile: "nobody" } })).rejects.toMatchObject({ code: "unknown_agent" });
  await expect(estimate({ task: "" })).rejects.toMatchObject({ code: "invalid_request" });
});
