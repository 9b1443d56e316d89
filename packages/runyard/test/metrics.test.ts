// What a run uses of its machine, on the whole line: control groups and disk, runner, database, API and command line.
import type { MetricsSample } from "@runyard/sdk/contract";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { probeLimits } from "../src/sandbox/probe-limits.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
/** Control groups of every kind: they are what measures all but the disk. */
const hasGroups = Object.values(probeLimits()).every(Boolean);
const MIB = 1 << 20;

/** Holds memory and turns round and round, for a while of processor time. */
const burn = (mebibytes: number, cpuMs: number): string =>
  `node -e 'const held = Buffer.alloc(${mebibytes} * ${MIB}, 1); while (process.cpuUsage().user < ${cpuMs} * 1000) for (let n = 0; n < 1e6; n += 1) held[n] += 1;'`;

describe.skipIf(unavailable !== null)(unavailable === null ? "metrics" : `metrics cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  const repository = (name: string): string => makeRepository(line.home.root, { "README.md": "# x\n" }, name);
  test.skipIf(!full)(
    "agent and verifying commands are measured, each for itself, and shown with their peaks",
    async ({ skip }) => {
      const client = await line.serve([{ run: `${burn(80, 400)}; head -c ${3 * MIB} /dev/zero > big.bin` }, { say: "Done." }]);
      const { id } = await client.runs.create({
        task: "Do it",
        repositoryUrl: repository("burns"),
        verify: [{ run: burn(120, 200), kind: "test" }],
      });
      const run = await client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", result: { filesChanged: 1 } });
      const metrics = await client.runs.metrics(id);
      const { data, totals, peaks } = metrics;
      // What lies on the disk is measured everywhere.
      expect(peaks.diskBytes).toBeGreaterThanOrEqual(3 * MIB);
      const shown = await line.home.cli(["metrics", id, "--json"]);
      expect(JSON.parse(shown.stdout)).toEqual(metrics);
      if (!hasGroups) skip("this machine lets this user make no control groups");

      const last = (step: string): MetricsSample | undefined => data.findLast((sample) => sample.step === step);
      const [agent, verify] = [last("agent"), last("verify-1-0")];
      expect([agent, verify]).toMatchObject([
        { turn: 1, attempt: 1 },
        { turn: 1, attempt: 1, processes: 0, threads: 0 },
      ]);
      expect(agent?.cpuMs).toBeGreaterThanOrEqual(400);
      expect(agent?.memoryPeakBytes).toBeGreaterThanOrEqual(80 * MIB);
      expect(verify?.cpuMs).toBeGreaterThanOrEqual(200);
      expect(verify?.memoryPeakBytes).toBeGreaterThanOrEqual(120 * MIB);
      expect(totals.cpuMs).toBe((agent?.cpuMs ?? 0) + (verify?.cpuMs ?? 0));
      expect(peaks.memoryBytes).toBe(Math.max(...data.map((sample) => Math.max(sample.memoryBytes ?? 0, sample.memoryPeakBytes ?? 0))));
      // The agent was alive when its turn was over, with those that watch over it.
      expect(peaks.processes).toBeGreaterThanOrEqual(3);
      expect(peaks.threads).toBeGreaterThan(peaks.processes ?? 0);

      const table = await line.home.cli(["metrics", id]);
      expect(table).toMatchObject({ code: 0, stderr: "" });
      expect(table.stdout).toMatch(
        /^\d+\.\d s of processor time; at most \d+\.\d MB of memory, \d+ processes, \d+ threads, \d+\.\d MB of disk\n/,
      );
      expect(table.stdout).toMatch(/\n\S+Z +verify-1-0 +\d/);
      expect((await line.home.cli(["show", id])).stdout).toMatch(/machine +\d+\.\d s of processor time; at most/);
    },
    60_000,
  );

  test("a run that never had an agent has no samples, which is said", async () => {
    const client = await line.serve([{ say: "Done." }]);
    // There is no provider for it here, so that the run fails before anything is started.
    const run = await client.runs.create({ task: "Do it", repositoryUrl: repository("none"), agent: { profile: "claude" } });
    expect(run.status).toBe("failed");
    const nothing = { memoryBytes: null, processes: null, threads: null, diskBytes: null };
    expect(await client.runs.metrics(run.id)).toEqual({ runId: run.id, data: [], totals: { cpuMs: null }, peaks: nothing });
    const shown = await line.home.cli(["metrics", run.id]);
    expect(shown).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("Nothing of this run was measured (yet)") as unknown,
    });
    expect((await line.home.cli(["show", run.id])).stdout).not.toContain("machine");
  }, 60_000);

  test.skipIf(!full)(
    "a run is measured while it is at work",
    async ({ skip }) => {
      const client = await line.serve([{ run: "until test -e .git/go-on; do sleep 0.1; done" }, { say: "Done." }]);
      const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository("long") });
      let seen: MetricsSample[] = [];
      while (seen.length < 2 && (await client.runs.get(id)).finishedAt === null) {
        await sleep(500);
        seen = (await client.runs.metrics(id)).data;
      }
      const run = await client.runs.get(id);
      await client.runs.cancel(id);
      await client.runs.waitForEnd(id);
      if (!hasGroups) skip("this machine lets this user make no control groups");
      expect(run.status).toBe("running");
      const [first, second] = seen;
      expect(Date.parse(second?.at ?? "")).toBeGreaterThan(Date.parse(first?.at ?? ""));
      expect(second?.cpuMs).toBeGreaterThanOrEqual(first?.cpuMs ?? Number.NaN);
      // One more at the end, for a run that is cancelled, too.
      expect((await client.runs.metrics(id)).data.length).toBeGreaterThan(seen.length);
    },
    120_000,
  );
});
