import { chownSync, readlinkSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EngineKind, type TestEngine, whyNoTestEngine } from "../../testing/container-engine.ts";
import { type ContainerJob, dockerDriver } from "../docker-driver.ts";
import { askEngine } from "../docker-engine.ts";
import { removeStrayContainers } from "../docker-remove.ts";
import type { SandboxDriver } from "../driver.ts";
import { InWriter } from "../journal.ts";
import { killRunDirectory } from "../kill.ts";
import { isShimAlive, readExitCode } from "../run-directory.ts";
import { testDriver } from "./driver-contract.ts";
import { type EngineDriver, openEngineDriver } from "./engine-driver.ts";
import { type Lab, openLab, waitFor, waitForFile } from "./lab.ts";
import { processesWith } from "./processes.ts";
import { ASK_ALL, readAnswers, REFUSALS } from "./system-calls.ts";

/** What the driver `docker` keeps with an engine that is there: the contract of all drivers, and what is of containers alone. */
export function testEngine(kind: EngineKind): void {
  const unavailable = whyNoTestEngine(kind);
  let opened: EngineDriver;
  const driver: SandboxDriver = {
    ...dockerDriver({ containerProgram: "", containerNode: "", homeId: "" }),
    prepare: (spec) => opened.driver.prepare(spec),
  };
  let engine: TestEngine;
  let home: string;
  beforeAll(async () => {
    if (unavailable !== null) return;
    opened = await openEngineDriver(kind);
    ({ engine, homeId: home } = opened);
  });
  afterAll(() => opened?.close());

  testDriver(driver, { isolates: true, whyNot: unavailable, adds: ["HOME", "HOSTNAME", "OF_IMAGE", "TERM", "container"] });

  describe.skipIf(unavailable !== null)(`containers${unavailable === null ? "" : ` (skipped: ${unavailable})`}`, () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await openLab("containers");
    });
    afterAll(() => lab.close());

    const containers = async (): Promise<string[]> => {
      const { body } = await askEngine({ socketPath: engine.socketPath }, { method: "GET", path: "/containers/json?all=1" });
      return (body as { Id: string }[]).map(({ Id }) => Id);
    };
    const start = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> =>
      lab.start((await lab.prepare(driver, lab.newSpec(argv, { env }))).launch);

    it("have no rights, and nothing of the host's", async () => {
      const script = `grep -E "^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp):" /proc/self/status; touch /etc/x /usr/x /run/runyard/x; echo 0 >/proc/sys/kernel/core_pattern
        ls /run | grep -v podman-init; ls /sys/class/net; mount -t tmpfs x /mnt; unshare -Ur true; [ -e "$1" ] && echo found; echo end`;
      const { stdout } = await lab.run(driver, lab.newSpec(["sh", "-c", script, "sh", lab.root]));
      const none = "0000000000000000";
      const status = ["CapPrm", "CapEff", "CapBnd", "CapAmb"].map((name) => `${name}:\t${none}`);
      expect(stdout.split("\n")).toEqual([...status, "NoNewPrivs:\t1", "Seccomp:\t2", "runyard", "lo", "end", ""]);
    });

    it.runIf(process.arch === "x64")("may ask the kernel for no more than other sandboxes", async () => {
      expect(readAnswers((await lab.run(driver, lab.newSpec(ASK_ALL))).stdout)).toEqual(REFUSALS);
      const { launch } = await lab.prepare(driver, lab.newSpec(ASK_ALL));
      const job = JSON.parse(launch.args[0]!) as ContainerJob;
      const dir = await lab.start({ ...launch, args: [JSON.stringify({ ...job, syscalls: null })] }); // the control: the engine's own filter
      await waitFor(() => readExitCode(dir) !== null);
      expect(readAnswers(await waitForFile(path.join(dir, "out"))).get("a socket to the host of a virtual machine")).not.toBe(
        "EAFNOSUPPORT",
      );
    });

    it("are the user who owns the workspace", async () => {
      const spec = lab.newSpec(["sh", "-c", "id -u; id -g; touch file"]);
      for (const dir of Object.values(spec.dirs)) chownSync(dir, 1234, 567);
      expect((await lab.run(driver, spec)).stdout).toBe("1234\n567\n");
      expect(statSync(path.join(spec.dirs.workspace, "file"))).toMatchObject({ uid: 1234, gid: 567 });
    });

    it("give and take as much as is written, in order, and no faster than it is read", async () => {
      const dir = await start(["sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x; sleep 1; wc -c >&2"]);
      const writer = await waitFor(() => InWriter.open(dir));
      writer.write("y".repeat(20_000_000), 0);
      writer.closeStdin();
      await waitFor(() => readExitCode(dir) !== null);
      writer.close();
      expect(statSync(path.join(dir, "out")).size).toBe(30_000_000);
      expect((await waitForFile(path.join(dir, "err"))).trim()).toBe("20000000");
    });

    it("show nobody else on this machine what they are given", async () => {
      const secret = `secret-${process.pid}`;
      const dir = await start(["sh", "-c", "echo up; sleep 600"], { TOKEN: secret });
      await waitForFile(path.join(dir, "out"));
      expect(processesWith(secret)).toEqual([]);
      await killRunDirectory(dir);
    });

    it("go with their run directory, whenever that is ended", async () => {
      const round = async (ms: number): Promise<void> => {
        const dir = await start(["sh", "-c", "sleep 600"]);
        await sleep(ms);
        await killRunDirectory(dir);
        expect(isShimAlive(dir)).toBe(false);
      };
      for (const ms of [0, 20, 40, 60, 90, 130, 180, 250]) await round(ms);
      expect(await containers()).toEqual([]);
    });

    it("whose program was killed have no end that is known, and are cleared away as strays; the others live on", async () => {
      const [lost, living] = [await start(["sh", "-c", "echo up; sleep 600"]), await start(["sh", "-c", "echo up; sleep 600"])];
      for (const dir of [lost, living]) await waitForFile(path.join(dir, "out"));
      const address = { socketPath: engine.socketPath, apiVersion: "1.41" };
      expect(await removeStrayContainers(address, home)).toEqual([]);
      const program = processesWith("container.mjs").find((pid) => isIn(pid, lost));
      process.kill(program!, "SIGKILL");
      await waitFor(() => !isShimAlive(lost));
      expect(readExitCode(lost)).toBeNull();
      expect(await containers()).toHaveLength(2);
      expect(await removeStrayContainers(address, "another home")).toEqual([]);
      expect(await removeStrayContainers(address, home)).toHaveLength(1);
      expect(isShimAlive(living)).toBe(true);
      for (const dir of [lost, living]) await killRunDirectory(dir);
      expect(await containers()).toEqual([]);
    });

    it("that are made again take the place of those that have their name", async () => {
      const { launch } = await lab.prepare(driver, lab.newSpec(["sh", "-c", "echo up; sleep 600"]));
      const first = await lab.start(launch);
      await waitForFile(path.join(first, "out"));
      const again = await lab.start(launch);
      expect(await waitForFile(path.join(again, "out"))).toBe("up\n");
      expect(await containers()).toHaveLength(1);
      for (const dir of [first, again]) await killRunDirectory(dir);
      expect(await containers()).toEqual([]);
    });

    it("that cannot be started say why", async () => {
      const { launch } = await lab.prepare(driver, lab.newSpec(["true"]));
      const job = JSON.parse(launch.args[0]!) as ContainerJob;
      const config = { ...job.config, Image: "registry.invalid/none" };
      const dir = await lab.start({ ...launch, args: [JSON.stringify({ ...job, config })] });
      expect(await waitFor(() => (readExitCode(dir) === null ? null : `${readExitCode(dir)}`))).toBe("126");
      expect(await waitForFile(path.join(dir, "err"))).toMatch(/runyard: The container could not be made: .*registry\.invalid\/none/);
    });

    it("wait for an engine that is away, to be removed", async () => {
      const tag = `4${process.pid}.5`;
      const dir = await start(["sh", "-c", `echo up; exec sleep ${tag}`]);
      await waitForFile(path.join(dir, "out"));
      await engine.crash();
      await waitFor(() => !isShimAlive(dir));
      expect(readExitCode(dir)).toBeNull();
      let isOver = false;
      const killed = killRunDirectory(dir).then(() => (isOver = true));
      await sleep(300);
      expect(isOver).toBe(false);
      await engine.start();
      await killed;
      expect(processesWith(`sleep\0${tag}`)).toEqual([]);
      expect(await containers()).toEqual([]);
    });
  });
}

function isIn(pid: number, dir: string): boolean {
  return readlinkSync(`/proc/${pid}/cwd`) === dir;
}
