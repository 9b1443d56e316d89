// What an agent left is checked before anything is published: on real parts, with commands that fail,
// hang, flood and eat memory, and with the server killed in the middle of one.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { probeLimits } from "../src/sandbox/probe-limits.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest, isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
/** Exits with 9 where the door to the gateway can be reached, with 0 where it cannot. */
const PROBE = `node -e 'require("net").connect(3128, "127.0.0.1").on("connect", () => process.exit(9)).on("error", () => process.exit(0))'`;
/** A command that lasts until the test makes this file. */
const UNTIL_TOLD = "until test -e .git/go-on; do sleep 0.05; done";
/** Seconds that nobody else sleeps: other tests of this machine may look at its processes, too. */
const NAP = 20_000_000 + process.pid;
const DONE: readonly ModelStep[] = [{ write: ["a.txt", "a\n"] }, { say: "Done." }, { say: "I cannot." }];

describe.skipIf(unavailable !== null)(unavailable === null ? "verifying" : `verifying cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  async function create(request: Partial<CreateRunRequest>): Promise<{ id: string; repository: string }> {
    serial += 1;
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, `repository-${serial}`);
    const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, ...request });
    return { id, repository };
  }

  async function ended(request: Partial<CreateRunRequest>): Promise<{ run: Run; log: RunEvent[]; repository: string }> {
    const { id, repository } = await create(request);
    const run = await line.client.runs.waitForEnd(id);
    return { run, log: await readLog(line.client, id), repository };
  }

  type Finished = Extract<RunEvent, { type: "verify.finished" }>["data"];
  const finishedIn = (log: readonly RunEvent[]): Finished[] =>
    log.flatMap((event) => (event.type === "verify.finished" ? [event.data] : []));
  const phasesIn = (log: readonly RunEvent[]): string[] => log.flatMap((event) => (event.type === "run.phase" ? [event.data.phase] : []));

  test("commands that succeed, in order, in a sandbox of their own", async () => {
    // The control: the agent reaches the gateway, and has a home with something in it.
    await line.serve([{ run: `touch ~/.planted /tmp/planted; ${PROBE}` }, ...DONE]);
    const { run, log, repository } = await ended({
      verify: [
        { run: "cat a.txt && git status --short", kind: "build" },
        { run: "echo out; echo err >&2; echo again; echo $HOME $CI; ls -A ~; test ! -e /tmp/planted && echo clean", kind: "test" },
        { run: PROBE, kind: "lint" },
        { run: "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; env", kind: "test" },
      ],
    });
    expect(run).toMatchObject({ status: "completed", result: { filesChanged: 1, summary: "Done." }, verifyRetries: 1 });
    expect(phasesIn(log)).toEqual(["preparing", "building", "verifying", "publishing"]);
    const exits = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.exitCode] : []));
    expect(exits).toEqual([9]);
    const [build, tested, probe, around] = finishedIn(log);
    expect(build).toMatchObject({
      kind: "build",
      round: 1,
      passed: true,
      exitCode: 0,
      cause: null,
      output: "a\n?? a.txt\n",
      truncated: false,
    });
    expect(tested?.output).toBe("out\nerr\nagain\n/home/agent true\nclean\n");
    expect(probe).toMatchObject({ passed: true, exitCode: 0 });
    // No process of the agent's, and no token.
    expect(around?.output).toContain("tr ");
    expect(around?.output).not.toMatch(/node |agent\.mjs|OPENAI|runyard-gateway/);
    expect(run.verifyResults.map((result) => result.kind)).toEqual(["build", "test", "lint", "test"]);
    expect(log.filter((event) => event.type === "verify.started")).toHaveLength(4);
    expect(gitIn(repository, "show", `runyard/${run.id}:a.txt`)).toBe("a");
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
  }, 60_000);

  test("a failure goes back to the agent in the same session, and what it then leaves is checked from the first command on", async () => {
    await line.serve([{ write: ["a.txt", "wrong\n"] }, { say: "Done." }, { write: ["a.txt", "right\n"] }, { say: "Corrected." }]);
    const { run, log, repository } = await ended({
      verify: [
        { run: "test -e a.txt", kind: "build" },
        { run: "cat a.txt; grep -q right a.txt", kind: "test" },
      ],
    });
    expect(run).toMatchObject({ status: "completed", attempt: 1, result: { summary: "Corrected." } });
    expect(finishedIn(log).map((one) => [one.round, one.command.slice(0, 4), one.passed, one.exitCode])).toEqual([
      [1, "test", true, 0],
      [1, "cat ", false, 1],
      [2, "test", true, 0],
      [2, "cat ", true, 0],
    ]);
    expect(phasesIn(log)).toEqual(["preparing", "building", "verifying", "building", "verifying", "publishing"]);
    // One agent, one session, two prompts; the second says what failed and how.
    expect(log.filter((event) => event.type === "agent.started")).toHaveLength(1);
    const prompts = log.flatMap((event) => (event.type === "message.user" ? [event.data.text] : []));
    expect(prompts).toHaveLength(2);
    expect(prompts[1]).toMatch(/grep -q right[\s\S]*exit code 1[\s\S]*wrong/);
    expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain("grep -q right");
    expect(gitIn(repository, "show", `runyard/${run.id}:a.txt`)).toBe("right");
    const shown = await line.home.cli(["show", run.id]);
    expect(shown.stdout).toMatch(/✗ +test.*grep -q right/);
    const events = await line.home.cli(["events", run.id]);
    expect(events.stdout).toMatch(/✓.*grep -q right/);
  }, 60_000);

  const kinds = [
    ["test", "test-failure"],
    ["build", "compilation-error"],
    ["lint", "compilation-error"],
  ] as const;
  test.each(isFull ? kinds : kinds.slice(0, 1))(
    "a %s that keeps failing ends the run as %s, without a branch",
    async (kind, type) => {
      await line.serve(DONE);
      const verify = [{ run: "echo the decoy reason; exit 7", kind }];
      const { run, log, repository } = await ended({ verify, verifyRetries: kind === "lint" ? 0 : 1 });
      expect(run).toMatchObject({ status: "failed", result: null, error: { type } });
      expect(run.error?.message).toMatch(/`echo the decoy reason; exit 7` ended with exit code 7\./);
      expect(run.error?.message).toMatch(/No branch was made/);
      expect(run.error?.message).toMatch(/the decoy reason$/);
      expect(finishedIn(log)).toHaveLength(kind === "lint" ? 1 : 2);
      expect(run.verifyResults.at(-1)).toMatchObject({ passed: false, exitCode: 7 });
      expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
      const workspace = /what the agent left is in (\S+)\. The end/.exec(run.error?.message ?? "")?.[1] ?? "";
      expect(readFileSync(path.join(workspace, "a.txt"), "utf8")).toBe("a\n");
      expect(log.at(-1)).toMatchObject({ type: "run.failed" });
    },
    60_000,
  );

  fullTest(
    "a command that does not exist, one that runs for ever, and one that floods",
    async () => {
      const cases = [
        ["no-such-program --x", undefined, { exitCode: 127, cause: null }, /a program was not found/],
        [`echo begun; sleep ${NAP} & sleep ${NAP}`, 3_000, { exitCode: null, cause: "timeout" }, /ran longer than it may/],
        ["exec yes flood", undefined, { exitCode: null, cause: "output-limit" }, /wrote more than it may/],
      ] as const;
      for (const [run, timeout, outcome, message] of cases) {
        const verify = [{ run, kind: "test" as const, ...(timeout === undefined ? {} : { timeout }) }];
        const got = await ended({ verify, verifyRetries: 0 });
        expect(got.run).toMatchObject({ status: "failed", error: { type: "test-failure" } });
        expect(got.run.error?.message).toMatch(message);
        expect(finishedIn(got.log)[0]).toMatchObject({ passed: false, ...outcome });
        expect(finishedIn(got.log)[0]?.output.length).toBeLessThanOrEqual(16 * 1024);
        if (timeout !== undefined) expect(finishedIn(got.log)[0]?.output).toBe("begun\n");
      }
      expect(sleepers()).toBe(0);
    },
    90_000,
  );

  test.skipIf(!probeLimits().memory)(
    "one that is killed for memory",
    async () => {
      const verify = [{ run: `node -e 'const kept = []; for (;;) kept.push(Buffer.alloc(64 << 20, 1))'`, kind: "test" as const }];
      const { run, log } = await ended({ verify, verifyRetries: 0 });
      expect(run).toMatchObject({ status: "failed", error: { type: "out-of-memory" } });
      expect(finishedIn(log)[0]).toMatchObject({ passed: false, cause: "out-of-memory" });
    },
    60_000,
  );

  test("a server that is killed in the middle of a command: the next one goes on with the same one", async () => {
    const { id, repository } = await create({ verify: [{ run: `echo begun; ${UNTIL_TOLD}; echo $$ ended`, kind: "test" }] });
    for await (const event of line.client.runs.events(id)) if (event.type === "verify.started") break;
    const out = path.join(line.home.root, "home", "runs", id, "1", "steps", "verify-1-0", "out");
    while (!existsSync(out) || readFileSync(out, "utf8") === "") await sleep(10);
    await line.restart();
    writeFileSync(path.join(line.home.root, "home", "runs", id, "1", "workspace", ".git", "go-on"), "");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", attempt: 1 });
    const log = await readLog(line.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    expect(log.filter((event) => event.type === "verify.started")).toHaveLength(1);
    expect(finishedIn(log).map((one) => one.output)).toEqual([expect.stringMatching(/^begun\n\d+ ended\n$/)]);
    expect(gitIn(repository, "show", `runyard/${id}:a.txt`)).toBe("a");
  }, 60_000);

  test("a cancel in the middle of a command ends it and the agent", async () => {
    const { id, repository } = await create({ verify: [{ run: `sleep ${NAP}`, kind: "test" }] });
    for await (const event of line.client.runs.events(id)) if (event.type === "verify.started") break;
    await line.client.runs.cancel(id);
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled" });
    expect(sleepers()).toBe(0);
    expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
  }, 60_000);

  fullTest(
    "a failure may be tried again from the start, where the run asked for that",
    async () => {
      const { run } = await ended({
        verify: [{ run: "exit 1", kind: "test" }],
        verifyRetries: 0,
        settings: { maxRetries: 1, retryableErrors: ["test-failure"] },
      });
      expect(run).toMatchObject({
        status: "failed",
        attempt: 2,
        error: { type: "test-failure" },
        failedAttempts: [{ error: { type: "test-failure" } }],
      });
    },
    60_000,
  );

  test.each([
    ["verify[0].kind", { verify: [{ run: "x", kind: "smoke" }] }],
    ["verify[0].run", { verify: [{ run: "  ", kind: "test" }] }],
    [
      "verify[1].timeout",
      {
        verify: [
          { run: "x", kind: "test" },
          { run: "x", kind: "test", timeout: 1 },
        ],
      },
    ],
    ["verifyRetries", { verifyRetries: 6 }],
    ["verify", { verify: Array.from({ length: 21 }, () => ({ run: "x", kind: "test" })) }],
  ])("a wrong %s is refused by its path", async (wrong, request) => {
    const response = await fetch(`${line.server.url}/v1/agent-runs`, {
      method: "POST",
      headers: { authorization: `Bearer ${line.server.token}`, "content-type": "application/json" },
      body: JSON.stringify({ task: "x", repositoryUrl: line.home.root, ...request }),
    });
    expect(response.status).toBe(422);
    expect(((await response.json()) as { errors: { path: string }[] }).errors.map((error) => error.path)).toEqual([wrong]);
  });
});

/** Processes of the host that were to sleep for ever. */
function sleepers(): number {
  return processesWith(`\0${NAP}\0`).length;
}
