import { NO_LIMITS } from "../cgroup-grant.ts";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readOutOfMemoryKills } from "../cgroup.ts";
import type { SandboxDriver } from "../driver.ts";
import { InWriter, OutReader } from "../journal.ts";
import { killRunDirectory } from "../kill.ts";
import { removeTree } from "../remove-tree.ts";
import { readExitCode } from "../run-directory.ts";
import { runStep } from "../step.ts";
import { type Lab, openLab, waitFor } from "./lab.ts";
import { processesWith } from "./processes.ts";

const MIB = 1 << 20;
/** Wants 300 MB and no more: `tail` keeps in memory what it may have to print. */
const MEMORY_HOG = ["sh", "-c", "head -c 300000000 /dev/zero | tail -c 300000000 | wc -c"];
/** Starts 100 processes and no more, and tells how many it got. */
const PROCESS_HOG = `
  const { spawn } = require("node:child_process");
  const children = [];
  let refused = 0, settled = 0;
  const settle = () => {
    if (++settled < 100) return;
    for (const child of children) child.kill("SIGKILL");
    console.log(JSON.stringify({ started: children.length, refused }));
  };
  for (let i = 0; i < 100; i++) {
    try {
      const child = spawn("sleep", ["30"], { stdio: "ignore" });
      child.once("spawn", () => { children.push(child); settle(); });
      child.once("error", () => { refused++; settle(); });
    } catch { refused++; settle(); }
  }`;

/**
 * What every sandbox driver keeps. `isolates`: it also keeps the command from what it was not given;
 * `whyNot`: why it cannot be tried on this machine; `adds`: variables that are always there inside.
 */
export function testDriver(
  driver: SandboxDriver,
  options: { readonly isolates: boolean; readonly whyNot: string | null; readonly adds?: readonly string[] },
): void {
  const { isolates, whyNot, adds = [] } = options;
  describe.skipIf(whyNot !== null)(`the driver ${driver.name}${whyNot === null ? "" : ` (skipped: ${whyNot})`}`, () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await openLab(driver.name);
    });
    afterAll(() => lab.close());

    it("says that it works, and how strongly it isolates", async () => {
      const strength = isolates ? "hard" : "none";
      const { limits: _, ...probe } = await driver.probe();
      expect(probe).toEqual({
        available: true,
        reason: null,
        isolation: { filesystem: strength, network: strength, processes: strength, syscalls: strength },
      });
    });

    it("gives the command exactly the environment of the specification, and PWD", async () => {
      const env = {
        PATH: "/usr/bin:/bin",
        QUOTES: `it's "so" \`x\` $HOME \\`,
        LINES: "one\ntwo\n",
        WORDS: "größe \u{1f980} \u0081",
        EMPTY: "",
      };
      const spec = lab.newSpec(["env", "-0"], { env });
      const { stdout } = await lab.run(driver, spec);
      const got = Object.fromEntries(
        stdout
          .split("\0")
          .filter((entry) => entry !== "")
          .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
      );
      for (const name of adds) delete got[name];
      expect(got).toEqual({ ...env, PWD: driver.pathsInside(spec.dirs).workspace });
    });

    it("finds node on the PATH that it makes where none is given", async () => {
      const spec = lab.newSpec(["sh", "-c", 'exec node -p "process.version"']);
      expect((await lab.run(driver, spec)).stdout.trim()).toBe(process.version);
    });

    it("passes on argument words as they are", async () => {
      const words = ["a b", "it's", '"', "new\nline", "größe", "", "-n", "$(id)", "*", "a=b"];
      const spec = lab.newSpec(["sh", "-c", `printf '%s\\0' "$@"`, "sh", ...words]);
      expect((await lab.run(driver, spec)).stdout.split("\0").slice(0, -1)).toEqual(words);
    });

    it("starts in the workspace", async () => {
      const spec = lab.newSpec(["pwd", "-P"]);
      expect((await lab.run(driver, spec)).stdout).toBe(`${driver.pathsInside(spec.dirs).workspace}\n`);
    });

    it("tells the exit status, and the signal that ended the command", async () => {
      expect((await lab.run(driver, lab.newSpec(["sh", "-c", "exit 7"]))).code).toBe(7);
      expect((await lab.run(driver, lab.newSpec(["sh", "-c", "kill -KILL $$"]))).code).toBe(137);
      expect((await lab.run(driver, lab.newSpec(["/nonexistent/program"]))).code).not.toBe(0);
    });

    it("lets the command be interrupted, as one that was started in the foreground", async () => {
      const { stdout } = await lab.run(driver, lab.newSpec(["sh", "-c", "trap 'echo interrupted' INT; kill -INT $$; echo end"]));
      expect(stdout).toBe("interrupted\nend\n");
    });

    it("makes files that others may read", async () => {
      const spec = lab.newSpec(["sh", "-c", "umask; touch file"]);
      expect((await lab.run(driver, spec)).stdout).toBe("0022\n");
      expect(statSync(path.join(spec.dirs.workspace, "file")).mode & 0o777).toBe(0o644);
    });

    it("carries stdin and stdout through the journals until stdin is closed", async () => {
      const { launch } = await lab.prepare(
        driver,
        lab.newSpec(["sh", "-c", 'while read -r line; do echo "got $line"; done; echo closed; exit 3']),
      );
      const dir = await lab.start(launch);
      const writer = await waitFor(() => InWriter.open(dir));
      const reader = new OutReader(path.join(dir, "out"), 0);
      const read = (): string | null => reader.read().lines.map((line) => ("text" in line ? line.text : "?"))[0] ?? null;
      writer.write("one\n", 0);
      writer.ring();
      expect(await waitFor(read)).toBe("got one");
      writer.write("two\n", 4);
      writer.ring();
      expect(await waitFor(read)).toBe("got two");
      writer.closeStdin();
      expect(await waitFor(read)).toBe("closed");
      expect(await waitFor(() => (readExitCode(dir) === null ? null : `${readExitCode(dir)}`))).toBe("3");
      writer.close();
      reader.close();
    });

    it("lets the command write workspace and home, and the server remove what it wrote", async () => {
      const spec = lab.newSpec([
        "sh",
        "-c",
        'mkdir -p deep/er "$1/deep" && echo w >deep/er/file && echo h >"$1/deep/file" && chmod 500 deep/er "$1/deep"',
        "sh",
      ]);
      const inside = driver.pathsInside(spec.dirs);
      expect((await lab.run(driver, { ...spec, argv: [...spec.argv, inside.home] })).code).toBe(0);
      const written = [path.join(spec.dirs.workspace, "deep/er/file"), path.join(spec.dirs.home, "deep/file")];
      expect(written.map((file) => readFileSync(file, "utf8"))).toEqual(["w\n", "h\n"]);
      expect(written.map((file) => statSync(file).uid)).toEqual(written.map(() => process.getuid!()));
      for (const dir of Object.values(spec.dirs)) removeTree(dir);
      expect(written.some((file) => existsSync(file))).toBe(false);
    });

    it("shows further mounts, for reading or for writing", async () => {
      const [shown, shared] = [path.join(lab.root, "shown dir"), path.join(lab.root, "shared")];
      for (const dir of [shown, shared]) mkdirSync(dir, { recursive: true });
      writeFileSync(path.join(shown, "file"), "shown\n");
      const spec = lab.newSpec(["sh", "-c", 'cat "$1/file" && echo x >"$2/file"', "sh", shown, shared], {
        mounts: [
          { source: shown, target: shown, mode: "ro" },
          { source: shared, target: shared, mode: "rw" },
        ],
      });
      expect(await lab.run(driver, spec)).toMatchObject({ code: 0, stdout: "shown\n", stderr: "" });
      expect(readFileSync(path.join(shared, "file"), "utf8")).toBe("x\n");
    });

    it("leaves nothing alive when it is killed, whatever the command has started", async () => {
      const tag = `3${process.pid}${isolates ? 1 : 2}.25`;
      const script = `setsid sleep ${tag} & (sleep ${tag} & sleep ${tag} &) ; trap '' TERM HUP INT; echo up; while :; do sleep ${tag}; done`;
      const { launch } = await lab.prepare(driver, lab.newSpec(["sh", "-c", script]));
      const dir = await lab.start(launch);
      await waitFor(() => readFileSync(path.join(dir, "out"), "utf8").includes("up") && processesWith(`sleep\0${tag}`).length >= 4);
      await killRunDirectory(dir);
      expect(processesWith(tag)).toEqual([]);
      expect(launch.join.filter((file) => existsSync(path.dirname(file)))).toEqual([]);
    });

    it("enforces the memory that it granted, on two runs at once", async ({ skip }) => {
      const limits = { ...NO_LIMITS, memoryBytes: 64 * MIB };
      const outcomes = await Promise.all(
        [1, 2].map(async () => {
          const { launch, granted } = await lab.prepare(driver, lab.newSpec(MEMORY_HOG, { limits }));
          const dir = lab.newDir();
          const { stdout } = await runStep({ spawner: lab.spawner, dir, launch, timeoutMs: 20_000 });
          return { granted, stdout: stdout.trim(), kills: readOutOfMemoryKills(dir) };
        }),
      );
      if (outcomes.some(({ granted }) => granted.memoryBytes === null)) skip("this machine grants no memory limit to this user");
      for (const { granted, stdout, kills } of outcomes) {
        expect(granted.memoryBytes).toBe(64 * MIB);
        expect(stdout).not.toBe("300000000");
        expect(kills).toBeGreaterThan(0);
      }
      const free = await lab.run(driver, lab.newSpec(MEMORY_HOG)); // the same without a limit
      expect(free.stdout.trim()).toBe("300000000");
    });

    it("enforces the number of processes that it granted", async ({ skip }) => {
      const hog = ["node", "-e", PROCESS_HOG];
      const prepared = await lab.prepare(driver, lab.newSpec(hog, { limits: { ...NO_LIMITS, pids: 64 } }));
      const { stdout } = await runStep({ spawner: lab.spawner, dir: lab.newDir(), launch: prepared.launch, timeoutMs: 20_000 });
      if (prepared.granted.pids === null) skip("this machine grants no limit of processes to this user");
      const { started, refused } = JSON.parse(stdout) as { started: number; refused: number };
      expect(started + refused).toBe(100);
      expect(started).toBeLessThan(64);
      const free = await lab.run(driver, lab.newSpec(hog));
      expect(JSON.parse(free.stdout)).toEqual({ started: 100, refused: 0 });
    });

    it("lets no file become longer than the disk limit, whoever writes it", async () => {
      const script = "head -c 3000000 /dev/zero >file; truncate -s 2M sparse; (exec 3>>file; echo more >&3); wc -c <file; wc -c <sparse";
      const run = async (diskBytes: number | null) => {
        const result = await lab.run(driver, lab.newSpec(["sh", "-c", script], { limits: { ...NO_LIMITS, diskBytes } }));
        return result.stdout.trim().split(/\s+/);
      };
      expect(await run(1 << 20)).toEqual(["1048576", "0"]);
      expect(await run(null)).toEqual(["3000005", "2097152"]); // the control
    });

    it("grants the processors that there are at most, and no disk limit: it is kept by whoever looks how much there is", async ({
      skip,
    }) => {
      const limits = { ...NO_LIMITS, cpus: 10_000, diskBytes: 1 << 30 };
      const { granted, launch } = await lab.prepare(driver, lab.newSpec(["true"], { limits }));
      await killRunDirectory(await lab.start(launch));
      expect(granted.diskBytes).toBeNull();
      if (granted.cpus === null) skip("this machine grants no share of the processors to this user");
      expect(granted.cpus).toBe(cpus().length);
    });

    it("reaches the gateway at the address that it names", async () => {
      const server = createServer((request, response) => response.end(`gateway saw ${request.url}`));
      const door = path.join(lab.root, "door");
      mkdirSync(door, { recursive: true });
      const where = isolates ? { path: path.join(door, "sock") } : { port: 0, host: "127.0.0.1" };
      await new Promise<void>((resolve) => server.listen(where, resolve));
      const port = isolates ? 0 : (server.address() as AddressInfo).port;
      const ask = `fetch(process.argv[1] + "/hello").then((answer) => answer.text()).then((text) => console.log(text, process.env.state, process.env.tries))`;
      const env = { state: "mine", tries: "7" }; // what is done on the way to the command does not show in it
      const spec = lab.newSpec(["node", "-e", ask, driver.gatewayUrl(port)], { gatewayDoorDir: door, env });
      const result = await lab.run(driver, spec);
      server.close();
      expect(result).toMatchObject({ code: 0, stdout: "gateway saw /hello mine 7\n", stderr: "" });
    });

    it("keeps the workspace as it is where it may not be written, or refuses", async () => {
      const spec = lab.newSpec(["sh", "-c", "cat file; echo y >file; rm file; touch new"], { writableWorkspace: false });
      const file = path.join(spec.dirs.workspace, "file");
      writeFileSync(file, "x\n");
      if (isolates) {
        const result = await lab.run(driver, spec);
        expect(result.stdout).toBe("x\n");
        expect(result.code).not.toBe(0);
      } else await expect(driver.prepare(spec)).rejects.toThrow("cannot keep a workspace from being written");
      expect(readdirSync(spec.dirs.workspace)).toEqual(["file"]);
      expect(readFileSync(file, "utf8")).toBe("x\n");
    });

    it("shows files at another place, or refuses", async () => {
      const shown = path.join(lab.root, "elsewhere");
      mkdirSync(shown);
      writeFileSync(path.join(shown, "file"), "moved\n");
      const mounts = [{ source: shown, target: "/opt/place", mode: "ro" as const }];
      const spec = lab.newSpec(["cat", "/opt/place/file"], { mounts });
      if (isolates) expect((await lab.run(driver, spec)).stdout).toBe("moved\n");
      else await expect(driver.prepare(spec)).rejects.toThrow(`cannot show ${shown} as /opt/place`);
    });

    it("refuses a name that is none", async () => {
      await expect(driver.prepare(lab.newSpec(["true"], { name: "../x" }))).rejects.toThrow(/cannot name a (control group|container)/);
    });
  });
}
