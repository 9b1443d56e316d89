// Set-up and the rest of a run's life: plan phases, later turns, further attempts, hosts that may be reached, and what
// is not isolated.
import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";
/** Seconds that nobody else sleeps: other tests of this machine may look at its processes, too. */
const NAP = 31_000_000 + process.pid;
/** Asks a proxy for a tunnel to a host that nobody has, and fails. */
const ASK = `node -e '
const { hostname, port, username, password } = new URL(process.env.HTTPS_PROXY);
const headers = { "proxy-authorization": "Basic " + Buffer.from(username + ":" + password).toString("base64") };
require("node:http").request({ host: hostname, port, method: "CONNECT", path: process.argv[1], headers, agent: false })
  .on("connect", (answer) => { console.log("answered", answer.statusCode); process.exit(answer.statusCode === 502 ? 0 : 1); }).end();' `;
const HAND_IN = { calls: [{ name: "propose_plan", input: { plan: "# Plan\n\n1. Look." } }] };

describe.skipIf(unavailable !== null)(unavailable === null ? "set-up and runs" : `set-up and runs: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  const newRepository = (): string => {
    serial += 1;
    return makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "deps/\n" }, `repository-${serial}`);
  };
  const home = (...parts: string[]): string => path.join(line.home.root, "home", ...parts);
  async function ended(repositoryUrl: string, request: Partial<CreateRunRequest>): Promise<{ run: Run; log: RunEvent[] }> {
    const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl, ...request });
    const run = await line.client.runs.waitForEnd(id);
    return { run, log: await readLog(line.client, id) };
  }
  const typesIn = (log: readonly RunEvent[]): string[] =>
    log.flatMap(({ type }) => (type.startsWith("setup.") || type.startsWith("snapshot.") ? [type] : []));
  const RAN = ["setup.started", "setup.finished"];
  const MAKE = "mkdir deps && echo made > deps/a; echo home >> ~/tool";

  test("a plan phase has it in its own workspace, and what follows begins with the snapshot", async () => {
    await line.serve([
      { run: "cat deps/a ~/tool && echo sneaked > deps/a && echo sneaked >> ~/tool" },
      HAND_IN,
      { say: "Planned." },
      { run: "cat deps/a ~/tool > seen.txt" },
      { say: "Done." },
    ]);
    const repository = newRepository();
    const setup = { commands: [MAKE], cacheKey: "plan" };
    const { id } = await line.client.runs.create({
      task: "Do it",
      repositoryUrl: repository,
      plan: true,
      setup,
      permissionPolicy: { ask: [] },
    });
    for (;;) {
      const { status, error, finishedAt } = await line.client.runs.get(id);
      if (status === "awaiting_plan") break;
      if (finishedAt !== null) throw new Error(`ended: ${JSON.stringify(error)}`);
      await sleep(20);
    }
    await line.client.runs.confirmPlan(id, { version: 1 });
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", setup: { snapshot: { hit: true } } });
    expect(typesIn(await readLog(line.client, id))).toEqual([...RAN, "snapshot.kept", "snapshot.restored"]);
    // The home goes on with the conversation; the workspace, and every other run's home, are as set-up made them.
    expect(gitIn(repository, "show", `runyard/${id}:seen.txt`)).toBe("made\nhome\nsneaked");
    await line.serve([{ run: "cat deps/a ~/tool > seen.txt" }, { say: "Done." }]);
    const other = await ended(repository, { setup });
    expect(gitIn(repository, "show", `runyard/${other.run.id}:seen.txt`)).toBe("made\nhome");
  }, 60_000);

  test("a later turn goes on in its workspace; where that is gone set-up is done again, and what an agent had a hand in is not kept", async () => {
    const client = await line.serve({
      "": [{ run: "echo touched > deps/a; echo one > one.txt" }, { say: "One." }],
      second: [{ run: "cat deps/a > two.txt" }, { say: "Two." }],
      third: [{ run: "cat deps/a > three.txt" }, { say: "Three." }],
    });
    const repository = newRepository();
    const { run } = await ended(repository, { setup: { commands: [MAKE] } });
    await client.runs.continue(run.id, "[[second]] Go on");
    expect(await client.runs.waitForEnd(run.id)).toMatchObject({ status: "completed", turn: 2 });
    expect(typesIn(await readLog(client, run.id))).toEqual(RAN);
    expect(gitIn(repository, "show", `runyard/${run.id}:two.txt`)).toBe("touched");

    const setup = { commands: [MAKE], cacheKey: "turns" };
    const keyed = await ended(repository, { setup });
    for await (const one of client.snapshots.list()) await client.snapshots.delete(one.id);
    rmSync(home("runs", keyed.run.id), { recursive: true });
    await client.runs.continue(keyed.run.id, "[[third]] Go on");
    expect(await client.runs.waitForEnd(keyed.run.id)).toMatchObject({ status: "completed", setup: { snapshot: null } });
    expect(typesIn(await readLog(client, keyed.run.id))).toEqual([...RAN, "snapshot.kept", ...RAN]);
    expect(gitIn(repository, "show", `runyard/${keyed.run.id}:three.txt`)).toBe("made");
    // It began with the agent's commit, so nobody else begins with it.
    expect((await client.snapshots.list()).data).toEqual([]);
  }, 90_000);

  test("an attempt that follows one whose set-up failed begins with a workspace of its own", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = newRepository();
    const commands = ["mkdir deps && exit 3"];
    const failed = await ended(repository, { setup: { commands } });
    expect(failed.run.error?.type).toBe("setup-failed");
    await line.client.runs.continue(failed.run.id, "Go on");
    const again = await line.client.runs.waitForEnd(failed.run.id);
    // Another exit code would say that the folder was there already.
    expect(again).toMatchObject({ turn: 2, status: "failed", error: { type: "setup-failed" } });
    expect(again.error?.message).toContain("exit code 3");
  }, 60_000);

  test("it reaches the hosts that the run may reach and no other, and what it was refused is in the log", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = newRepository();
    const settings = { egress: ["*.through.invalid"] };
    const let_ = await ended(repository, { settings, setup: { commands: [`${ASK} let.through.invalid:443`], cacheKey: "egress" } });
    expect(let_.run).toMatchObject({ status: "completed", setup: { snapshot: { hit: false } } });
    const refused = await ended(repository, { settings, setup: { commands: [`${ASK} other.invalid:443`] } });
    expect(refused.run.error?.message).toMatch(/ended with exit code 1[\s\S]*answered 403$/);
    expect(refused.log.flatMap((event) => (event.type === "egress.denied" ? [event.data.target] : []))).toEqual(["other.invalid:443"]);
    const none = await ended(repository, { setup: { commands: ["env | grep -ci proxy; getent hosts example.com || exit 9"] } });
    expect(none.run.error?.message).toMatch(/exit code 9[\s\S]*0$/);
    // What tells the way to the gateway is a secret, too.
    const leak = await ended(repository, {
      settings,
      setup: { commands: ["mkdir deps; echo $HTTPS_PROXY > deps/npmrc"], cacheKey: "leak" },
    });
    const notices = leak.log.flatMap((event) => (event.type === "notice" ? [event.data.message] : []));
    expect(notices.join("\n")).toContain("[gateway token] stands in workspace/deps/npmrc");
  }, 90_000);

  test("without isolation, and where the agent may not write", async () => {
    await line.serve([{ run: "cat deps/a ~/tool" }, { say: "Done." }]);
    const repository = newRepository();
    const setup = { commands: [`(setsid sleep ${NAP} &); ${MAKE}`], cacheKey: "process" };
    const settings = { sandboxDriver: "process" } as const;
    for (const hit of [false, true])
      expect((await ended(repository, { setup, settings, permissionPolicy: { ask: [] } })).run).toMatchObject({
        status: "completed",
        setup: { snapshot: { hit } },
      });
    expect(processesWith(`\0${NAP}\0`)).toEqual([]);
    const readOnly = await ended(repository, { setup, settings: { permissions: ["read", "execute"] } });
    expect(readOnly.run).toMatchObject({ status: "completed", setup: { snapshot: { hit: false } } });
    expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain("made");
  }, 60_000);

  test("what nobody has used for as long as it is kept goes, and a set-up that was given to a run by the command line is kept", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = newRepository();
    const words = ["run", "Do it", "--repo", repository, "--setup", MAKE, "--setup-cache-key", "kept", "--json"];
    const { setup } = JSON.parse((await line.home.cli(words)).stdout) as Run;
    const dir = home("snapshots", setup?.snapshot?.id ?? "");
    expect(existsSync(dir)).toBe(true);
    expect((await line.home.cli(["snapshots"])).stdout).toContain(setup?.snapshot?.id);
    await line.restart({ RUNYARD_KEEP_SNAPSHOTS: "0" });
    await expect.poll(() => existsSync(dir), { timeout: 20_000 }).toBe(false);
    expect(await line.home.cli(["snapshots"])).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("no snapshot") as string,
    });
    expect((await line.home.cli(["snapshots", "show", setup?.snapshot?.id ?? ""])).code).not.toBe(0);
  }, 60_000);
});
