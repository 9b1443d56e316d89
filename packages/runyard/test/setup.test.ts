// Set-up makes a workspace ready before the agent begins, and what it made is there for later runs: on real parts, with
// the server killed in the middle, two runs at once, and set-up that means ill.
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent, Snapshot } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { overlaySupport } from "../src/sandbox/overlay.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const overlays = await overlaySupport(realpathSync(tmpdir()));
const unavailable = (await sandboxDriver("bwrap").probe()).reason;
/** Seconds that nobody else sleeps: other tests of this machine may look at its processes, too. */
const NAP = 30_000_000 + process.pid;
const FILES = { "README.md": "# x\n", ".gitignore": "deps/\n*.secret\n" };

describe.skipIf(unavailable !== null)(unavailable === null ? "set-up" : `set-up cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  const newRepository = (files: Readonly<Record<string, string>> = FILES): string => {
    serial += 1;
    return makeRepository(line.home.root, files, `repository-${serial}`);
  };
  const home = (...parts: string[]): string => path.join(line.home.root, "home", ...parts);
  const workspaceOf = (id: string, ...parts: string[]): string => home("runs", id, "1", "workspace", ...parts);
  const create = async (repositoryUrl: string, request: Partial<CreateRunRequest>): Promise<string> =>
    (await line.client.runs.create({ task: "Do it", repositoryUrl, ...request })).id;

  async function ended(repositoryUrl: string, request: Partial<CreateRunRequest>): Promise<{ run: Run; log: RunEvent[] }> {
    const run = await line.client.runs.waitForEnd(await create(repositoryUrl, request));
    return { run, log: await readLog(line.client, run.id) };
  }

  async function snapshotsOf(repositoryUrl: string): Promise<Snapshot[]> {
    const all: Snapshot[] = [];
    for await (const one of line.client.snapshots.list()) if (one.repositoryUrl === repositoryUrl) all.push(one);
    return all;
  }

  const typesIn = (log: readonly RunEvent[]): string[] =>
    log.flatMap(({ type }) => (type.startsWith("setup.") || type.startsWith("snapshot.") ? [type] : []));
  type Finished = Extract<RunEvent, { type: "setup.finished" }>["data"];
  const finishedIn = (log: readonly RunEvent[]): Finished[] =>
    log.flatMap((event) => (event.type === "setup.finished" ? [event.data] : []));
  const noticesIn = (log: readonly RunEvent[]): { code: string; message: string }[] =>
    log.flatMap((event) => (event.type === "notice" ? [event.data] : []));
  const RAN = ["setup.started", "setup.finished"];

  test("commands run in order before the agent, what they made is kept, and the next run begins with it", async () => {
    await line.serve([{ run: "cat deps/a deps/b ~/tool > seen.txt" }, { say: "Done." }]);
    const repository = newRepository();
    const setup = {
      commands: ["mkdir deps && echo one > deps/a && echo $CI $GREETING", "cat deps/a > deps/b; echo home > ~/tool; ln -s a deps/link"],
      cacheKey: "deps-v1",
    };
    const request = { setup, environment: { GREETING: "hello" } };
    const first = await ended(repository, request);
    expect(first.run).toMatchObject({ status: "completed", setup: { ...setup, timeout: 600_000, snapshot: { hit: false } } });
    expect(typesIn(first.log)).toEqual([...RAN, ...RAN, "snapshot.kept"]);
    expect(finishedIn(first.log)[0]).toMatchObject({ index: 0, passed: true, exitCode: 0, cause: null, output: "true hello\n" });
    const order = first.log.map((event) => event.type);
    expect(order.indexOf("snapshot.kept")).toBeLessThan(order.indexOf("agent.started"));
    expect(gitIn(repository, "show", `runyard/${first.run.id}:seen.txt`)).toBe("one\none\nhome");
    // The change is the agent's alone.
    expect(gitIn(repository, "show", "--name-only", "--format=", `runyard/${first.run.id}`)).toBe("seen.txt");

    const [made] = await snapshotsOf(repository);
    expect(made).toMatchObject({ cacheKey: "deps-v1", runId: first.run.id, hits: 0, commands: setup.commands, sandboxDriver: "bwrap" });
    expect(made?.bytes).toBeGreaterThan(0);

    // Another commit of the repository, which tracks what was ignored before.
    writeFileSync(path.join(repository, "new.txt"), "new\n");
    gitIn(repository, "add", "new.txt");
    gitIn(repository, "commit", "-m", "more");
    const second = await ended(repository, request);
    expect(second.run).toMatchObject({ status: "completed", setup: { snapshot: { id: made?.id, hit: true } } });
    expect(typesIn(second.log)).toEqual(["snapshot.restored"]);
    expect(gitIn(repository, "show", `runyard/${second.run.id}:seen.txt`)).toBe("one\none\nhome");
    expect(gitIn(repository, "show", `runyard/${second.run.id}:new.txt`)).toBe("new");
    expect(await snapshotsOf(repository)).toMatchObject([{ id: made?.id, hits: 1 }]);
    // What a run does to it, it does to nobody else's.
    await line.serve([{ run: "echo poisoned > deps/a; rm deps/b; chmod 700 deps" }, { say: "Done." }]);
    expect((await ended(repository, request)).run).toMatchObject({ status: "completed", setup: { snapshot: { hit: true } } });
    expect(lstatSync(home("snapshots", made?.id ?? "", "workspace", "deps")).mode & 0o777).toBe(0o755);
    expect(readFileSync(home("snapshots", made?.id ?? "", "workspace", "deps", "b"), "utf8")).toBe("one\n");
    expect(readFileSync(home("snapshots", made?.id ?? "", "workspace", "deps", "a"), "utf8")).toBe("one\n");

    const shown = await line.home.cli(["snapshots", "show", made?.id ?? ""]);
    expect(shown.stdout).toMatch(/deps-v1[\s\S]*mkdir deps[\s\S]*2 hits/);
    expect((await line.home.cli(["show", second.run.id])).stdout).toMatch(/setup +mkdir deps.*deps-v1/);
    expect((await line.home.cli(["events", second.run.id])).stdout).toMatch(/set-up +from snap_/);

    // Another key, or other commands, are another snapshot.
    expect(typesIn((await ended(repository, { setup: { ...setup, cacheKey: "deps-v2" } })).log)).toContain("snapshot.kept");
    const other = (await snapshotsOf(repository)).find(({ cacheKey }) => cacheKey === "deps-v2");
    for (const each of [made, other]) expect((await line.home.cli(["snapshots", "rm", each?.id ?? ""])).code).toBe(0);
    expect(await snapshotsOf(repository)).toEqual([]);
    await expect.poll(() => existsSync(home("snapshots", other?.id ?? "")), { timeout: 10_000 }).toBe(false);
    // Workspaces that are kept lie upon it.
    expect(existsSync(home("snapshots", made?.id ?? ""))).toBe(overlays.available);
  }, 60_000);

  test("set-up that fails ends the run, which says which command, how, and its last lines", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = newRepository();
    const told = await line.home.cli(["run", "Do it", "--repo", repository, "--setup", "echo fine", "--setup", "echo the reason; exit 7"]);
    expect(told.code).toBe(1);
    expect(told.stdout + told.stderr).toMatch(/✓ set-up +echo fine[\s\S]*✗ set-up +echo the reason; exit 7 +exit 7[\s\S]*the reason/);
    const { run, log } = await ended(repository, {
      setup: { commands: ["echo fine", "echo the reason; exit 7", "touch never"], cacheKey: "k" },
      settings: { maxRetries: 1, retryableErrors: ["setup-failed"] },
    });
    expect(run).toMatchObject({ status: "failed", attempt: 2, error: { type: "setup-failed" }, setup: { snapshot: null } });
    expect(run.error?.message).toBe(
      "The set-up failed: `echo the reason; exit 7` (command 2 of 3) ended with exit code 7. The agent was not started. The end of the output:\nthe reason",
    );
    expect(typesIn(log)).toEqual([...RAN, ...RAN, ...RAN, ...RAN]);
    expect(log.some((event) => event.type === "agent.started")).toBe(false);
    expect(await snapshotsOf(repository)).toEqual([]);
  }, 60_000);

  test.skipIf(!isFull)(
    "one that lasts too long, one that floods, and one that is cancelled are ended with all that they started",
    async () => {
      const repository = newRepository();
      const late = await ended(repository, { setup: { commands: [`echo begun; sleep ${NAP} & sleep ${NAP}`], timeout: 2_000 } });
      expect(late.run.error?.message).toMatch(/ran longer than it may and was ended[\s\S]*begun$/);
      expect(finishedIn(late.log)[0]).toMatchObject({ passed: false, exitCode: null, cause: "timeout", output: "begun\n" });
      const flood = await ended(repository, { setup: { commands: ["exec yes flood"] } });
      expect(finishedIn(flood.log)[0]).toMatchObject({ passed: false, cause: "output-limit", truncated: true });
      expect(finishedIn(flood.log)[0]?.output.length).toBeLessThanOrEqual(16 * 1024);
      const id = await create(repository, { setup: { commands: [`sleep ${NAP}`] } });
      for await (const event of line.client.runs.events(id)) if (event.type === "setup.started") break;
      await line.client.runs.cancel(id);
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "cancelled" });
      expect(sleepers()).toBe(0);
    },
    60_000,
  );

  test("set-up that means ill: processes, links, special files, rights, tracked files, and a repository of its own", async () => {
    await line.serve([
      {
        run: `(ls -A deps; stat -c %A deps/suid deps/sgid; readlink deps/out; cat README.md; test ! -e stray && echo no stray; git config user.evil || echo no config; ls .git/hooks 2>/dev/null; cat ~/suid; stat -c %A ~/suid) > seen.txt 2>&1`,
      },
      { say: "Done." },
    ]);
    const repository = newRepository();
    const commands = [
      `(setsid sleep ${NAP} &) ; mkdir deps; echo x > deps/suid; chmod 4755 deps/suid; mkdir deps/sgid; chmod 2755 deps/sgid; mkfifo deps/fifo ~/fifo; ln -s /etc/passwd deps/out; ln -s / deps/root`,
      `node -e 'require("net").createServer().listen("deps/socket", () => process.exit(0))'; echo y > ~/suid; chmod 6755 ~/suid`,
      "git config user.evil yes; mkdir -p .git/hooks; echo evil > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout; echo changed > README.md; mkdir stray; echo s > stray/file",
      // What a later checkout could be led astray by.
      "rm README.md; ln -s deps/suid README.md",
    ];
    const expected = /^link\nout\nroot\nsgid\nsuid\n|^out\nroot\nsgid\nsuid\n/;
    for (const hit of [false, true]) {
      const { run, log } = await ended(repository, { setup: { commands, cacheKey: "ill" } });
      expect(run).toMatchObject({ status: "completed", setup: { snapshot: { hit } } });
      const seen = gitIn(repository, "show", `runyard/${run.id}:seen.txt`);
      expect(seen).toMatch(expected);
      expect(seen).toContain("-rwxr-xr-x\ndrwxr-xr-x\n/etc/passwd\n# x\nno stray\nno config\ny\n-rwxr-xr-x");
      expect(gitIn(repository, "show", "--name-only", "--format=", `runyard/${run.id}`)).toBe("seen.txt");
      expect(sleepers()).toBe(0);
      if (hit) continue;
      const tidied = noticesIn(log).find((notice) => notice.code === "setup-tidied");
      expect(tidied?.message).toMatch(/as in the commit again: README\.md\..*were removed: stray\/\./);
    }
    const [made] = await snapshotsOf(repository);
    const kept = home("snapshots", made?.id ?? "", "workspace");
    expect(readdirSync(kept)).toEqual(["deps"]);
    expect(lstatSync(path.join(kept, "deps", "root")).isSymbolicLink()).toBe(true);
    expect(lstatSync(path.join(kept, "deps", "suid")).mode & 0o7000).toBe(0);
  }, 60_000);

  test.skipIf(!isFull)(
    "a secret that set-up leaves behind: nothing is kept, and a notice says where",
    async () => {
      await line.serve([{ say: "Done." }]);
      const repository = newRepository();
      const { code } = await line.home.cli(["secrets", "set", "TOKEN"], { input: "cnry-7Xq9Zt-Vb3kLm8" });
      expect(code).toBe(0);
      for (const [command, where] of [
        ['mkdir deps && printf "x\\nkey=%s" "$TOKEN" > deps/npmrc; echo "$TOKEN"', "workspace/deps/npmrc"],
        ['printf %s "$TOKEN" | base64 > ~/.netrc', "home/.netrc"],
        ['mkdir deps && ln -s "/x/$TOKEN" deps/link', "workspace/deps/link"],
        ['mkdir -p deps && touch "deps/$TOKEN"', "workspace/deps/[secret TOKEN]"],
      ] as const) {
        const { run, log } = await ended(repository, { setup: { commands: [command], cacheKey: "secret" }, secrets: ["TOKEN"] });
        expect(run).toMatchObject({ status: "completed", setup: { snapshot: null } });
        expect(noticesIn(log)).toContainEqual(
          expect.objectContaining({
            code: "snapshot-not-kept",
            message: expect.stringContaining(`[secret TOKEN] stands in ${where}`) as string,
          }),
        );
        expect(JSON.stringify(log)).not.toContain("cnry-7Xq9Zt");
        expect(existsSync(home("runs", run.id, "1", "snapshot"))).toBe(false);
      }
      expect(await snapshotsOf(repository)).toEqual([]);
      // The control: without the secret in it, the same is kept.
      const clean = await ended(repository, {
        setup: { commands: ["test -n $TOKEN && mkdir deps"], cacheKey: "secret" },
        secrets: ["TOKEN"],
      });
      expect(clean.run.setup?.snapshot).toMatchObject({ hit: false });
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "a snapshot that was damaged on disk is not used: set-up runs, says so, and makes another one",
    async () => {
      await line.serve([{ run: "cat deps/a > seen.txt" }, { say: "Done." }]);
      const repository = newRepository();
      const setup = { commands: ["mkdir deps && echo right > deps/a && echo b > deps/b"], cacheKey: "damaged" };
      await ended(repository, { setup });
      const damages: ((dir: string) => void)[] = [
        (dir) => rmSync(path.join(dir, "workspace", "deps", "b")),
        (dir) => writeFileSync(path.join(dir, "workspace", "deps", "a"), "wrong\n"),
        (dir) => writeFileSync(path.join(dir, "workspace", "deps", "c"), "more\n"),
        (dir) => rmSync(dir, { recursive: true }),
      ];
      for (const damage of damages) {
        const [before] = await snapshotsOf(repository);
        damage(home("snapshots", before?.id ?? ""));
        const { run, log } = await ended(repository, { setup });
        expect(typesIn(log)).toEqual([...RAN, "snapshot.kept"]);
        expect(noticesIn(log)).toContainEqual(expect.objectContaining({ code: "snapshot-damaged" }));
        expect(gitIn(repository, "show", `runyard/${run.id}:seen.txt`)).toBe("right");
        const [after] = await snapshotsOf(repository);
        expect(after?.id).not.toBe(before?.id);
        expect(run.setup?.snapshot).toEqual({ id: after?.id, hit: false });
      }
      expect(typesIn((await ended(repository, { setup })).log)).toEqual(["snapshot.restored"]);
    },
    90_000,
  );

  test("two runs at once on the same missing key: each has its workspace, and one snapshot is kept", async () => {
    const repository = newRepository();
    const setup = { commands: ["mkdir deps && echo $$ > deps/a && until test -e go-on; do sleep 0.05; done; rm go-on"], cacheKey: "both" };
    const ids = await Promise.all([create(repository, { setup }), create(repository, { setup })]);
    for (const id of ids) {
      for await (const event of line.client.runs.events(id)) if (event.type === "setup.started") break;
      await expect.poll(() => existsSync(workspaceOf(id, "deps", "a"))).toBe(true);
    }
    for (const id of ids) writeFileSync(workspaceOf(id, "go-on"), "");
    const runs = await Promise.all(ids.map((id) => line.client.runs.waitForEnd(id)));
    expect(runs.map((run) => run.status)).toEqual(["completed", "completed"]);
    const [kept, ...more] = await snapshotsOf(repository);
    expect(more).toEqual([]);
    expect(new Set(runs.map((run) => run.setup?.snapshot?.id ?? null))).toEqual(new Set([kept?.id, null]));
    expect(readdirSync(home("snapshots")).filter((name) => name === kept?.id)).toHaveLength(1);
  }, 60_000);

  test.skipIf(!isFull)(
    "a repository's set-up holds for runs that say none of their own, and only for those",
    async () => {
      const repository = newRepository();
      const words = ["repositories", repository, "--setup", "mkdir deps", "--setup-cache-key", "default", "--json"];
      expect(JSON.parse((await line.home.cli(words)).stdout)).toMatchObject({ setup: { commands: ["mkdir deps"], cacheKey: "default" } });
      expect((await ended(repository, {})).run.setup).toMatchObject({ cacheKey: "default", snapshot: { hit: false } });
      expect((await ended(repository, {})).run.setup).toMatchObject({ cacheKey: "default", snapshot: { hit: true } });
      const own = await ended(repository, { setup: { commands: ["true"] } });
      expect(own.run.setup).toMatchObject({ commands: ["true"], cacheKey: null, snapshot: null });
      expect(typesIn(own.log)).toEqual(RAN);
      expect((await ended(repository, { setup: null })).run.setup).toBeNull();
      expect(JSON.parse((await line.home.cli(["repositories", repository, "--no-setup", "--json"])).stdout)).toMatchObject({ setup: null });
      expect((await ended(repository, {})).run.setup).toBeNull();
    },
    60_000,
  );

  test.skipIf(!isFull)(
    "a server that is killed in the middle of set-up goes on with the same command, and with keeping what it made",
    async () => {
      await line.serve([{ run: "cat deps/a > seen.txt; ls deps | wc -l >> seen.txt" }, { say: "Done." }]);
      const repository = newRepository();
      const make =
        "mkdir deps; echo begun; until test -e .git/go-on; do sleep 0.05; done; echo $$ > deps/a; for n in $(seq 2000); do echo $n > deps/$n; done";
      const setup = { commands: ["true", make], cacheKey: "killed" };
      const id = await create(repository, { setup });
      const out = home("runs", id, "1", "steps", "setup-1", "out");
      await expect.poll(() => existsSync(out) && readFileSync(out, "utf8"), { timeout: 20_000 }).toBe("begun\n");
      await line.restart();
      writeFileSync(workspaceOf(id, ".git", "go-on"), "");
      // And once more, while it is being kept.
      const keeping = home("runs", id, "1", "steps", "keep", "spec.json");
      while (!existsSync(keeping)) await sleep(1);
      await line.restart();
      const run = await line.client.runs.waitForEnd(id);
      const log = await readLog(line.client, id);
      expect(run).toMatchObject({ status: "completed", attempt: 1, setup: { snapshot: { hit: false } } });
      expect(typesIn(log)).toEqual([...RAN, ...RAN, "snapshot.kept"]);
      expect(finishedIn(log)[1]).toMatchObject({ output: "begun\n", durationMs: null });
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      const second = await ended(repository, { setup });
      expect(typesIn(second.log)).toEqual(["snapshot.restored"]);
      const seen = gitIn(repository, "show", `runyard/${run.id}:seen.txt`);
      expect(seen).toMatch(/^\d+\n2001$/);
      expect(gitIn(repository, "show", `runyard/${second.run.id}:seen.txt`)).toBe(seen);
    },
    90_000,
  );

  test.each([
    ["setup.commands", { setup: { commands: [] } }],
    ["setup.commands[0]", { setup: { commands: [" "] } }],
    ["setup.cacheKey", { setup: { commands: ["x"], cacheKey: "" } }],
    ["setup.timeout", { setup: { commands: ["x"], timeout: 1 } }],
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
