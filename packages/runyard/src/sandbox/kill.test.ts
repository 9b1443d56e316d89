import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Launch, SandboxDriver } from "./driver.ts";
import { sandboxDriver } from "./drivers.ts";
import { killRunDirectory } from "./kill.ts";
import { isShimAlive, makeRunDirectory, readExitCode, readPidFile, readShimPid } from "./run-directory.ts";
import { type Lab, openLab, waitFor, waitForFile } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";

const ROUNDS = 30;
const launchOf = (script: string): Launch => ({ argv: ["sh", "-c", script], env: { PATH: process.env["PATH"] ?? "" }, args: [], join: [] });

const bwrap = sandboxDriver("bwrap");
const { reason } = await bwrap.probe();

describe("the certain kill", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("kill");
  });
  afterAll(() => lab.close());

  async function expectNothingLeft(driver: SandboxDriver, withCgroups: boolean): Promise<void> {
    const tag = `8${process.pid}${driver.name.length}${withCgroups ? 1 : 2}`;
    const dirs: string[] = [];
    const killOne = async (round: number): Promise<void> => {
      const { launch } = await lab.prepare(driver, lab.newSpec(["sh", "-c", `sleep ${tag}.5 & exec sleep ${tag}.5`]));
      const dir = await lab.start(withCgroups ? launch : { ...launch, join: [] });
      await sleep((round * 14) / ROUNDS);
      await killRunDirectory(dir);
      dirs.push(dir);
    };
    for (let round = 0; round < ROUNDS; round += 5) await Promise.all([0, 1, 2, 3, 4].map((lane) => killOne(round + lane)));
    await sleep(300); // what had slipped through would be up by now
    expect(processesWith(`sleep\0${tag}`)).toEqual([]);
    expect(dirs.filter(isShimAlive)).toEqual([]);
  }

  it("leaves nothing 0 to 14 ms after the start of a plain command", () => expectNothingLeft(sandboxDriver("process"), true));
  it("leaves nothing of a plain command without control groups", () => expectNothingLeft(sandboxDriver("process"), false));
  it("ends what has let go of its pipes, its place and its parents, without control groups; and nobody else", async () => {
    const tag = `7${process.pid}`;
    const begin = async (nap: string, more: (home: string) => Record<string, string>): Promise<string> => {
      const free = `cd / && exec setsid sleep ${nap} >/dev/null 2>&1 </dev/null`;
      const spec = lab.newSpec(["sh", "-c", `(${free}) & exec sleep 0.2`]);
      const { launch } = await lab.prepare(sandboxDriver("process"), { ...spec, env: more(spec.dirs.home) });
      return lab.start({ ...launch, join: [] });
    };
    const dir = await begin(`${tag}.5`, (home) => ({ HOME: home, PATH: "/usr/bin:/bin" }));
    const other = await begin(`${tag}.6`, (home) => ({ HOME: home, PATH: "/usr/bin:/bin" }));
    await waitFor(() => processesWith(`sleep\0${tag}`).length === 2 && !isShimAlive(dir) && !isShimAlive(other));
    await killRunDirectory(dir);
    expect([processesWith(`sleep\0${tag}.5`).length, processesWith(`sleep\0${tag}.6`).length]).toEqual([0, 1]);
    await killRunDirectory(other);
    expect(processesWith(`sleep\0${tag}`)).toEqual([]);
  });
  it("looks only at what began after the run, whatever that was given", async () => {
    const tag = `6${process.pid}`;
    const spec = lab.newSpec(["sh", "-c", `(cd / && exec setsid sleep ${tag}.6 >/dev/null 2>&1 </dev/null) & exec sleep 0.2`]);
    const env = { HOME: spec.dirs.home, PATH: "/usr/bin:/bin" };
    const before = spawn("sleep", [`${tag}.5`], { env, stdio: "ignore" });
    await waitFor(() => processesWith(`sleep\0${tag}.5`).length === 1);
    await sleep(50); // the kernel counts starts in hundredths of a second
    const { launch } = await lab.prepare(sandboxDriver("process"), { ...spec, env });
    const dir = await lab.start({ ...launch, join: [] });
    await waitFor(() => processesWith(`sleep\0${tag}.6`).length === 1 && !isShimAlive(dir));
    await killRunDirectory(dir);
    expect([processesWith(`sleep\0${tag}.5`).length, processesWith(`sleep\0${tag}.6`).length]).toEqual([1, 0]);
    before.kill("SIGKILL");
  });

  describe.skipIf(reason !== null)(`of a sandbox${reason === null ? "" : ` (skipped: ${reason})`}`, () => {
    it("leaves nothing 0 to 14 ms after the start", () => expectNothingLeft(bwrap, true));
    it("leaves nothing without control groups", () => expectNothingLeft(bwrap, false));
  });

  it("ends a command whose request has not been read yet: it never starts", async () => {
    const spawner = readPidFile(path.join(lab.spawnerDir, "pid"))!;
    process.kill(spawner.pid, "SIGSTOP");
    const dir = lab.newDir();
    makeRunDirectory(dir, launchOf("echo ran"), {});
    const refusal = lab.spawner.start(dir).then(
      () => "started",
      (error: unknown) => String(error),
    );
    await killRunDirectory(dir);
    process.kill(spawner.pid, "SIGCONT");
    expect(await refusal).toContain("it was ended before it began");
    await lab.start(launchOf("true")); // the door is read in order
    expect(readShimPid(dir)).toBeNull();
    expect(existsSync(path.join(dir, "out"))).toBe(false);
  });

  it("ends what a dead shim left behind", async () => {
    const tag = `9${process.pid}.5`;
    const dir = await lab.start(launchOf(`echo up; exec sleep ${tag}`));
    await waitForFile(path.join(dir, "out"));
    await waitFor(() => processesWith(`sleep\0${tag}`).length === 1);
    process.kill(readShimPid(dir)!.pid, "SIGKILL");
    await waitFor(() => !isShimAlive(dir));
    expect(processesWith(`sleep\0${tag}`)).toHaveLength(1); // the control: it does not end by itself
    await killRunDirectory(dir);
    expect(processesWith(tag)).toEqual([]);
  });

  it("can be repeated, and comes after the end too", async () => {
    const dir = await lab.start(launchOf("exit 6"));
    await waitFor(() => readExitCode(dir) !== null);
    for (let i = 0; i < 2; i += 1) await killRunDirectory(dir);
    expect(readExitCode(dir)).toBe(6);
    await killRunDirectory(path.join(lab.root, "nothing"));
  });

  it("is done where somebody else ends the same and removes it meanwhile, as who watches a shell does", async () => {
    const dir = await lab.start(launchOf(":"));
    await waitFor(() => readExitCode(dir) !== null);
    const killing = killRunDirectory(dir);
    rmSync(dir, { recursive: true });
    await killing;
    expect(existsSync(dir)).toBe(false);
  });
  it("does not touch who only reads, nor runs whose directory has a longer name", async () => {
    const tag = `10${process.pid}`;
    const base = path.join(lab.newDir(), "x");
    mkdirSync(path.dirname(base));
    const dirs = [base, `${base}y`];
    for (const dir of dirs) {
      makeRunDirectory(dir, launchOf(`echo up; exec sleep ${tag}.5`), {});
      await lab.spawner.start(dir);
      await waitForFile(path.join(dir, "out"));
    }
    const reader = await lab.start(launchOf(`exec tail -f '${base}/out'`));
    await waitForFile(path.join(reader, "out"));
    await killRunDirectory(base);
    expect(isShimAlive(`${base}y`)).toBe(true);
    expect(isShimAlive(reader)).toBe(true);
    await killRunDirectory(`${base}y`);
    expect(processesWith(`sleep\0${tag}`)).toEqual([]);
    expect(readdirSync(base)).toContain("exit");
  });
});
