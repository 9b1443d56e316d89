// Runs that wait for a person because of what they may cost, and agents with a daily cap, on the command line and the whole line.
import { setTimeout as sleep } from "node:timers/promises";
import type { Organization, Repository, Run, SavedAgent } from "@runyard/sdk/contract";
import { beforeAll, describe, expect, test } from "vitest";
import { runAtTerminal } from "../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { type CliResult, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const WHY = "Nobody knows what it costs, and above $5.00 a person decides";

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(unavailable !== null || isShort)(
  isShort ? "whole runs (npm run test:full)" : unavailable === null ? "approvals" : `approvals cannot be tested: ${unavailable}`,
  () => {
    const line = useLine();
    let repository: string;
    beforeAll(() => {
      repository = makeRepository(line.home.root, { "a.txt": "a\n" }, "approvals");
    });

    const cli = (...words: string[]): Promise<CliResult> => line.home.cli(words, { cwd: repository });
    async function ok(...words: string[]): Promise<string> {
      const { code, stdout, stderr } = await cli(...words);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      return stdout;
    }
    async function waiting(): Promise<Run> {
      for (;;) {
        const [run] = (await line.client.runs.list({ limit: 1, status: "awaiting_input" })).data;
        if (run !== undefined) return run;
        await sleep(20);
      }
    }

    test("a run that is watched says why it waits, asks no model, and goes on once somebody approves it elsewhere", async () => {
      await line.serve([{ say: "Done." }]);
      const watching = cli("run", "Anything", "--approval-above", "5");
      const { id } = await waiting();
      expect(line.model.requests).toEqual([]);
      const shown = await ok("show", id);
      expect(shown).toMatch(/^awaiting_input, queued$/m);
      expect(shown).toContain(`? approval: ${WHY}`);
      expect(shown).toContain(`runyard approve ${id}   (or: runyard reject ${id})`);
      for (const words of [
        ["answer", id, "allow"],
        ["confirm", id],
      ])
        expect(await cli(...words)).toMatchObject({ code: 3, stderr: expect.stringContaining(`runyard approve ${id}`) });
      expect(await cli("approve", id)).toMatchObject({
        code: 0,
        stdout: "",
        stderr: expect.stringMatching(`^Approved ${id}\\. The run is`),
      });
      const { code, stderr } = await watching;
      expect(code).toBe(0);
      expect(stderr).toContain(`? before it begins: ${WHY}`);
      expect(stderr).toMatch(/^ {2}✓ approved by \S+$/m);
      expect(line.model.requests).toHaveLength(1);
      const types = (await readLog(line.client, id)).map(({ type }) => type);
      expect(types.slice(0, 5)).toEqual(["run.created", "message.user", "approval.requested", "approval.granted", "run.started"]);
    }, 60_000);

    test("one that is rejected ends, and its watcher is told by the exit code", async () => {
      const watching = cli("run", "Anything", "--approval-above", "5");
      const { id } = await waiting();
      const rejected = await cli("reject", id, "--reason", "Too dear");
      expect(rejected).toEqual({ code: 0, stdout: "", stderr: `Rejected ${id}. The run is cancelled.\n` });
      const { code, stderr } = await watching;
      expect(code).toBe(3);
      expect(stderr).toMatch(/✗ rejected by \S+: Too dear/);
      expect(await cli("approve", id)).toMatchObject({ code: 3, stderr: expect.stringContaining("has rejected it") });
    }, 60_000);

    test("left alone it says how it is approved, and --json gives the document", async () => {
      const left = await cli("run", "Anything", "--approval-above", "5", "--detach");
      expect(left).toMatchObject({ code: 0, stderr: expect.stringContaining(`${WHY}. Decide with: runyard approve run_`) });
      expect(JSON.parse(await ok("reject", left.stdout.trim(), "--json"))).toMatchObject({ status: "cancelled" });
      expect(await cli("run", "x", "--approval-above", "-5")).toMatchObject({ code: 2 });
    }, 60_000);

    test.skipIf(!full)(
      "at a terminal it is asked there",
      async () => {
        await line.serve([{ say: "Done." }]);
        const at = /let it begin\? \[y\/N\] /;
        const typed = (keys: string) =>
          runAtTerminal(["run", "Anything", "--approval-above", "5"], {
            env: line.home.env,
            columns: 100,
            cwd: repository,
            typing: [{ at, keys }],
          });
        expect((await typed("y\r")).code).toBe(0);
        expect((await typed("\r")).code).toBe(3);
      },
      60_000,
    );

    test.skipIf(!full)(
      "limits of the organization and the repository are set, shown and taken away",
      async () => {
        expect(await ok("organization", "--approval-above", "5")).toContain("approve runs above $5.00 wait for a person");
        expect(JSON.parse(await ok("organization", "--json")) as Organization).toMatchObject({ approvalAboveUsd: 5 });
        expect(await ok("repositories", ".", "--approval-above", "0")).toContain("approve   runs above $0.00 wait for a person");
        expect(JSON.parse(await ok("repositories", ".", "--json")) as Repository).toMatchObject({ approvalAboveUsd: 0 });
        const run = JSON.parse(await ok("run", "Anything", "--detach", "--json")) as Run;
        expect(run).toMatchObject({ status: "awaiting_input", settings: { approvalAboveUsd: 0 } });
        await ok("cancel", run.id);
        expect(await ok("repositories", ".", "--no-approval-above")).toContain("no limit of its own");
        expect(await ok("organization", "--no-approval-above")).toContain("runs begin by themselves");
      },
      60_000,
    );

    test("an agent has a daily cap, which the gateway keeps its runs to", async () => {
      await line.serve([{ say: "Done." }]);
      expect(await ok("agents", "create", "thrifty", "--daily-cap", "5")).toContain("day     $0.00 of $5.00 spent today (UTC)");
      const failed = await cli("run", "Anything", "--agent", "thrifty", "--json");
      expect(failed.code).toBe(1);
      expect((JSON.parse(failed.stdout) as Run).error).toMatchObject({
        type: "budget-exceeded",
        message: expect.stringMatching(/^The run's share of the daily cap, \$5\.00, cannot be kept: nobody knows what the model/),
      });
      expect(JSON.parse(await ok("agents", "update", "thrifty", "--daily-cap", "2", "--json")) as SavedAgent).toMatchObject({
        dailyCapUsd: 2,
        spentTodayUsd: expect.any(Number),
      });
      expect(await ok("agents", "update", "thrifty", "--description", "x")).toContain("of $2.00 spent today");
      expect(JSON.parse(await ok("agents", "update", "thrifty", "--no-daily-cap", "--json"))).toMatchObject({ dailyCapUsd: null });
      expect(await cli("run", "Anything", "--agent", "thrifty", "--json")).toMatchObject({ code: 0 });
    }, 60_000);
  },
);
