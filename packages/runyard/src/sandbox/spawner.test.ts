import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { Launch } from "./driver.ts";
import { sandboxDriver } from "./drivers.ts";
import { isSameProcess, isShimAlive, makeRunDirectory, readExitCode, readPidFile, readShimPid, type ShimPid } from "./run-directory.ts";
import { NotStartedError, openSpawner, stopSpawner } from "./spawner.ts";
import { type Lab, openLab, SHIM_PROGRAM, SPAWNER_PROGRAM, waitFor, waitForFile } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";

const STEP_SERVER = fileURLToPath(new URL("testing/step-server.ts", import.meta.url));
const launchOf = (script: string): Launch => ({ argv: ["sh", "-c", script], env: { PATH: process.env["PATH"] ?? "" }, args: [], join: [] });

/** The control: the server of the test does hold it. */
function isSecretHeld(pid: number | undefined, secret: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/29`) === secret;
  } catch {
    return false;
  }
}

const { available: hasBwrap } = await sandboxDriver("bwrap").probe();

describe("the spawner", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("spawner");
  });
  afterAll(() => lab.close());

  const spawnerPid = (): ShimPid => readPidFile(path.join(lab.spawnerDir, "pid"))!;

  /** To be waited for: while it starts something, a copy of it lives for a moment. */
  const onlySpawnerIs = (pid: ShimPid): boolean => processesWith(lab.spawnerDir).join() === `${pid.pid}`;

  async function killSpawner(): Promise<ShimPid> {
    const pid = spawnerPid();
    process.kill(pid.pid, "SIGKILL");
    await waitFor(() => !isSameProcess(pid));
    return pid;
  }

  it("starts a directory once, however often it is asked", async () => {
    const dir = await lab.start(launchOf("echo once"));
    await waitFor(() => readExitCode(dir) !== null);
    await Promise.all([lab.spawner.start(dir), lab.spawner.start(dir)]);
    expect(readFileSync(path.join(dir, "out"), "utf8")).toBe("once\n");
  });

  // Ten seconds, for which a shim is waited for.
  it.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "tells of a shim that was ended before it could say who it is (in the full tests)",
    async () => {
      const shimProgram = path.join(lab.root, "dead-shim.sh");
      writeFileSync(shimProgram, "kill -9 $$\n");
      const dir = path.join(lab.root, "dead-spawner");
      const spawner = await openSpawner({ dir, spawnerProgram: SPAWNER_PROGRAM, shimProgram });
      onTestFinished(() => stopSpawner(dir));
      const runDir = lab.newDir();
      makeRunDirectory(runDir, launchOf("echo never"), {});
      await expect(spawner.start(runDir)).rejects.toThrow(NotStartedError);
    },
    30_000,
  );

  it("hands on nothing of this process but PATH", async () => {
    const spawner = spawnerPid().pid;
    const names = readFileSync(`/proc/${spawner}/environ`, "utf8")
      .split("\0")
      .map((entry) => entry.split("=")[0]);
    expect(names.filter((name) => name !== "")).toEqual(["PATH"]);
  });

  it("hands on no descriptor that this process was started with", async () => {
    const secret = path.join(lab.root, "secret");
    writeFileSync(secret, "");
    const [dir, spawnerDir] = [lab.newDir(), path.join(lab.root, "other spawner")];
    const list = 'for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink "$fd")"; done';
    const job = { spawner: { dir: spawnerDir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM }, dir, argv: ["sh", "-c", list] };
    const fd = openSync(secret, "r");
    const inherited = Array.from({ length: 30 }, (_, i) => (i === 29 ? fd : "ignore")); // node itself closes the first ones
    const server = spawn(process.execPath, ["--import", "tsx", "--conditions=runyard-source", STEP_SERVER, JSON.stringify(job)], {
      stdio: inherited,
    });
    onTestFinished(async () => {
      server.kill("SIGKILL");
      closeSync(fd);
      await stopSpawner(spawnerDir);
    });
    await waitFor(() => isSecretHeld(server.pid, secret));
    await waitFor(() => readExitCode(dir) !== null);
    const said = readFileSync(path.join(dir, "out"), "utf8");
    expect(said).toContain(`1 ${path.join(dir, "stdout")}`);
    expect(said).not.toContain(secret);
  });

  it("takes paths with spaces and quotes", async () => {
    const dir = path.join(lab.newDir(), ` it's a "dir" \\ $(id) `);
    makeRunDirectory(dir, launchOf("pwd"), {});
    await lab.spawner.start(dir);
    expect(await waitForFile(path.join(dir, "out"))).toBe(`${dir}\n`);
    await waitFor(() => !isShimAlive(dir));
  });

  it("starts a hundred at once", async () => {
    const dirs = await Promise.all(Array.from({ length: 100 }, (_, i) => lab.start(launchOf(`echo ${i}`))));
    for (const [i, dir] of dirs.entries()) {
      await waitFor(() => readExitCode(dir) !== null);
      expect(readFileSync(path.join(dir, "out"), "utf8")).toBe(`${i}\n`);
    }
  });

  it("is replaced when it was killed, and what it had started does not notice", async () => {
    const living = await lab.start(launchOf("read -r line; echo $line"));
    const dead = await killSpawner();
    const dir = await lab.start(launchOf("echo after"));
    expect(await waitForFile(path.join(dir, "out"))).toBe("after\n");
    expect(spawnerPid().pid).not.toBe(dead.pid);
    expect(isShimAlive(living)).toBe(true);
  });

  it("is asked again when it dies with a request that it has not read", async () => {
    const pid = spawnerPid();
    process.kill(pid.pid, "SIGSTOP");
    const dir = lab.newDir();
    makeRunDirectory(dir, launchOf("echo ran"), {});
    const started = lab.spawner.start(dir);
    process.kill(pid.pid, "SIGKILL");
    await started;
    expect(await waitForFile(path.join(dir, "out"))).toBe("ran\n");
  });

  it("is adopted by the next server, and there is one", async () => {
    const before = spawnerPid();
    const next = await openSpawner({ dir: lab.spawnerDir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM });
    expect(spawnerPid()).toEqual(before);
    const dir = lab.newDir();
    makeRunDirectory(dir, launchOf("echo adopted"), {});
    await next.start(dir);
    expect(await waitForFile(path.join(dir, "out"))).toBe("adopted\n");
    await waitFor(() => onlySpawnerIs(before));
  });

  it("gives way to one with the programs of another release, and both servers go on", async () => {
    const before = spawnerPid();
    const shim = path.join(lab.root, "shim.sh");
    writeFileSync(shim, readFileSync(SHIM_PROGRAM));
    const next = await openSpawner({ dir: lab.spawnerDir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: shim });
    await waitFor(() => !isSameProcess(before));
    for (const spawner of [next, lab.spawner]) {
      const dir = lab.newDir();
      makeRunDirectory(dir, launchOf("echo ran"), {});
      await spawner.start(dir);
      expect(await waitForFile(path.join(dir, "out"))).toBe("ran\n");
    }
    await waitFor(() => onlySpawnerIs(spawnerPid()));
  });

  it("tells why a directory cannot start", async () => {
    await expect(lab.spawner.start(path.join(lab.root, "nothing"))).rejects.toThrow("it is not a complete run directory");
    await expect(lab.spawner.start("relative")).rejects.toThrow("its path must be absolute");
    await expect(lab.spawner.start(`/${"x".repeat(5000)}`)).rejects.toThrow("below 4096 bytes");
    const dir = lab.newDir();
    makeRunDirectory(dir, { ...launchOf("true"), join: ["/sys/fs/cgroup/runyard-none/cgroup.procs"] }, {});
    await expect(lab.spawner.start(dir)).rejects.toThrow("the control group /sys/fs/cgroup/runyard-none/cgroup.procs cannot be joined");
    expect(readShimPid(dir)).toBeNull();
  });

  it("tells why it could not be started itself", async () => {
    const broken = path.join(lab.root, "broken.sh");
    writeFileSync(broken, "echo no such luck >&2; exit 5\n");
    const options = { dir: path.join(lab.root, "broken"), spawnerProgram: broken, shimProgram: SHIM_PROGRAM };
    await expect(openSpawner(options)).rejects.toThrow("it ended at once (5): no such luck");
  });

  it.runIf(hasBwrap)("says so where there is no /proc, by which the processes of a run are known", async () => {
    const job = {
      spawner: { dir: path.join(lab.root, "nowhere"), spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM },
      dir: lab.newDir(),
      argv: ["true"],
    };
    const words = [process.execPath, "--import", "tsx", "--conditions=runyard-source", STEP_SERVER, JSON.stringify(job)];
    const server = spawn("bwrap", ["--dev-bind", "/", "/", "--tmpfs", "/proc", "--", ...words], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    server.stderr.on("data", (data: Buffer) => (said += data.toString()));
    const code = await new Promise((resolve) => server.once("close", resolve));
    expect(said).toContain("Runyard starts runs on Linux only");
    expect(code).toBe(1);
  });

  it("ends when it is stopped, and starts nothing any more", async () => {
    const dir = path.join(lab.root, "second spawner");
    const spawner = await openSpawner({ dir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM });
    await spawner.stop();
    expect(processesWith(dir)).toEqual([]);
    const run = lab.newDir();
    makeRunDirectory(run, launchOf("true"), {});
    await expect(spawner.start(run)).rejects.toThrow("was stopped");
  });
});
