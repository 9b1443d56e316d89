import { NO_LIMITS } from "./cgroup-grant.ts";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCgroups } from "./cgroup-make.ts";
import type { Launch } from "./driver.ts";
import { InWriter } from "./journal.ts";
import { killRunDirectory } from "./kill.ts";
import { removeTree } from "./remove-tree.ts";
import { isSameProcess, isShimAlive, makeRunDirectory, readExitCode, readShimPid } from "./run-directory.ts";
import { SHIM_PROGRAM, waitFor, waitForFile } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";
import { findProgram } from "./toolchains.ts";

const PATH = process.env["PATH"] ?? "";
const SHELLS: readonly (readonly string[])[] = [["dash"], ["bash", "--posix"], ["busybox", "sh"]];

function launchOf(argv: readonly string[], changes: Partial<Launch> = {}): Launch {
  return { argv, env: { PATH }, args: [], join: [], ...changes };
}

/** The same protocol under every shell that may be a system's sh. */
for (const [name = "", ...flags] of SHELLS) {
  const shell = findProgram(name, PATH.split(":"));

  describe.skipIf(shell === null)(`the shim under ${name}${shell === null ? " (skipped: it is not installed)" : ""}`, () => {
    let root: string;
    let count = 0;
    const dirs: string[] = [];

    beforeAll(() => {
      root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-shim-")));
    });
    afterAll(async () => {
      for (const dir of dirs) await killRunDirectory(dir);
      removeTree(root);
    });

    function make(launch: Launch): string {
      const dir = path.join(root, `${(count += 1)} it's`);
      dirs.push(dir);
      makeRunDirectory(dir, launch, {});
      return dir;
    }

    /** Starts the shim as the spawner does: in a session of its own, with PATH as its environment. */
    function startShim(dir: string): Promise<number | null> {
      const child = spawn(shell ?? name, [...flags, SHIM_PROGRAM, dir, "reset"], { detached: true, stdio: "ignore", env: { PATH } });
      return new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    }

    async function run(launch: Launch): Promise<{ dir: string; code: number; out: string; err: string }> {
      const dir = make(launch);
      void startShim(dir);
      await waitFor(() => readShimPid(dir) !== null || readExitCode(dir) !== null);
      const writer = InWriter.open(dir);
      writer?.closeStdin();
      const code = await waitFor(() => (readExitCode(dir) === null ? null : { code: readExitCode(dir)! }));
      await waitFor(() => !isShimAlive(dir));
      writer?.close();
      const read = (file: string): string => (existsSync(path.join(dir, file)) ? readFileSync(path.join(dir, file), "utf8") : "");
      return { dir, code: code.code, out: read("out"), err: read("err") };
    }

    it("keeps what the command said and how it ended", async () => {
      const result = await run(launchOf(["sh", "-c", "cat; echo out; echo err >&2; exit 42"]));
      expect(result).toMatchObject({ code: 42, out: "out\n", err: "err\n" });
    });

    it("is not disturbed by anything that the command's environment holds", async () => {
      const marker = path.join(root, "marker");
      const script = path.join(root, "evil.sh");
      writeFileSync(script, `: >'${marker}'\n`);
      const evil = {
        PATH: "/nonexistent",
        LD_PRELOAD: "/nonexistent.so",
        IFS: "0123456789",
        ENV: script,
        BASH_ENV: script,
        CDPATH: "/",
        PS4: "$(id)",
      };
      const own = {
        reset: `touch ${marker}`,
        hit: "1",
        rc: "5",
        child: "1",
        outp: "1",
        inp: "1",
        group: "1",
        start: "x",
        boot: "x",
        stat: "x",
        r: "9",
      };
      const result = await run(launchOf(["/usr/bin/env"], { env: { ...evil, ...own, LAST: 'it\'s "1"\n$(id) `id`' } }));
      const lines = result.out.split("\n");
      for (const [key, value] of Object.entries({ ...evil, ...own })) expect(lines).toContain(`${key}=${value}`);
      expect(result.code).toBe(0);
      expect(existsSync(marker)).toBe(false);
    });

    it("starts a program whose name has a = in it", async () => {
      const program = path.join(root, "a=b");
      writeFileSync(program, "#!/bin/sh\necho ran\n", { mode: 0o755 });
      expect(await run(launchOf([program]))).toMatchObject({ code: 0, out: "ran\n" });
    });

    it("gives the file args as descriptor 9, and no other descriptor of its own", async () => {
      const list = "for fd in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$fd ] && echo $fd; done; tr '\\0' '|' <&9";
      const result = await run(launchOf(["sh", "-c", list], { args: ["one", "t wo", ""] }));
      expect(result.out).toBe("9\none|t wo||");
    });

    it("has the whole output in the journal before it says how the command ended", async () => {
      for (let round = 0; round < 5; round += 1) {
        const dir = make(launchOf(["sh", "-c", "head -c 3000000 /dev/zero"]));
        void startShim(dir);
        await waitFor(() => readExitCode(dir) !== null);
        expect(statSync(path.join(dir, "out")).size).toBe(3_000_000);
      }
    });

    it("does not wait for ever for a leftover that holds stdout, and ends it", async () => {
      const tag = `4${process.pid}${count}.5`;
      const result = await run(launchOf(["sh", "-c", `sleep ${tag} & echo said`]));
      expect(result).toMatchObject({ code: 0, out: "said\n" });
      await waitFor(() => processesWith(tag).length === 0);
    });

    it("ends the command on TERM, and says so", async () => {
      const dir = make(launchOf(["sh", "-c", "trap '' TERM; echo up; read -r never"]));
      void startShim(dir);
      const pid = await waitFor(() => readShimPid(dir));
      expect(isSameProcess(pid)).toBe(true);
      await waitForFile(path.join(dir, "out"));
      process.kill(pid.pid, "SIGTERM");
      await waitFor(() => !isShimAlive(dir));
      expect(readExitCode(dir)).toBe(137);
      expect(isSameProcess(pid)).toBe(false);
    });

    it("is seen to be dead when it was killed, and has then written no exit status", async () => {
      const dir = make(launchOf(["sleep", "100"]));
      void startShim(dir);
      const pid = await waitFor(() => readShimPid(dir));
      expect(isShimAlive(dir)).toBe(true);
      process.kill(pid.pid, "SIGKILL");
      await waitFor(() => !isShimAlive(dir));
      expect(readExitCode(dir)).toBeNull();
      expect(isSameProcess(pid)).toBe(false);
      await killRunDirectory(dir);
    });

    it("is seen to be dead when it was killed while its pumps still waited for each other", async () => {
      for (let round = 0; round < 6; round += 1) {
        const dir = make(launchOf(["sleep", "100"]));
        const child = spawn(shell ?? name, [...flags, SHIM_PROGRAM, dir, "reset"], { detached: true, stdio: "ignore", env: { PATH } });
        // Killed at different moments behind the making of the fifos, which the pumps open in turn.
        while (!existsSync(path.join(dir, "stdout"))) await new Promise((resolve) => setImmediate(resolve));
        for (let turn = 0; turn < round; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        child.kill("SIGKILL");
        expect(await waitFor(() => !isShimAlive(dir))).toBe(true);
      }
    });

    it("does nothing in a directory that was started before", async () => {
      const result = await run(launchOf(["sh", "-c", "echo once"]));
      expect(await startShim(result.dir)).toBe(0);
      expect(readFileSync(path.join(result.dir, "out"), "utf8")).toBe("once\n");
    });

    it("starts once when two shims come at the same time", async () => {
      const dir = make(launchOf(["sh", "-c", "echo once"]));
      await Promise.all([startShim(dir), startShim(dir), startShim(dir)]);
      expect(readExitCode(dir)).toBe(0);
      expect(readFileSync(path.join(dir, "out"), "utf8")).toBe("once\n");
    });

    describe("that cannot start", () => {
      async function refusal(dir: string): Promise<{ code: number | null; err: string; pid: unknown }> {
        await startShim(dir);
        const err = path.join(dir, "err");
        return { code: readExitCode(dir), err: existsSync(err) ? readFileSync(err, "utf8") : "", pid: readShimPid(dir) };
      }

      it("says that a control group is gone", async () => {
        const dir = make(launchOf(["true"], { join: ["/sys/fs/cgroup/runyard-none/cgroup.procs"] }));
        const { code, err, pid } = await refusal(dir);
        expect({ code, pid }).toEqual({ code: 97, pid: null });
        expect(err).toContain("the control group /sys/fs/cgroup/runyard-none/cgroup.procs cannot be joined");
      });

      it("says which of the command's files is missing", async () => {
        for (const file of ["cmd", "join"]) {
          const dir = make(launchOf(["true"]));
          rmSync(path.join(dir, file));
          const { code, err } = await refusal(dir);
          expect(code).toBe(96);
          expect(err).toContain(`its file ${file} cannot be read`);
        }
      });

      it("says that its directory cannot be set up", async () => {
        const dir = make(launchOf(["true"]));
        mkdirSync(path.join(dir, "bell"));
        const { code, err } = await refusal(dir);
        expect(code).toBe(97);
        expect(err).toContain("the run directory cannot be set up");
      });

      it("says that it cannot fork", async ({ skip }) => {
        if (name === "bash") skip("bash goes on trying for 15 seconds");
        const { join, granted } = makeCgroups(`test-fork-${process.pid}-${name}`, { ...NO_LIMITS, pids: 1 });
        if (granted.pids === null) skip("this machine grants no limit of processes to this user");
        const dir = make(launchOf(["true"], { join }));
        const { code, err } = await refusal(dir);
        expect(code).toBe(97);
        expect(err).toMatch(/fork/i);
        await killRunDirectory(dir);
      });

      it("says so on a full disk too", async ({ skip }) => {
        // A disk of its own for the shim, in a mount namespace; the run directory is copied into it and then it is filled.
        const dir = make(launchOf(["sh", "-c", "echo ran"]));
        const script = `
          mount -t tmpfs -o size=64k none "$1/mnt" || { echo no mount; exit; }
          cp -r "$2" "$1/mnt/run"; shift 2
          cat /dev/zero >"$root/mnt/fill" 2>/dev/null
          env -i PATH="$PATH" setsid "$@" "$root/mnt/run" </dev/null >/dev/null 2>&1
          cat "$root/mnt/run/exit"; cat "$root/mnt/run/err"; cat "$root/mnt/run/out"`;
        mkdirSync(path.join(root, "mnt"), { recursive: true });
        const user = process.getuid!() === 0 ? [] : ["-Ur"];
        const words = [...user, "-m", "sh", "-c", script, "sh", root, dir, shell ?? name, ...flags, SHIM_PROGRAM];
        const child = spawn("unshare", words, { env: { PATH, root }, stdio: ["ignore", "pipe", "inherit"] });
        let said = "";
        child.stdout.on("data", (data: Buffer) => (said += data.toString()));
        await new Promise((resolve) => child.once("close", resolve));
        if (said === "" || said.startsWith("no mount")) skip("this user may not mount a file system of its own");
        expect(said).toMatch(/^97 +\n/);
        expect(said).not.toContain("ran");
      });
    });
  });
}
