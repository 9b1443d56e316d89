// The command line where plans are made and decided about, and the settings that say when they are.
import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Organization, Plan, PlanList, Repository, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runAtTerminal, screenOf } from "../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { type CliResult, gitIn, makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const PLAN = "# Plan\n\n1. Write `one.txt`, which holds a line that is longer than a terminal of eighty columns is wide.\n2. Look at it.";
const handIn = (plan: string) => ({ calls: [{ name: "propose_plan", input: { plan } }] });

describe.skipIf(unavailable !== null)(unavailable === null ? "plans" : `plans cannot be tested: ${unavailable}`, () => {
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
      plain: [{ say: "Nothing to do." }],
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

  const start = async (task: string, ...words: string[]): Promise<string> => (await ok("run", task, ...words, "--detach")).trim();

  async function newest(): Promise<Run> {
    for (;;) {
      const [run] = (await server.client.runs.list({ limit: 1 })).data;
      if (run !== undefined) return run;
      await sleep(20);
    }
  }

  test("a plan is shown where its run is watched, decided about elsewhere, and carried out", async () => {
    const watching = cli("run", "Write one [[work]]", "--plan");
    const { id, plan } = await waits((await newest()).id);
    const logs = cli("logs", id, "--follow");

    expect(await cli("plan", id)).toEqual({
      code: 0,
      stdout: `${PLAN}\n`,
      stderr: expect.stringMatching(/^version 1, proposed at 20\S+, handed in by the agent · [0-9a-f]{12}\n$/) as string,
    });
    expect(JSON.parse(await ok("plan", id, "--json")) as Plan).toMatchObject({ version: 1, text: PLAN, hash: plan?.hash });
    const shown = await ok("show", id);
    expect(shown).toMatch(/^ {2}plan {4}version 1, proposed at .* · [0-9a-f]{12}$/m);
    expect(shown).toMatch(/^awaiting_plan, planning$/m);
    expect(shown).toContain(`runyard confirm ${id}`);
    expect(await ok("runs", "--status", "awaiting_plan")).toContain(id);
    expect(await ok("status")).toContain("0 running, 0 waiting for an answer, 0 queued, 1 with a plan to decide about; at most");

    const confirmed = await cli("confirm", id);
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
    for (const words of [["logs"], ["events"], ["logs", "--follow"]] as const) {
      const later = await ok(...words, id);
      expect(later).toContain("2. Look at it.");
      expect(later).not.toContain("runyard confirm");
    }
    expect(await cli("confirm", id)).toMatchObject({ code: 3, stderr: expect.stringContaining("waits for a decision") as string });
  }, 120_000);

  test("a plan goes back, comes again, and is confirmed in other words; a version that was not read is not", async () => {
    const id = await start("Write two [[twice]]", "--plan");
    await waits(id);
    const revised = await home.cli(["revise", id, "-"], { input: "Make it shorter.\n" });
    expect(revised).toMatchObject({ code: 0, stderr: expect.stringMatching(/^Sent plan 1 of run_\w+ back\. The run is/) as string });
    await waits(id, 2);
    expect(await cli("confirm", id, "--version", "1")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("The plan that waits is version 2, not 1") as string,
    });
    expect(await cli("reject", id, "--version", "9")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("has no plan 9") as string,
    });
    expect(await cli("confirm", id, "--version", "0")).toMatchObject({ code: 2 });
    expect(await home.cli(["confirm", id, "--file", "-"], { input: "\n" })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("The plan is empty, so nothing was confirmed.") as string,
    });
    expect(await cli("confirm", id, "--file", "/no/such.md")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("does not exist") as string,
    });
    expect(await cli("confirm", id, "--edit")).toMatchObject({ code: 2, stderr: expect.stringContaining("needs a terminal") as string });
    expect((await server.client.runs.get(id)).status).toBe("awaiting_plan");

    const text = "# Plan\n\nWrite two.txt, and nothing else.";
    const confirmed = await home.cli(["confirm", id, "--version", "2", "--file", "-"], { input: `${text}\n` });
    expect(confirmed).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`plan 3 of ${id}, in your words, in place of plan 2 (`) as string,
    });
    expect((await server.client.runs.waitForEnd(id)).status).toBe("completed");

    const all = await cli("plan", id, "--all");
    expect(all.stdout).toBe(`${PLAN}\n\n# Plan\n\nShorter.\n\n${text}\n`);
    expect(all.stderr).toMatch(
      /^version 1, revised by admin at .*\n {2}Make it shorter\.\nversion 2, edited by admin .*\nversion 3, approved by admin .*words/,
    );
    expect((JSON.parse(await ok("plan", id, "--all", "--json")) as PlanList).data).toHaveLength(3);
    const events = await ok("events", id);
    expect(events).toContain("  plan 1 sent back by admin: Make it shorter.");
    expect(events).toContain("▸ plan 3 (in the words of admin, in place of plan 2)");
    expect(await ok("show", id)).toMatch(/^ {2}plan {4}version 3, approved by admin at .*, in a person's words · /m);
  }, 120_000);

  test("a rejected plan ends what watches its run with code 3, and the run can be continued without one", async () => {
    const watching = cli("run", "Delete [[never]]", "--plan", "--json", "--idempotency-key", "rejected");
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
    expect(await ok("events", id)).toContain("  ✗ plan 1 rejected by admin: We keep it.");

    const continued = await cli("continue", id, "Then leave it", "--no-plan");
    expect(continued).toMatchObject({ code: 0 });
    expect(continued.stderr).not.toContain("▸ plan");
    expect(await cli("confirm", id)).toMatchObject({ code: 3, stdout: "" });
    const none = await start("Nothing [[plain]]", "--no-plan");
    await server.client.runs.waitForEnd(none);
    expect(await cli("plan", none)).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("has made no plan") as string });
  }, 120_000);

  test("at a terminal a plan fits it, and is edited in the editor that is set", async () => {
    const editor = path.join(home.root, "editor.sh");
    writeFileSync(
      editor,
      '#!/bin/sh\n[ "$1" = --leave ] && exit 0\n[ "$1" = --empty ] && { : >"$2"; exit 0; }\nprintf "Write three.txt.\\n" >"$1"\n',
    );
    chmodSync(editor, 0o755);
    const id = await start("Write three [[work]]", "--plan");
    await waits(id);
    const columns = 80;
    const edit = async (line: string): Promise<string> => {
      const env = { ...home.env, VISUAL: line };
      const { code, output } = await runAtTerminal(["confirm", id, "--edit"], { env, columns });
      return `${code} ${screenOf(output, 1_000).join("\n")}`;
    };
    const kept = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("runyard-edit-"));
    const before = kept();
    expect(await edit(`'${editor}' --empty`)).toMatch(/^2 .*The plan is empty/s);
    expect(await edit("/no/such/editor --wait")).toMatch(/^2 .*The editor \/no\/such\/editor was not found/s);
    expect(await edit("")).toMatch(/^2 .*No editor is set/s);
    const typing = [{ at: /waits for a decision about its plan/, keys: "\u0003" }];
    const { output, code } = await runAtTerminal(["events", id], { env: home.env, columns, typing });
    expect(code).toBe(130);
    const lines = screenOf(output, columns).map((line) => line.trimEnd());
    expect(lines).toContain("  1. Write `one.txt`, which holds a line that is longer than a terminal of");
    expect(lines).toContain("     eighty columns is wide.");
    expect(lines).toContain(`    runyard confirm ${id}   (or: runyard revise`);

    expect(await edit(`'${editor}'`)).toMatch(new RegExp(`^0 .*Confirmed plan 2 of ${id}, in your words, in place of plan 1`, "s"));
    expect((await server.client.runs.plan(id)).data.at(-1)).toMatchObject({
      text: "Write three.txt.",
      source: "person",
      state: "approved",
    });
    await server.client.runs.waitForEnd(id);

    await ok("continue", id, "Once more [[work]]", "--plan", "--detach");
    await waits(id, 3);
    expect(await edit(`'${editor}' --leave`)).toMatch(new RegExp(`^0 .*Confirmed plan 3 of ${id} \\(`, "s"));
    expect(kept()).toEqual(before);
    await server.client.runs.waitForEnd(id);
  }, 120_000);

  test("what the repository and the organization say holds, and the model is told what plans must respect", async () => {
    expect(await ok("organization")).toMatch(/^org_home {2}Home\n {2}plan {4}runs make none, unless/);
    expect(JSON.parse(await ok("organization", "--plan", "--json")) as Organization).toMatchObject({ planFirst: true });
    const asked = await start("x [[work]]");
    expect((await server.client.runs.get(asked)).planFirst).toBe(true);
    await ok("cancel", asked);
    expect(await ok("organization", "--no-plan")).toContain("runs make none");

    const other = makeRepository(home.root, { "a.txt": "a\n" }, "other");
    expect(await home.cli(["repositories", "."], { cwd: other })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("in no repository that is known yet") as string,
    });
    expect(await cli("repositories", "--plan")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("belong to a repository") as string,
    });
    const statement = "Every plan names its tests.";
    const made = await home.cli(["repositories", ".", "--plan", "--auto-confirm-plans", "--planning-statement-file", "-", "--json"], {
      cwd: other,
      input: `${statement}\n`,
    });
    expect(JSON.parse(made.stdout) as Repository).toMatchObject({
      repositoryUrl: other,
      plan: true,
      planningStatement: statement,
      autoConfirmPlans: true,
    });
    const { id } = JSON.parse(made.stdout) as Repository;
    expect(await ok("repositories")).toMatch(new RegExp(`^${id} {2}plan, auto-confirm {2,}${other}$`, "m"));
    expect(await home.cli(["repositories", path.join(other, "a.txt")])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`statement ${statement}`) as string,
    });

    const ran = await home.cli(["run", "Write one [[work]]", "--repo", other]);
    expect(ran).toMatchObject({ code: 0, stderr: expect.stringContaining("✓ plan 1 approved by the policy") as string });
    const words = model.requests.flatMap((request) => request.messages.map((message) => JSON.stringify(message.content)));
    expect(words.some((text) => text.includes(`What plans must respect in this repository:\\n${statement}`))).toBe(true);

    expect(await ok("repositories", id, "--plan-default", "--no-auto-confirm-plans", "--planning-statement", "")).toMatch(
      /as the organization has it.*\n.*wait for a person\n.*none\n$/,
    );
    expect(await cli("repositories", id, "--plan", "--plan-default")).toMatchObject({ code: 2 });
    const unknown = `repo_${"0".repeat(26)}`;
    expect(await cli("repositories", unknown)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("`runyard repositories`") as string,
    });
    expect(existsSync(path.join(other, "one.txt"))).toBe(false);
  }, 120_000);
});
