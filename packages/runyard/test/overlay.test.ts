// A workspace that lies upon a checkout or a snapshot that is there: on the whole line, in every turn, and with whoever serves or
// holds it killed in the middle.
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent, WorkspaceList } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { measure } from "../src/runner/snapshot-files.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { overlaySupport } from "../src/sandbox/overlay.ts";
import { readPidFile } from "../src/sandbox/run-directory.ts";
import { processesWith, readProc } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const overlays = await overlaySupport(realpathSync(tmpdir()));
const unavailable = (await sandboxDriver("bwrap").probe()).reason ?? (overlays.available ? null : overlays.reason);
const title = unavailable === null ? "a workspace that is an overlay" : `overlays cannot be tested: ${unavailable}`;

describe.skipIf(unavailable !== null)(title, () => {
  const line = useLine();
  let serial = 0;

  /** One that is large enough for a checkout to be kept of. */
  const largeRepository = (): string => {
    serial += 1;
    const files = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`src/${index % 10}/file-${index}`, `${index}\n`]));
    return makeRepository(line.home.root, { ...files, "README.md": "# x\n", ".gitignore": "deps/\n" }, `large-${serial}`);
  };
  const home = (...parts: string[]): string => path.join(line.home.root, "home", ...parts);
  const create = async (repositoryUrl: string, request: Partial<CreateRunRequest> = {}): Promise<string> =>
    (await line.client.runs.create({ task: "Do it", repositoryUrl, ...request })).id;
  async function ended(repositoryUrl: string, request: Partial<CreateRunRequest> = {}): Promise<{ run: Run; log: RunEvent[] }> {
    const run = await line.client.runs.waitForEnd(await create(repositoryUrl, request));
    return { run, log: await readLog(line.client, run.id) };
  }
  const holders = (): number => processesWith(home("runs")).filter((pid) => readProc(pid, "cmdline").includes("/steps/holder-")).length;
  const stepsOf = (id: string, attempt = 1): string[] => readdirSync(home("runs", id, String(attempt), "steps"));
  const shell = async (id: string, script: string): Promise<string> =>
    (await line.home.cli(["shell", id, "--", "sh", "-c", script])).stdout;
  /** Lets an agent go on that waits for it. */
  const WAIT = "until test -e go; do sleep 0.05; done; rm go";

  test("the first run leaves its checkout to the next ones, whose workspaces are clean, their own, and gone with them", async () => {
    const look =
      "{ git diff-files; git status --porcelain; git branch --format '%(refname:short)'; git log --format=%s; ls src | wc -l; } > /tmp/seen; mv /tmp/seen seen.txt; git mv README.md READ.md; rm -r src/1; echo more >> src/2/file-2";
    await line.serve([{ run: look }, { say: "Done." }]);
    const repository = largeRepository();
    const first = await ended(repository);
    const [id = ""] = readdirSync(home("bases"));
    const base = home("bases", id, "tree");
    const before = (await measure(base)).fingerprint;
    const second = await ended(repository);
    expect(stepsOf(first.run.id)).toContain("prepare");
    expect(stepsOf(second.run.id)).not.toContain("prepare");
    for (const { run } of [first, second]) {
      expect(run).toMatchObject({ status: "completed", sandbox: { workspace: "overlay" } });
      // A file that git would have to read again is named by diff-files.
      expect(gitIn(repository, "show", `runyard/${run.id}:seen.txt`)).toBe(`runyard/${run.id}\nFirst\n10`);
      expect(gitIn(repository, "show", "--shortstat", "--format=", `runyard/${run.id}`)).toContain(
        "103 files changed, 4 insertions(+), 100",
      );
      expect(readdirSync(home("runs", run.id, "1", "workspace"))).toEqual([]);
    }
    expect((await measure(base)).fingerprint).toBe(before);
    await expect.poll(holders, { timeout: 20_000 }).toBe(0);
  }, 60_000);

  test.skipIf(!isFull)(
    "upon a snapshot: what set-up made and the commit's files are one, in every turn, for people too, and for a plan",
    async () => {
      await line.serve([{ run: "cat deps/a ~/tool > seen.txt; echo mine > deps/a; echo left > deps/left" }, { say: "Done." }]);
      const repository = makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "deps/\nfixed/\n" }, "set-up");
      const setup = { commands: ["mkdir deps fixed && echo one > deps/a; echo old > fixed/file; echo home > ~/tool"], cacheKey: "k" };
      expect((await ended(repository, { setup })).run).toMatchObject({
        sandbox: { workspace: "checkout" },
        setup: { snapshot: { hit: false } },
      });
      // From now on one of its folders is not ignored.
      writeFileSync(path.join(repository, ".gitignore"), "deps/\n");
      mkdirSync(path.join(repository, "fixed"));
      writeFileSync(path.join(repository, "fixed", "other"), "tracked\n");
      gitIn(repository, "add", "-A");
      gitIn(repository, "commit", "-m", "track");
      const { run } = await ended(repository, { setup });
      expect(run).toMatchObject({ status: "completed", sandbox: { workspace: "overlay" }, setup: { snapshot: { hit: true } } });
      expect(gitIn(repository, "show", `runyard/${run.id}:seen.txt`)).toBe("one\nhome");
      expect(gitIn(repository, "ls-tree", "-r", "--name-only", `runyard/${run.id}`)).toBe(".gitignore\nREADME.md\nfixed/other\nseen.txt");

      const { id } = run;
      const listed = JSON.parse((await line.home.cli(["files", id, "-w", "deps", "--json"])).stdout) as WorkspaceList;
      expect(listed.data.map((entry) => entry.path)).toEqual(["deps/a", "deps/left"]);
      expect((await line.home.cli(["files", id, "-w", "deps/a"])).stdout).toBe("mine\n");
      expect(await shell(id, "cat deps/a fixed/other; echo shell > deps/shell")).toBe("mine\ntracked\n");
      await expect.poll(holders, { timeout: 20_000 }).toBe(0);

      // The conversation goes on behind what was said in the first turn.
      const before = [{ say: "One." }, { say: "Two." }];
      const handIn = { calls: [{ name: "propose_plan", input: { plan: "# Plan" } }] };
      await line.serve([...before, handIn, { say: "Handed in." }, { run: "cat deps/* > after.txt" }, { say: "Done." }]);
      await line.client.runs.continue(id, "Plan it", { plan: true });
      await expect.poll(async () => (await line.client.runs.get(id)).status, { timeout: 20_000 }).toBe("awaiting_plan");
      expect((await line.client.runs.get(id)).sandbox).toMatchObject({ workspace: "overlay" });
      // What lies in the plan's own workspace, upon that of the turn before.
      expect(await shell(id, "cat deps/shell && echo no > deps/planned")).toBe("shell\n");
      await line.client.runs.confirmPlan(id, { version: 1 });
      const carried = await line.client.runs.waitForEnd(id);
      expect(carried).toMatchObject({ status: "completed", turn: 2, sandbox: { workspace: "overlay" } });
      expect(gitIn(repository, "show", `runyard/${id}:after.txt`)).toBe("mine\nleft\nshell");
      await expect.poll(holders, { timeout: 20_000 }).toBe(0);
    },
    90_000,
  );

  test.each(isFull ? ["holder-1/spec.json", "holder-1/ready", "agent/out"] : ["holder-1/ready"])(
    "a server that is killed once there is %s: the run goes on in the one workspace, and nothing holds it in the end",
    async (moment) => {
      await line.serve([{ run: `echo mine > mine; ${WAIT}; cp mine seen.txt` }, { say: "Done." }]);
      const repository = largeRepository();
      const id = await create(repository);
      while (!existsSync(home("runs", id, "1", "steps", moment))) await sleep(1);
      await line.restart();
      await expect.poll(() => shell(id, "test -e mine && touch go && echo gone on"), { timeout: 20_000 }).toBe("gone on\n");
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", attempt: 1, sandbox: { workspace: "overlay" } });
      expect(gitIn(repository, "show", `runyard/${id}:seen.txt`)).toBe("mine");
      await expect.poll(holders, { timeout: 20_000 }).toBe(0);
      const log = await readLog(line.client, id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, at) => at + 1));
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "a run that was being prepared when the machine was started again goes on upon its checkout, though nobody else begins with that one",
    async () => {
      await line.serve([{ run: "ls src | wc -l > seen.txt" }, { say: "Done." }]);
      const repository = largeRepository();
      const id = await create(repository);
      while (!existsSync(home("runs", id, "1", "steps", "holder-1", "spec.json"))) await sleep(1);
      await line.server.kill();
      const layers = home("runs", id, "1", "overlay", "layers.json");
      const [base = ""] = /(?<=bases\/)\w+/.exec(readFileSync(layers, "utf8")) ?? [];
      renameSync(home("bases", base), home("bases", "of-before"));
      writeFileSync(layers, readFileSync(layers, "utf8").replace(base, "of-before"));
      await line.restart();
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 1, sandbox: { workspace: "overlay" } });
      expect(gitIn(repository, "show", `runyard/${id}:seen.txt`)).toBe("10");
      expect((await ended(repository)).run).toMatchObject({ status: "completed", sandbox: { workspace: "overlay" } });
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "where there are none: checkouts and copies as before, and a workspace that is one says why nobody gets in",
    async () => {
      await line.serve([{ say: "Done." }]);
      const repository = largeRepository();
      const setup = { commands: ["mkdir deps && echo one > deps/a"], cacheKey: "none" };
      const before = await ended(repository, { setup });
      // One file system is what they need, and nobody knows where a link leads.
      renameSync(home("bases"), home("elsewhere"));
      symlinkSync(home("elsewhere"), home("bases"));
      try {
        expect((await ended(repository)).run).toMatchObject({ status: "completed", sandbox: { workspace: "checkout" } });
        expect((await ended(repository, { setup })).run).toMatchObject({
          sandbox: { workspace: "copy" },
          setup: { snapshot: { hit: true } },
        });
        expect((await line.home.cli(["files", before.run.id, "-w"])).stderr).toMatch(/overlay that cannot be mounted.*runyard doctor/s);
        await line.client.runs.continue(before.run.id, "Go on");
        const error = {
          type: "sandbox-unavailable",
          message: expect.stringMatching(/overlay that cannot be mounted.*leads to another place/) as string,
        };
        expect(await line.client.runs.waitForEnd(before.run.id)).toMatchObject({ status: "failed", error });
      } finally {
        rmSync(home("bases"));
        renameSync(home("elsewhere"), home("bases"));
      }
      await line.client.runs.continue(before.run.id, "Go on");
      expect(await line.client.runs.waitForEnd(before.run.id)).toMatchObject({ status: "completed", sandbox: { workspace: "overlay" } });
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "a folder that belongs to another repository by the next attempt: it lies upon that one's checkout",
    async () => {
      await line.serve([{ say: "Done." }]);
      const [one, two] = [largeRepository(), path.join(line.home.root, "other")];
      gitIn(one, "clone", "--quiet", one, two);
      const folder = path.join(line.home.root, "folder");
      mkdirSync(folder);
      const pointTo = (repository: string): void => writeFileSync(path.join(folder, ".git"), `gitdir: ${repository}/.git\n`);
      pointTo(one);
      await ended(folder);
      const id = await create(folder, { setup: { commands: ["false"] }, settings: { maxRetries: 1, retryableErrors: ["setup-failed"] } });
      for await (const event of line.client.runs.events(id)) if (event.type === "setup.finished") break;
      pointTo(two);
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ attempt: 2, error: { type: "setup-failed" } });
      const layersOf = (attempt: string): string => readFileSync(home("runs", id, attempt, "overlay", "layers.json"), "utf8");
      expect(layersOf("2")).not.toBe(layersOf("1"));
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "a holder that is killed beside its agent is not replaced while the agent lives: the next attempt goes on in the same workspace",
    async () => {
      await line.serve([{ run: `echo mine > mine; ${WAIT}` }, { say: "Done." }, { run: "cat mine > seen.txt" }, { say: "Done." }]);
      const id = await create(largeRepository(), { verify: [{ run: "test -e mine", kind: "test" }] });
      const file = home("runs", id, "1", "overlay", "holder");
      await expect.poll(() => shell(id, "test -e mine && echo there"), { timeout: 20_000 }).toBe("there\n");
      const holder = readPidFile(file);
      process.kill(holder?.pid ?? 0, "SIGKILL");
      writeFileSync(path.join(`/proc/${agentIn(id)}/root/workspace`, "go"), "");
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", attempt: 2 });
      await expect.poll(holders, { timeout: 20_000 }).toBe(0);
    },
    60_000,
  );

  const steps = [
    { step: "verify-1-0", becomes: { status: "completed", attempt: 2 } },
    { step: "commit", becomes: { status: "completed", attempt: 1 } },
  ];
  test.skipIf(!isFull).each(steps)(
    "a holder that is killed before the step $step can enter its workspace: nothing is told of that step that it did not do",
    async ({ step, becomes }) => {
      const repository = largeRepository();
      await line.serve([{ say: "Done." }]);
      await ended(repository);
      const script = [{ run: `echo mine > mine; ${WAIT}` }, { say: "Done." }, { run: "true" }, { say: "Done again." }];
      const request = {
        ...(step === "verify-1-0" && { verify: [{ run: "test -e mine", kind: "test" as const }] }),
      };
      const spawners = (): number[] => processesWith("spawner.sh").filter((pid) => readProc(pid, "cmdline").includes(home()));
      const signal = (name: "SIGSTOP" | "SIGCONT"): void => spawners().forEach((pid) => process.kill(pid, name));
      /** A run of which the step is to be started and cannot be, since what starts it stands still. */
      const begin = async (): Promise<string> => {
        await line.serve(script);
        const id = await create(repository, request);
        const there = async (name: string): Promise<void> => {
          while (!existsSync(home("runs", id, "1", name))) await sleep(1);
        };
        await there("overlay/upper/mine");
        signal("SIGSTOP");
        writeFileSync(path.join(`/proc/${agentIn(id)}/root/workspace`, "go"), "");
        await there(`steps/${step}/spec.json`);
        if (!existsSync(home("runs", id, "1", "steps", step, "started"))) return id;
        signal("SIGCONT");
        await line.client.runs.cancel(id);
        await line.client.runs.waitForEnd(id);
        return begin();
      };
      const id = await begin();
      process.kill(readPidFile(home("runs", id, "1", "overlay", "holder"))?.pid ?? 0, "SIGKILL");
      signal("SIGCONT");
      expect(await line.client.runs.waitForEnd(id)).toMatchObject(becomes);
      expect(gitIn(repository, "show", `runyard/${id}:mine`)).toBe("mine");
      const log = await readLog(line.client, id);
      expect(log.filter(({ type }) => type === "verify.finished").map(({ data }) => data)).toEqual(
        step === "verify-1-0" ? [expect.objectContaining({ passed: true })] : [],
      );
      await expect.poll(holders, { timeout: 20_000 }).toBe(0);
    },
    60_000,
  );

  /** A process of an agent's sandbox. */
  function agentIn(id: string): number {
    const pid = processesWith(WAIT).find((each) => !readProc(each, "cmdline").includes(id));
    if (pid === undefined) throw new Error("no agent lives");
    return pid;
  }
});
