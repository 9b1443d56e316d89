// The command line where plans are made and decided about, and the settings that say when they are.
import { chmodSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Organization, Repository, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runAtTerminal, screenOf } from "../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { type CliResult, gitIn, makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const PLAN = "# Plan\n\n1. Write `one.txt`, which holds a line that is longer than a terminal of eighty columns is wide.\n2. Look at it.";
const handIn = (plan: string) => ({ calls: [{ name: "propose_plan", input: { plan } }] });

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(unavailable !== null || isShort)(
  isShort ? "whole runs (npm run test:full)" : unavailable === null ? "plans" : `plans cannot be tested: ${unavailable}`,
  () => {
    let database: TestDatabase;
    let home: TestHome;
    let server: TestServer;
    let model: ScriptedModel;
    let repository: string;

    beforeAll(async () => {
      database = await createTestDatabase();
      model = await startScriptedModel({
        work: [handIn(PLAN), { say: "There." }, { write: ["one.txt", "one\n"] }, { say: "It is written." }],
        twice: [handIn(PLAN), { say: "There." }, { say: "# Plan\n\nShorter." }, { write: ["two.txt", "two\n"] }, { say: "Done." }],
        never: [handIn("Delete everything."), { say: "There." }, { say: "Then I leave it." }],
      });
      const model1 = { OPENAI_API_KEY: "sk-decoy-provider-key", OPENAI_BASE_URL: model.url, RUNYARD_MODEL: "scripted-1" };
      home = makeTestHome({ DATABASE_URL: database.connectionString, ...model1 });
      server = await home.up();
      repository = makeRepository(home.root, { "a.txt": "a\n" });
    }, 120_000);
    afterAll(async () => {
      await home.close();
      await model.close();
      await database.drop();
    });

    const cli = (...words: string[]): Promise<CliResult> => home.cli(words, { cwd: repository });

    async function ok(...words: string[]): Promise<string> {
      const { code, stdout, stderr } = await cli(...words);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      return stdout;
    }

    /** The run once it waits for a decision about this version of its plan. */
    async function waits(id: string, version = 1): Promise<Run> {
      for (;;) {
        const run = await server.client.runs.get(id);
        if (run.status === "awaiting_plan" && run.plan?.version === version) return run;
        if (run.finishedAt !== null) throw new Error(`ended: ${JSON.stringify(run.error)}`);
        await sleep(20);
      }
    }

    /** A run that plans first, made without the command line. */
    const start = async (task: string): Promise<string> =>
      (await server.client.runs.create({ task, repositoryUrl: repository, plan: true })).id;

    async function newest(): Promise<Run> {
      for (;;) {
        const [run] = (await server.client.runs.list({ limit: 1 })).data;
        if (run !== undefined) return run;
        await sleep(20);
      }
    }

    test("models lists what each provider says of itself, and those that have a text in their name", async () => {
      expect(await ok("models")).toBe("MODEL            CONTEXT  INPUT  OUTPUT\nopenai/scripted        -      -       -\n");
      expect(JSON.parse(await ok("models", "SCRIPT", "--json"))).toMatchObject({
        data: [{ id: "openai/scripted", provider: "openai", inputUsdPerMillion: null }],
        providers: [{ name: "openai", models: 1, problem: null }],
      });
      const { code, stdout, stderr } = await cli("models", "nothing");
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: 'No model has "nothing" in its name.\n' });
    });

    test("a plan is shown where its run is watched, decided about elsewhere, and carried out", async () => {
      const watching = cli("run", "Write one [[work]]", "--plan");
      const { id, plan } = await waits((await newest()).id);
      const logs = cli("logs", id, "--follow");

      const [read, shown, status] = await Promise.all([cli("plan", id), ok("show", id), ok("status")]);
      expect(read).toEqual({
        code: 0,
        stdout: `${PLAN}\n`,
        stderr: expect.stringMatching(/^version 1, proposed at 20\S+, handed in by the agent · [0-9a-f]{12}\n$/) as string,
      });
      expect(shown).toMatch(/^ {2}plan {4}version 1, proposed at .* · [0-9a-f]{12}$/m);
      expect(shown).toMatch(/^awaiting_plan, planning$/m);
      expect(shown).toContain(`runyard confirm ${id}`);
      expect(status).toContain("0 running, 0 waiting for an answer, 0 queued, 1 with a plan to decide about; at most");

      // What was read and is given back unchanged is approved as it is.
      const confirmed = await home.cli(["confirm", id, "--file", "-"], { input: read.stdout });
      expect(confirmed).toMatchObject({ code: 0, stdout: "" });
      expect(confirmed.stderr).toMatch(
        new RegExp(`^Confirmed plan 1 of ${id} \\(${plan?.hash.slice(0, 12)}\\)\\. The run is (pending|running)\\.`),
      );
      const watched = await watching;
      expect(watched).toMatchObject({ code: 0, stdout: "" });
      const lines = watched.stderr.split("\n");
      expect(lines).toContain("▸ plan 1 (handed in by the agent)");
      for (const line of PLAN.split("\n")) expect(lines).toContain(line === "" ? "" : `  ${line}`);
      expect(watched.stderr).toContain(`    runyard confirm ${id}   (or: runyard revise ${id} "<feedback>", runyard reject ${id})\n`);
      expect(lines).toContain("  ✓ plan 1 approved by admin");
      expect(watched.stderr.indexOf("✓ plan 1")).toBeGreaterThan(watched.stderr.indexOf("runyard confirm"));
      expect(gitIn(repository, "show", `runyard/${id}:one.txt`)).toBe("one");

      const followed = await logs;
      expect(followed.stdout).toContain(`runyard confirm ${id}`);
      expect(followed.stdout).toContain("plan 1 approved (person, admin)");
      // What is read later offers no decision that is none any more.
      for (const later of await Promise.all([ok("logs", id, "--follow"), ok("events", id)])) {
        expect(later).toContain("2. Look at it.");
        expect(later).not.toContain("runyard confirm");
      }
    }, 120_000);

    test("a plan goes back, comes again, fits the terminal, and is confirmed in other words; what was not read is not", async () => {
      const editor = path.join(home.root, "editor.sh");
      writeFileSync(editor, '#!/bin/sh\n[ "$1" = --empty ] && { : >"$2"; exit 0; }\nprintf "Write two.txt.\\n" >"$1"\n');
      chmodSync(editor, 0o755);
      const kept = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("runyard-edit-"));
      const before = kept();
      const edit = async (line: string): Promise<string> => {
        const { code, output } = await runAtTerminal(["confirm", id, "--edit"], { env: { ...home.env, VISUAL: line }, columns: 80 });
        return `${code} ${screenOf(output, 1_000).join("\n")}`;
      };

      const id = await start("Write two [[twice]]");
      await waits(id);
      const typing = [{ at: /waits for a decision about its plan/, keys: "\u0003" }];
      const { output, code } = await runAtTerminal(["events", id], { env: home.env, columns: 80, typing });
      expect(code).toBe(130);
      const lines = screenOf(output, 80).map((line) => line.trimEnd());
      expect(lines).toContain("  1. Write `one.txt`, which holds a line that is longer than a terminal of");
      expect(lines).toContain("     eighty columns is wide.");
      expect(lines).toContain(`    runyard confirm ${id}   (or: runyard revise`);

      const revised = await home.cli(["revise", id, "-"], { input: "Make it shorter.\n" });
      expect(revised).toMatchObject({ code: 0, stderr: expect.stringMatching(/^Sent plan 1 of run_\w+ back\. The run is/) as string });
      await waits(id, 2);
      const refused: [string[], number, string][] = [
        [["confirm", id, "--version", "1"], 3, "The plan that waits is version 2, not 1"],
        [["reject", id, "--version", "9"], 2, "has no plan 9"],
        [["confirm", id, "--edit"], 2, "needs a terminal"],
        [["answer", id, "allow"], 3, "waits for a decision about its plan"],
      ];
      await Promise.all(
        refused.map(async ([words, exit, reason]) =>
          expect(await cli(...words)).toMatchObject({ code: exit, stdout: "", stderr: expect.stringContaining(reason) as string }),
        ),
      );
      expect(await edit(`'${editor}' --empty`)).toMatch(/^2 .*The plan is empty, so nothing was confirmed\./s);
      expect((await server.client.runs.get(id)).status).toBe("awaiting_plan");
      expect(await edit(`'${editor}'`)).toMatch(new RegExp(`^0 .*Confirmed plan 3 of ${id}, in your words, in place of plan 2`, "s"));
      expect(kept()).toEqual(before);

      const all = await cli("plan", id, "--all");
      expect(all.stdout).toBe(`${PLAN}\n\n# Plan\n\nShorter.\n\nWrite two.txt.\n`);
      expect(all.stderr).toMatch(
        /^version 1, revised by admin at .*\n {2}Make it shorter\.\nversion 2, edited by admin .*\nversion 3, approved by admin .*words/,
      );
      expect((await server.client.runs.waitForEnd(id)).status).toBe("completed");
    }, 120_000);

    test("a rejected plan ends what watches its run with code 3, and the run can be continued", async () => {
      const watching = cli("run", "Delete [[never]]", "--plan", "--json");
      let id = "";
      while (id === "") {
        id = (await server.client.runs.list({ status: "awaiting_plan" })).data[0]?.id ?? "";
        await sleep(20);
      }
      const rejected = await cli("reject", id, "--reason", "We keep it.", "--json");
      expect(JSON.parse(rejected.stdout) as Run).toMatchObject({ status: "cancelled", plan: { state: "rejected", note: "We keep it." } });
      const watched = await watching;
      expect(watched).toMatchObject({ code: 3, stderr: "" });
      expect(JSON.parse(watched.stdout) as Run).toMatchObject({ id, status: "cancelled", plan: { state: "rejected" } });

      const continued = await cli("continue", id, "Then leave it", "--no-plan", "--detach", "--json");
      expect(JSON.parse(continued.stdout) as Run).toMatchObject({ id, turn: 2, planFirst: false, plan: null });
      expect(await cli("confirm", id)).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("No plan of run") as string });
      await server.client.runs.waitForEnd(id);
    }, 120_000);

    test("what the repository and the organization say holds, and the model is told what plans must respect", async () => {
      expect(JSON.parse(await ok("organization", "--plan", "--json")) as Organization).toMatchObject({ id: "org_home", planFirst: true });
      const { id: asked, planFirst } = await server.client.runs.create({ task: "x [[work]]", repositoryUrl: repository });
      expect(planFirst).toBe(true);
      await server.client.runs.cancel(asked);
      expect(await ok("organization", "--no-plan")).toMatch(/^org_home {2}Home\n {2}plan {4}runs make none, unless/);

      const other = makeRepository(home.root, { "a.txt": "a\n" }, "other");
      const statement = "Every plan names its tests.";
      const made = await home.cli(["repositories", ".", "--plan", "--auto-confirm-plans", "--planning-statement-file", "-", "--json"], {
        cwd: other,
        input: `${statement}\n`,
      });
      const known = JSON.parse(made.stdout) as Repository;
      expect(known).toMatchObject({ repositoryUrl: other, plan: true, planningStatement: statement, autoConfirmPlans: true });
      const [list, inIt, unknown] = await Promise.all([
        ok("repositories"),
        ok("repositories", `${other}/a.txt`),
        cli("repositories", home.root),
      ]);
      expect(list).toMatch(new RegExp(`^${known.id} {2}plan, auto-confirm {2,}${other}$`, "m"));
      expect(inIt).toContain(`statement ${statement}`);
      expect(unknown).toMatchObject({ code: 3, stderr: expect.stringContaining("in no repository that is known yet") as string });

      const ran = await home.cli(["run", "Write one [[work]]", "--repo", other]);
      expect(ran).toMatchObject({ code: 0, stderr: expect.stringContaining("✓ plan 1 approved by the policy") as string });
      expect(ran.stderr).not.toContain("runyard confirm");
      const words = model.requests.flatMap((request) => request.messages.map((message) => JSON.stringify(message.content)));
      expect(words.some((text) => text.includes(`What plans must respect in this repository:\\n${statement}`))).toBe(true);

      expect(await ok("repositories", known.id, "--plan-default", "--no-auto-confirm-plans", "--planning-statement", "")).toMatch(
        /as the organization has it.*\n.*wait for a person\n.*no limit of its own\n.*none\n$/,
      );
    }, 120_000);
  },
);
