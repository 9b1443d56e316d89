// Whole runs with `--sandbox docker`, on a real engine that the test starts: the image has a shell and git, and no node.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Run } from "@runyard/sdk/contract";
import { runAtTerminal } from "../../src/cli/testing/terminal.ts";
import { askEngine } from "../../src/sandbox/docker-engine.ts";
import { processesWith } from "../../src/sandbox/testing/processes.ts";
import { type EngineKind, openTestEngine, type TestEngine, whyNoTestEngine } from "../../src/testing/container-engine.ts";
import { useLine } from "../../src/testing/line.ts";
import { publishedProgram } from "../../src/testing/published.ts";
import { gitIn, makeRepository, readLog } from "../../src/testing/server.ts";
import { PINNED_AGENTS, realAgents } from "../../src/testing/real-agents.ts";
import { TOOL_AGENT } from "../../src/testing/tool-agent.ts";

/** Seconds that nobody else sleeps: what is left of it is of this test. */
const NAP = 20_000_000 + process.pid;
const MEMORY_HOG = "head -c 4000000000 /dev/zero | tail -c 4000000000 | wc -c; exit 1";

const agents = await realAgents(["opencode", "codex"]);

/** What runs in containers keep, on an engine of that kind. */
export function testRuns(kind: EngineKind): void {
  const unavailable = whyNoTestEngine(kind);
  describe.skipIf(unavailable !== null)(
    unavailable === null ? `runs in containers of ${kind}` : `runs in containers of ${kind} cannot be tested: ${unavailable}`,
    () => {
      let engine: TestEngine;
      beforeAll(async () => {
        engine = await openTestEngine(kind);
        process.env["DOCKER_HOST"] = engine.host;
      });
      // Behind what `useLine` does in the end: its runs are ended by the engine.
      afterAll(() => engine?.close());
      const line = useLine({ env: () => ({ ...PINNED_AGENTS, DOCKER_HOST: engine.host, RUNYARD_DOCKER_IMAGE: engine.image }) });

      const settings = { sandboxDriver: "docker" } as const;
      const containers = async (): Promise<string[]> => {
        const { body } = await askEngine({ socketPath: engine.socketPath }, { method: "GET", path: "/containers/json?all=1" });
        return (body as { Names: string[] }[]).flatMap(({ Names }) => Names);
      };
      let count = 0;
      const repositoryOf = (files: Readonly<Record<string, string>> = { "README.md": "# x\n" }): string =>
        makeRepository(line.home.root, files, `repository-${(count += 1)}`);

      test("`run --sandbox docker` makes a branch, and what is shown tells of the container", async () => {
        const client = await line.serve([
          { say: "I will write it.", plan: { "Write it": "in_progress" } },
          { run: "id -u; cat /etc/passwd; echo $OF_IMAGE; command -v node; cat /proc/net/route | wc -l; touch /here" },
          { write: ["notes/hello.txt", "hello\n"] },
          { say: "All done." },
        ]);
        const repository = repositoryOf();
        const words = ["run", "Write hello", "--repo", repository, "--sandbox", "docker", "--image", engine.image, "--json"];
        const told = await line.home.cli([...words, "--verify", "grep -q hello notes/hello.txt"]);
        expect(told).toMatchObject({ code: 0 });
        const run = await client.runs.get((JSON.parse(told.stdout) as { id: string }).id);
        expect(run).toMatchObject({
          status: "completed",
          settings: { sandboxDriver: "docker", image: engine.image },
          sandbox: {
            driver: "docker",
            isolation: { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" },
            granted: { memoryBytes: 2 * 1024 ** 3, pids: 1024 },
          },
        });
        expect(gitIn(repository, "show", `${run.result?.headBranch}:notes/hello.txt`)).toBe("hello");
        const said = JSON.stringify(await readLog(client, run.id));
        expect(said).toContain("root:x:0:0:root:/root:/bin/sh");
        expect(said).toContain("Read-only file system");
        expect(await containers()).toEqual([]);
        const { data: samples } = await client.runs.metrics(run.id);
        expect(samples.some(({ memoryBytes }) => memoryBytes !== null)).toBe(true);
      });

      test("an image that is not there, none at all, and one for another driver", async () => {
        const client = await line.serve([{ say: "Done." }]);
        const repositoryUrl = repositoryOf();
        const { id } = await client.runs.create({
          task: "x",
          repositoryUrl,
          settings: { ...settings, image: "registry.invalid/team/none:3" },
        });
        expect(await client.runs.waitForEnd(id)).toMatchObject({
          status: "failed",
          error: { type: "sandbox-unavailable", message: expect.stringContaining(`\`${kind} pull registry.invalid/team/none:3\``) },
        });
        await expect(client.runs.create({ task: "x", repositoryUrl, settings: { image: engine.image } })).rejects.toMatchObject({
          code: "invalid_request",
          message: expect.stringContaining("An image is for the driver docker"),
        });
        await line.restart({ RUNYARD_DOCKER_IMAGE: "" });
        await expect(line.client.runs.create({ task: "x", repositoryUrl, settings })).rejects.toMatchObject({
          code: "invalid_request",
          message: expect.stringContaining("needs an image"),
        });
        await line.restart();
      });

      test("an agent of one's own runs in the server's node, and so do the tools that it is given", async () => {
        const script = [[{ call: "report_progress", with: { percentage: 40, message: "Half of it" } }, { write: ["made.txt", "made\n"] }]];
        const repository = repositoryOf({ "agent.mjs": TOOL_AGENT, "script.json": JSON.stringify(script) });
        const agent = { command: ["node", "agent.mjs"] };
        const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, agent, settings });
        expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
        const log = await readLog(line.client, id);
        expect(log.find((event) => event.type === "progress.reported")).toMatchObject({ data: { message: "Half of it" } });
        expect(gitIn(repository, "show", `runyard/${id}:made.txt`)).toBe("made");
      });

      test("kill -9 of the server: the next one goes on with the same container", async () => {
        const client = await line.serve([
          { say: "Wait.", plan: { "Write it": "in_progress" } },
          { run: "while [ ! -e go ]; do sleep 0.1; done; echo gone" },
          { write: ["made.txt", "made\n"] },
          { say: "Done." },
        ]);
        const { id } = await client.runs.create({ task: "Go on", repositoryUrl: repositoryOf(), settings });
        for await (const event of client.runs.events(id)) if (event.type === "tool.started") break;
        const before = await containers();
        expect(before).toHaveLength(1);
        await line.restart();
        expect(await containers()).toEqual(before);
        writeFileSync(path.join(line.home.root, "home", "runs", id, "1", "workspace", "go"), "");
        const run = await line.client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", attempt: 1, error: null });
        const log = await readLog(line.client, id);
        expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
        expect(log.filter((event) => event.type === "agent.started")).toHaveLength(1);
        expect(await containers()).toEqual([]);
      });

      test("further repositories lie beside the first one, in every turn: one to change, one that may only be read", async () => {
        const client = await line.serve([
          { write: ["../repositories/lib/made.txt", "made\n"] },
          { run: "cat ../repositories/*/*.txt; git -C ../repositories/lib log --format=%s; echo no >>../repositories/docs/docs.txt" },
          { say: "Done." },
          {
            run: "git -C ../repositories/lib status --porcelain; cat ../repositories/lib/made.txt >again.txt; echo more >>../repositories/lib/made.txt",
          },
          { say: "Done again." },
        ]);
        const [app, lib, docs] = ["app", "lib", "docs"].map((name) => repositoryOf({ [`${name}.txt`]: `${name}\n` })) as [
          string,
          string,
          string,
        ];
        const { id } = await client.runs.create({
          task: "Change both",
          repositoryUrl: app,
          repositories: [
            { repositoryUrl: lib, name: "lib" },
            { repositoryUrl: docs, name: "docs", access: "read" },
          ],
          verify: [{ kind: "test", run: "test -e ../repositories/lib/made.txt && git -C ../repositories/docs log" }],
          permissionPolicy: { ask: [] },
          settings,
        });
        expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
        const said = JSON.stringify(await readLog(client, id));
        expect(said).toContain("docs\\nlib\\nmade\\nFirst\\n");
        expect(said).toContain("docs.txt: Read-only file system");
        const shown = await line.home.cli(["shell", id, "--", "cat", "../repositories/lib/made.txt"]);
        expect(shown).toMatchObject({ code: 0, stdout: "made\n" });
        await client.runs.continue(id, "Go on");
        const second = await client.runs.waitForEnd(id);
        expect(second.error).toBeNull();
        expect(second).toMatchObject({ status: "completed", turn: 2 });
        expect(gitIn(lib, "show", `runyard/${id}:made.txt`)).toBe("made\nmore");
        expect(gitIn(app, "show", `runyard/${id}:again.txt`)).toBe("made");
        expect(gitIn(docs, "branch", "--list", "runyard/*")).toBe("");
        expect(await containers()).toEqual([]);
      });

      test("a cancel leaves nothing of it, whatever the agent has started", async () => {
        const client = await line.serve([
          { say: "Wait.", plan: { Wait: "in_progress" } },
          { run: `setsid sleep ${NAP} & (sleep ${NAP} &) ; trap '' TERM; sleep ${NAP}` },
        ]);
        const { id } = await client.runs.create({ task: "Wait", repositoryUrl: repositoryOf(), settings });
        await expect.poll(() => processesWith(`sleep\0${NAP}`).length).toBeGreaterThan(2);
        await client.runs.cancel(id);
        expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled" });
        expect(processesWith(`sleep\0${NAP}`)).toEqual([]);
        expect(await containers()).toEqual([]);
      });

      test("a command that runs out of memory is told as that", async () => {
        const client = await line.serve([{ say: "Done." }]);
        const verify = [{ kind: "test" as const, run: MEMORY_HOG }];
        const { id } = await client.runs.create({ task: "x", repositoryUrl: repositoryOf(), settings, verify, verifyRetries: 0 });
        expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "failed", error: { type: "out-of-memory" } });
      });

      test("an engine that dies loses the agent, which nobody takes for its end; once it is back, the run goes on", async () => {
        const onceOnly = `[ -e began ] || { touch began; sleep ${NAP}; }`;
        const client = await line.serve([{ say: "Wait.", plan: { Wait: "in_progress" } }, { run: onceOnly }, { say: "Done." }]);
        const { id } = await client.runs.create({ task: "Wait", repositoryUrl: repositoryOf(), settings });
        await expect.poll(() => processesWith(`sleep\0${NAP}`).length).toBeGreaterThan(0);
        await engine.crash();
        await engine.start();
        const run = await client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", attempt: 2 });
        const notices = (await readLog(client, id)).flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
        expect(notices).toContain("attempt-goes-on");
        expect(processesWith(`sleep\0${NAP}`)).toEqual([]);
        expect(await containers()).toEqual([]);
      });

      async function endedRun(): Promise<Run> {
        await line.serve([{ run: "echo built > built.txt" }, { say: "Done." }]);
        const words = ["run", "Do it", "--repo", repositoryOf(), "--sandbox", "docker", "--env", "COLOUR=green", "--json"];
        return JSON.parse((await line.home.cli(words)).stdout) as Run;
      }

      test("`shell` runs commands in the workspace, with their own output, input and exit code", async () => {
        const run = await endedRun();
        const script = 'cat built.txt; pwd; echo "$COLOUR $HOME $OF_IMAGE"; cat; echo problem >&2; (sleep 1000 &) ; exit 7';
        const done = await line.home.cli(["shell", run.id, "--", "sh", "-c", script], { input: "typed\n" });
        expect(done).toEqual({ code: 7, stdout: "built\n/workspace\ngreen /home/agent yes\ntyped\n", stderr: "problem\n" });
        expect((await line.home.cli(["shell", run.id, "--", "sh", "-c", "kill -TERM $$"])).code).toBe(143);
        expect(await line.home.cli(["shell", run.id], { input: "echo by stdin\nexit 3\n" })).toMatchObject({
          code: 3,
          stdout: "by stdin\n",
        });
        const limits =
          "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ls /sys/class/net; touch /here";
        const outside = await line.home.cli(["shell", run.id, "--", "sh", "-c", limits]);
        expect(outside).toMatchObject({ stdout: `${2 * 1024 ** 3}\nlo\n`, stderr: expect.stringContaining("Read-only file system") });
        expect(await containers()).toEqual([]);
      });

      test("`shell` is a terminal: it has job control and its size, Ctrl-C is the program's, and the exit code is passed on", async () => {
        const run = await endedRun();
        const typing = [
          { at: /[$#] $/, keys: "sh -c 'stty size; exec sleep 500'\n" },
          { at: /50 91/, keys: "\u0003" },
          { at: /\^C[^]*[$#] $/, keys: "sleep 501 & jobs; kill %1; echo $(($? + 40)); exit 5\n" },
        ];
        const done = await runAtTerminal(["shell", run.id], { env: line.home.env, columns: 91, typing });
        expect(done).toMatchObject({ output: expect.stringMatching(/Running +sleep 501/) });
        expect([done.code, done.output]).toEqual([5, expect.stringMatching(/\n40\r/)]);
        expect(done.output).not.toMatch(/job control|cannot set terminal/);
        expect(await containers()).toEqual([]);
      });

      test("a shell ends with everything in it when its command line is killed", async () => {
        const run = await endedRun();
        const script = `setsid sleep ${NAP} & (sleep ${NAP} &); trap '' TERM HUP INT; echo up; sleep ${NAP}; sleep ${NAP}`;
        const words = [await publishedProgram(), "shell", run.id, "--", "sh", "-c", script];
        const child = spawn(process.execPath, words, { env: line.home.env, stdio: ["pipe", "pipe", "pipe"] });
        await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
        await expect.poll(() => processesWith(`sleep\0${NAP}`).length).toBeGreaterThan(2); // the control: it is all there
        child.kill("SIGKILL");
        await expect.poll(() => processesWith(`sleep\0${NAP}`)).toEqual([]);
        await expect.poll(() => containers()).toEqual([]);
      });

      test("an agent that only the image has runs by its name", async () => {
        const repository = repositoryOf({ "script.json": JSON.stringify([[{ write: ["made.txt", "made\n"] }]]) });
        const { id } = await line.client.runs.create({
          task: "Do it",
          repositoryUrl: repository,
          agent: { command: ["image-agent"] },
          settings,
        });
        expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
        expect(gitIn(repository, "show", `runyard/${id}:made.txt`)).toBe("made");
      });

      test.each(agents)("$name of the host runs in an image that has none", async ({ name, reason }) => {
        if (reason !== null) return;
        const client = await line.serve([
          { say: "I will do it.", write: ["hello.txt", "hello from inside\n"] },
          { run: "cat /etc/passwd" },
          { say: "Done." },
        ]);
        const repository = repositoryOf();
        const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository, agent: { profile: name }, settings });
        expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
        expect(gitIn(repository, "show", `runyard/${id}:hello.txt`)).toBe("hello from inside");
        expect(JSON.stringify(await readLog(client, id))).toContain("root:x:0:0:root:/root:/bin/sh");
      });

      test("a run that fills the disk is ended for that", async () => {
        // Blocks are reserved and not written, so that many gigabytes take no time.
        const script = `i=0; while [ $i -lt 12 ]; do i=$((i + 1)); fallocate -l 1G part-$i; done; sleep ${NAP}`;
        const client = await line.serve([{ say: "Fill it.", plan: { Fill: "in_progress" } }, { run: script }, { say: "Done." }]);
        const { id } = await client.runs.create({ task: "Fill", repositoryUrl: repositoryOf(), settings });
        expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "failed", error: { type: "disk-full" } });
        expect(processesWith(`sleep\0${NAP}`)).toEqual([]);
      });
    },
  );
}
