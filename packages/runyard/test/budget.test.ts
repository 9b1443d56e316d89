// A run that comes to the end of its budget, on the whole line: the built-in agent, the gateway, the server killed in between.
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { RunyardApiError } from "@runyard/sdk";
import { expect, describe, test } from "vitest";
import type { Run } from "@runyard/sdk/contract";
import { openDatabase } from "../src/store/database.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { SCRIPTED_USAGE } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const TOKENS_OF_CALL = SCRIPTED_USAGE.inputTokens + SCRIPTED_USAGE.outputTokens;
const BUDGET = 22_000;

describe.skipIf(unavailable !== null)(unavailable === null ? "budgets" : `budgets cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  test("the run ends in the middle of its turn, with what it did kept and not published, and goes on with a bigger budget", async () => {
    const repository = makeRepository(line.home.root, { "a.txt": "a\n" }, `repository-${(serial += 1)}`);
    const steps = Array.from({ length: 28 }, (_, index) => ({ write: [`file-${index}.txt`, "x\n"] as const }));
    const client = await line.serve(steps);
    const { id } = await client.runs.create({ task: "Write many files", repositoryUrl: repository, budget: { tokens: BUDGET } });
    while ((await client.runs.get(id)).usage.modelCalls < 5) await sleep(20);
    await line.restart();

    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "failed", error: { type: "budget-exceeded" }, result: null, credential: "gateway" });
    expect(run.error?.message).toContain("The run's budget of 22,000 tokens is used up");
    expect(run.error?.message).toContain(`runyard continue ${id} "go on" --budget-tokens <number>.`);
    expect(run.budget).toMatchObject({ usd: null, tokens: BUDGET, spentUsd: 0, enforcement: "enforced" });
    expect(run.budget?.spentTokens).toBeLessThanOrEqual(BUDGET);
    // All that it could be used for was used.
    expect(run.budget?.spentTokens).toBeGreaterThan(BUDGET - 3 * TOKENS_OF_CALL);
    const workspace = /is in (\S+)\. With/.exec(run.error?.message ?? "")?.[1] ?? "";
    expect(existsSync(`${workspace}/file-0.txt`)).toBe(true);
    expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");

    const log = await readLog(line.client, id);
    expect(log.filter(({ type }) => type === "budget.warned")).toMatchObject([{ data: { tokens: BUDGET } }]);
    expect(log.filter(({ type }) => type === "budget.exceeded")).toHaveLength(1);
    const usage = await line.client.runs.usage(id);
    expect(usage.calls.filter(({ ok }) => ok).length).toBe(usage.total.modelCalls - usage.total.failedModelCalls);
    expect(usage.total).toMatchObject({ costUsd: null, unpricedCalls: usage.total.modelCalls });

    await line.client.runs.continue(id, "Go on", { budget: { tokens: 10 * BUDGET } });
    const ended = await line.client.runs.waitForEnd(id);
    expect(ended).toMatchObject({ status: "completed", budget: { tokens: 10 * BUDGET } });
    expect(ended.result?.filesChanged).toBe(28);
    expect(gitIn(repository, "branch", "--list", "runyard/*")).not.toBe("");
  }, 120_000);

  test("a call that a cancel breaks off counts with all that was set aside for it", async () => {
    const repository = makeRepository(line.home.root, { "a.txt": "a\n" }, `repository-${(serial += 1)}`);
    const client = await line.serve([{ say: "Late.", delayMs: 600_000 }]);
    const { id } = await client.runs.create({ task: "Wait", repositoryUrl: repository, budget: { tokens: 100_000 } });
    while (line.model.requests.length === 0) await sleep(20);
    await client.runs.cancel(id);
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "cancelled", usage: { modelCalls: 1, tokensUsed: null, unpricedCalls: 1 } });
    // Its bytes, and the longest answer that it might have had.
    expect(run.budget?.spentTokens).toBeGreaterThan(32_768);
  }, 60_000);

  test("dollars are counted by the prices that a provider was given, and bounded by them", async () => {
    // What the scripted model says of a call costs 1.21 thousandths of a dollar.
    const prices = { "scripted-1": { inputUsdPerMillion: 1, outputUsdPerMillion: 5 } };
    const file = `${line.home.env["RUNYARD_HOME"]}/providers.json`;
    writeFileSync(file, JSON.stringify([{ name: "openai", api: "openai", baseUrl: line.model.url, apiKey: "decoy", prices }]));
    await line.restart();
    rmSync(file);
    const repository = makeRepository(line.home.root, { "a.txt": "a\n" }, `repository-${(serial += 1)}`);
    const client = await line.serve(Array.from({ length: 28 }, (_, index) => ({ write: [`file-${index}.txt`, "x\n"] as const })));
    const { id } = await client.runs.create({ task: "Write many files", repositoryUrl: repository, budget: { usd: 0.03 } });
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "failed", error: { type: "budget-exceeded" }, budget: { usd: 0.03 } });
    expect(run.error?.message).toContain("The run's budget of $0.03 is used up: $0.02");
    expect(run.error?.message).toContain(`runyard continue ${id} "go on" --budget <dollars>.`);
    const spent = run.budget?.spentUsd ?? 1;
    expect(spent).toBeLessThanOrEqual(0.03);
    expect(spent).toBeGreaterThan(0.025);
    const report = await client.runs.usage(id);
    expect(report.calls[0]).toMatchObject({ provider: "openai", model: "scripted-1", costUsd: 0.00121, status: 200, ok: true });
    expect(run.usage).toMatchObject({ totalCost: report.total.costUsd, pricedCost: report.total.costUsd, unpricedCalls: 0 });
    expect(report.total.costUsd).toBe(spent);
    await line.restart();
  }, 120_000);

  test("under a daily cap a run has its share of it, and none where the day's is spent", async () => {
    const repository = makeRepository(line.home.root, { "a.txt": "a\n" }, `repository-${(serial += 1)}`);
    const client = await line.serve([{ say: "Done." }]);
    const { id: orgId, dailyCapUsd } = await client.organization.update({ dailyCapUsd: 5 });
    expect(dailyCapUsd).toBe(5);
    const create = async (): Promise<Run> => {
      const { id } = await client.runs.create({ task: "Anything", repositoryUrl: repository });
      return client.runs.waitForEnd(id);
    };
    expect(await create()).toMatchObject({
      status: "failed",
      error: {
        type: "budget-exceeded",
        message: expect.stringMatching(
          /^The run's share of the daily cap, \$4\.97, cannot be kept: nobody knows what the model scripted-1 costs .* When the cap has room again it goes on/,
        ),
      },
    });
    const db = openDatabase({ connectionString: line.home.env["DATABASE_URL"] ?? "", applicationName: "runyard-test" });
    await db.inOrganization(orgId, (tx) => tx.query("update runyard.spending set nano_usd = 5000000000 where org_id = $1", [orgId]));
    await db.close();
    const told = await create();
    expect(told).toMatchObject({ status: "failed", usage: { modelCalls: 0 }, error: { type: "budget-exceeded" } });
    expect(told.error?.message).toMatch(
      /^The organization has spent its daily cap of \$5\.00\. The next day begins at \d{4}-\d\d-\d\d 00:00 \(UTC\)/,
    );
    expect(await client.organization.update({ dailyCapUsd: null })).toMatchObject({ dailyCapUsd: null, spentTodayUsd: 5 });
    expect(await create()).toMatchObject({ status: "completed" });
  }, 60_000);

  test("a budget in dollars is refused at once where the model has no price", async () => {
    const repository = makeRepository(line.home.root, { "a.txt": "a\n" }, `repository-${(serial += 1)}`);
    const client = await line.serve([]);
    const asked = client.runs.create({ task: "Anything", repositoryUrl: repository, budget: { usd: 1 } });
    const error = await asked.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RunyardApiError);
    expect(error).toMatchObject({ code: "price_unknown", status: 422 });
    expect(String(error)).toContain("nobody knows what the model scripted-1 costs");
  });
});
