import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readOutOfMemoryKills } from "../cgroup.ts";
import { NO_LIMITS } from "../cgroup-grant.ts";
import type { Launch, SandboxDriver } from "../driver.ts";
import { sandboxDriver } from "../drivers.ts";
import { makeRunDirectory } from "../run-directory.ts";
import { runStep } from "../step.ts";
import { killRunDirectory } from "../kill.ts";
import { makeTargets, type Targets } from "./abuse-targets.ts";
import { type Attempt, attemptsOn } from "./attempts.ts";
import { type Lab, openLab, waitFor, waitForFile } from "./lab.ts";
import { processesWith } from "./processes.ts";

const plain = sandboxDriver("process");
const isRoot = process.getuid?.() === 0;

type Trial = Pick<Attempt, "script" | "words" | "changes">;

/** A driver on trial. */
export interface Isolating {
  readonly name: string;
  /** Why it cannot be tried here; null: it can. */
  readonly whyNot: string | null;
  /** Places of the host that are not there inside, and that it has itself. */
  readonly hostPlaces: readonly string[];
  /** Directories besides `/tmp` and the like that are the sandbox's own, in memory. */
  readonly ownPlaces: readonly string[];
  readonly open: (lab: () => Lab) => Promise<{ readonly driver: SandboxDriver; close(): Promise<void> }>;
  /** Where what was in a workspace lies, and what was written there; default: in the workspace. */
  readonly layers?: (workspace: string) => { readonly lower: string; readonly upper: string };
}

/**
 * What an agent must not be able to do in a sandbox. Every attempt aims at decoys of the test, and is made
 * under the driver `process` too, where it must succeed: else it would prove nothing.
 */
export function testAbuse({ name, whyNot, hostPlaces, ownPlaces, open: openDriver, layers }: Isolating): void {
  describe.skipIf(whyNot !== null)(
    `an agent in a sandbox of ${name}${whyNot === null ? "" : ` (skipped: ${whyNot})`}`,
    { timeout: 120_000 },
    () => {
      let lab: Lab;
      let targets: Targets;
      let isolating: SandboxDriver;
      let close: () => Promise<void>;
      const isBwrap = name.startsWith("bwrap");
      const isOverlaid = layers !== undefined;
      const layersOf = layers ?? ((workspace: string) => ({ lower: workspace, upper: workspace }));
      beforeAll(async () => {
        ({ driver: isolating, close } = await openDriver(() => lab));
        lab = await openLab("abuse");
        targets = await makeTargets(lab.root);
      });
      afterAll(async () => {
        await targets.close();
        await lab.close();
        await close();
      });

      it("has the tools by which it is attacked", async () => {
        const tools = "cat chmod grep ln mkfifo mknod mount node perl readlink script socat unshare".split(" ");
        const { said } = await make(isolating, {
          script: 'for tool in "$@"; do command -v "$tool" >/dev/null || echo "no $tool"; done',
          words: tools,
        });
        expect(said).toBe("");
      });

      /** What an attempt printed under a driver, and where. */
      async function make(driver: SandboxDriver, { script, words = [], changes }: Trial): Promise<{ said: string; dir: string }> {
        const { launch } = await lab.prepare(driver, lab.newSpec(["sh", "-c", script, "sh", ...words], changes));
        const dir = lab.newDir();
        const { stdout } = await runStep({ spawner: lab.spawner, dir, launch, timeoutMs: 20_000 });
        return { said: stdout, dir };
      }

      /** The attempt gives the loot without isolation, and does not in the sandbox. */
      async function expectRefused(attempt: Trial, loot: string): Promise<void> {
        expect((await make(isolating, attempt)).said).not.toContain(loot);
        expect((await make(plain, attempt)).said).toContain(loot);
      }

      it("cannot read a file that it was not given", () =>
        expectRefused({ script: 'cat "$1"', words: [targets.secretFile] }, targets.secret));

      it("cannot find the host's home directories, /etc/shadow, or other parts of the host", async () => {
        const script = 'for place in "$@"; do [ -e "$place" ] && echo "found $place"; done';
        const words = [...hostPlaces, "/run/docker.sock", "/run/podman/podman.sock", lab.root];
        const { said } = await make(isolating, { script, words });
        expect(said).toBe("");
        expect((await make(plain, { script, words })).said).toContain(`found ${lab.root}\n`);
      });

      it("cannot read the environment of the host's processes", () =>
        expectRefused(
          { script: "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep DECOY_SECRET" },
          `DECOY_SECRET=${targets.secret}`,
        ));

      it("cannot see the host's processes", async () => {
        await expectRefused({ script: "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep '^sleep-'" }, targets.processWord);
        const { said } = await make(isolating, { script: "ls /proc | grep -c '^[0-9]'" });
        expect(Number(said)).toBeLessThan(8);
      });

      it("cannot read in /proc/1/environ what stands around it was started with", async () => {
        const spec = lab.newSpec(["sh", "-c", "tr '\\0' '\\n' </proc/1/environ; echo end"], {
          env: { PATH: "/usr/bin:/bin", TOKEN: targets.secret },
        });
        const { launch } = await lab.prepare(isolating, spec);
        const run = async (changed: Launch): Promise<string> => {
          const result = await runStep({ spawner: lab.spawner, dir: lab.newDir(), launch: { ...changed, join: [] }, timeoutMs: 20_000 });
          return result.stdout;
        };
        const changed = await run({ ...launch, env: { DECOY_SECRET: targets.secret } });
        // The control: bwrap hands it on. What enters an overlay hands on nothing.
        if (isBwrap && !isOverlaid) expect(changed).toContain(targets.secret);
        else expect(changed).not.toContain(`DECOY_SECRET`);
        if (isBwrap) expect(await run(launch)).toBe("end\n");
      });

      it("keeps its own secrets out of the host's process list", async () => {
        const token = `token-${targets.secret}`;
        const spec = lab.newSpec(["sh", "-c", 'echo "$TOKEN"; exec sleep 100'], { env: { TOKEN: token, PATH: "/usr/bin:/bin" } });
        const { launch } = await lab.prepare(isolating, spec);
        const dir = await lab.start(launch);
        expect(await waitForFile(path.join(dir, "out"))).toBe(`${token}\n`);
        expect(processesWith(token)).toEqual([]);
        if (!isBwrap) {
          await lab.start(
            (await lab.prepare(isolating, { ...spec, argv: ["sh", "-c", "sleep 100", token], name: `${spec.name}-words` })).launch,
          );
          await waitFor(() => processesWith(token).length > 0); // the control: what is a word can be seen
          return;
        }
        const at = launch.argv.indexOf("--args");
        const words = [...launch.argv.slice(0, at), ...launch.args, ...launch.argv.slice(at + 2)];
        await lab.start({ ...launch, argv: words, args: [] }); // the control: the same as plain words
        await waitFor(() => processesWith(token).length > 0);
      });

      it("cannot connect to a server on the host's loopback", () =>
        expectRefused({ script: 'socat -T2 - "TCP:127.0.0.1:$1" </dev/null', words: [`${targets.tcpPort}`] }, targets.secret));

      it("cannot connect to a unix socket of the host, by path or abstract", async () => {
        await expectRefused({ script: 'socat -T2 - "UNIX-CONNECT:$1" </dev/null', words: [targets.socketFile] }, targets.secret);
        await expectRefused({ script: 'socat -T2 - "ABSTRACT-CONNECT:$1" </dev/null', words: [targets.abstractSocket] }, targets.secret);
      });

      it("has no network but loopback", async () => {
        const { said } = await make(isolating, {
          script: "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /proc/net/route | wc -l",
        });
        expect(said).toBe("lo\n1\n");
      });

      it("cannot write outside of workspace and home", async () => {
        const attempt: Trial = {
          script: 'echo x >"$1/file"; mkdir -p "$2" && echo x >"$2/file"; [ -e "$1/file" ] && echo wrote',
          words: [targets.shownDir, path.join(targets.outsideDir, "sub")],
          changes: { mounts: [{ source: targets.shownDir, target: targets.shownDir, mode: "ro" }] },
        };
        expect((await make(isolating, attempt)).said).toBe("");
        expect([readdirSync(targets.shownDir), readdirSync(targets.outsideDir)]).toEqual([[], []]);
        expect((await make(plain, attempt)).said).toBe("wrote\n");
        expect([readdirSync(targets.shownDir), readdirSync(targets.outsideDir)]).toEqual([["file"], ["sub"]]);
      });

      it("cannot write the system's directories, nor anything else but its own", async () => {
        const script =
          'for dir in "$@"; do (: >$dir/runyard-test) 2>/dev/null && echo wrote $dir; done; (: >/tmp/x) && (: >/dev/shm/x) && echo own';
        const places = ["", "/usr", "/usr/bin", "/etc", "/etc/ssl/certs", "/dev", "/proc", "/run", "/run/runyard", "/var", "/home", "/lib"];
        const words = places.filter((place) => !ownPlaces.includes(place));
        expect((await make(isolating, { script, words })).said).toBe("own\n");
      });

      it("cannot mount, nor make namespaces in which it could", async () => {
        const unshare = { script: "unshare -Ur sh -c 'echo got $(id -u)'" };
        await expectRefused(unshare, "got 0");
        await expectRefused({ script: "unshare -U true && echo separated" }, "separated");
        const mount = {
          script: 'unshare "$1" sh -c \'mount -t tmpfs none "$1" && echo mounted\' sh "$2"',
          words: [isRoot ? "-m" : "-Urm", targets.outsideDir],
        };
        await expectRefused(mount, "mounted");
        expect(
          (
            await make(isolating, {
              script:
                "mount -t tmpfs none /tmp; mount -o remount,rw,bind /usr; mount -o remount,rw,bind /proc; umount /proc/irq; mount | grep -c ' / '",
            })
          ).said,
        ).toBe("1\n");
      });

      it.runIf(isRoot)("cannot change the host's kernel settings, though the server is root", () =>
        // Opened for writing, and nothing written.
        expectRefused(
          {
            script:
              "for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/swappiness; do (: >>$file) 2>/dev/null && echo opened; done",
          },
          "opened",
        ),
      );

      it("has no rights of its own, and cannot get any", async () => {
        const { said } = await make(isolating, { script: "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t'" });
        expect(said).toMatch(/^(Cap(Inh|Prm|Eff|Bnd|Amb):0{16}\n){5}NoNewPrivs:1\n$/);
      });

      it("cannot see another run, nor its own run directory", async () => {
        const other = lab.newDir();
        makeRunDirectory(other, { argv: ["true"], env: {}, args: [], join: [] }, { decoy: targets.secret });
        const look =
          'cat "$1/spec.json"; for place in /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/self/fd/*/..; do cat "$place/spec.json"; ls "$place" | grep -x exit; done 2>/dev/null; echo end';
        expect((await make(plain, { script: look, words: [other] })).said).toContain(targets.secret);
        expect((await make(isolating, { script: look, words: [other] })).said).toBe("end\n");
      });

      it("cannot reach the journals of its run by the path that its descriptors show", async () => {
        // The run directory is the one place that its descriptors name.
        const script =
          'dir=$(dirname "$(readlink /proc/self/fd/2)"); for name in in out exit pid cmd; do [ -e "$dir/$name" ] && echo "reached $name"; echo x 2>/dev/null >"$dir/exit"; done; echo end';
        expect((await make(plain, { script })).said).toMatch(/reached in\nreached out\nreached exit\n/);
        const { said, dir } = await make(isolating, { script });
        expect(said).toBe("end\n");
        expect(readFileSync(path.join(dir, "exit"), "utf8")).toMatch(/^0 +\n$/);
      });

      it("cannot truncate its own journal", async () => {
        const script = "echo precious; : >/proc/self/fd/1; : >/dev/stdout; echo more";
        const { dir } = await make(isolating, { script });
        expect(readFileSync(path.join(dir, "out"), "utf8")).toBe("precious\nmore\n");
        // The control: the same with a file as stdout.
        const file = path.join(lab.root, "naive-journal");
        await make(plain, { script: `exec >>"$1"; ${script}`, words: [file] });
        expect(readFileSync(file, "utf8")).toBe("more\n");
      });

      it("cannot leave a way in behind: links in its workspace lead nowhere that it could write", async () => {
        const spec = lab.newSpec(["sh", "-c", 'ln -s "$1" link; echo x >link/file; cat link/../private/secret', "sh", targets.outsideDir]);
        const before = readdirSync(targets.outsideDir);
        const { stdout } = await lab.run(isolating, spec);
        expect(stdout).toBe("");
        expect(readdirSync(targets.outsideDir)).toEqual(before);
      });

      it("does not see the workspace of a run beside it", async () => {
        const shared = lab.newSpec(["true"]);
        writeFileSync(path.join(shared.dirs.workspace, "file"), targets.secret);
        const attempt = { script: 'cat "$1"; ls /home; ls / | tr "\\n" " "', words: [path.join(shared.dirs.workspace, "file")] };
        await expectRefused(attempt, targets.secret);
        expect((await make(isolating, { script: "ls -A /home /workspace /home/agent" })).said).toBe(
          "/home:\nagent\n\n/home/agent:\n\n/workspace:\n",
        );
      });

      it("cannot be talked out of its sandbox by what lies in the workspace", async () => {
        const spec = lab.newSpec(["sh", "-c", "cat /workspace/etc/passwd /etc/passwd"]);
        mkdirSync(path.join(spec.dirs.workspace, "etc"));
        writeFileSync(path.join(spec.dirs.workspace, "etc/passwd"), "mine\n");
        expect((await lab.run(isolating, spec)).stdout).toMatch(/^mine\nroot:x:0:0:root:/);
        expect(existsSync(path.join(layersOf(spec.dirs.workspace).lower, "etc/passwd"))).toBe(true);
      });

      it("fails in every other attempt, each of which succeeds where nothing holds it", async () => {
        for (const attempt of attemptsOn(targets)) {
          const held = await make(isolating, attempt);
          expect([attempt.name, held.said]).toEqual([attempt.name, expect.not.stringContaining(attempt.loot)]);
          if (attempt.asRoot === true && !isRoot) continue;
          const free = await make(plain, attempt);
          expect([attempt.name, free.said]).toEqual([attempt.name, expect.stringContaining(attempt.loot)]);
        }
      });

      it("holds nothing of the host open but its own stdin, stdout and stderr", async () => {
        // What its server was started with is there as /dev/null; 3 is the pipe of `readlink` itself.
        const { said } = await make(isolating, { script: "for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd); done" });
        const open = said
          .trim()
          .split("\n")
          .filter((line) => !line.endsWith(" /dev/null") && !line.startsWith("3 pipe:"));
        expect(open.map((line) => line.slice(0, line.indexOf(" ")))).toEqual(["0", "1", "2"]);
      });

      it("pays with its memory for what it writes into places that are in memory", async ({ skip }) => {
        const script = "for dir in /tmp /var/tmp /dev/shm; do (head -c 100000000 /dev/zero >$dir/big); wc -c <$dir/big; rm $dir/big; done";
        const spec = lab.newSpec(["sh", "-c", script], { limits: { ...NO_LIMITS, memoryBytes: 64 << 20 } });
        const { launch, granted } = await lab.prepare(isolating, spec);
        if (granted.memoryBytes === null) skip("this machine grants no memory limit to this user");
        const dir = lab.newDir();
        const { stdout } = await runStep({ spawner: lab.spawner, dir, launch, timeoutMs: 60_000 });
        expect(stdout).not.toContain("100000000");
        expect(readOutOfMemoryKills(dir)).toBeGreaterThan(0);
        expect((await make(isolating, { script })).said).toBe("100000000\n".repeat(3)); // the control: without the limit
      });

      it.runIf(process.env["RUNYARD_TEST_FULL"])("cannot outgrow its processes with a fork bomb, nor outlive its end", async ({ skip }) => {
        const word = `bomb-${process.pid}`;
        // Each of them goes on for ever, also where there is no room for another one.
        const bomb = ["perl", "-e", "while (1) { defined fork or select undef, undef, undef, 0.1 }", word];
        const { launch, granted } = await lab.prepare(isolating, lab.newSpec(bomb, { limits: { ...NO_LIMITS, pids: 200, cpus: 0.5 } }));
        if (granted.pids === null) skip("this machine grants no limit of processes to this user");
        const dir = await lab.start(launch);
        await waitFor(() => processesWith(word).length > 100);
        expect((await make(isolating, { script: "echo others work" })).said).toBe("others work\n");
        expect(processesWith(word).length).toBeLessThanOrEqual(200);
        await killRunDirectory(dir);
        expect(processesWith(word)).toEqual([]);
      });

      it("leaves nothing on the host that works there as it would for root", async () => {
        const spec = lab.newSpec(["sh", "-c", "cp /usr/bin/id tool && chmod 6755 tool && mkfifo pipe && mknod disk b 254 0; ls"]);
        expect((await lab.run(isolating, spec)).stdout).toBe("pipe\ntool\n");
        // Such a program is of use to who can reach it: the folder of all runs is closed to others (`home.ts`).
        expect(statSync(path.join(layersOf(spec.dirs.workspace).upper, "tool")).uid).toBe(process.getuid!());
      });
    },
  );
}
