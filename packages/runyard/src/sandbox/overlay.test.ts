import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { diskUsage } from "./disk-usage.ts";
import type { Launch, SandboxSpec } from "./driver.ts";
import { sandboxDriver } from "./drivers.ts";
import { killRunDirectory } from "./kill.ts";
import { livingHolder, overlaySupport, seenFromOutside, upperOf, whileShown } from "./overlay.ts";
import { isSameProcess, makeRunDirectory } from "./run-directory.ts";
import { runStep, type StepResult } from "./step.ts";
import { type Lab, openLab, waitFor } from "./testing/lab.ts";
import { type HeldOverlay, holdOverlay } from "./testing/overlaid.ts";
import { processesWith } from "./testing/processes.ts";

const bwrap = sandboxDriver("bwrap");
const support = await overlaySupport(realpathSync(tmpdir()));
const reason = (await bwrap.probe()).reason ?? (support.available ? null : support.reason);
/** Nobody of this machine. */
const STRANGER = 54_321;
const isRoot = process.getuid?.() === 0;

/** What could be written through to what lies below, were it not kept apart. */
const ATTACK = `exec 2>&1
echo new >file; echo more >>dir/deep; : >dir/empty; chmod 777 dir dir/deep; touch -d @1 dir/other
ln dir/linked second; echo through >second; mv dir/moved elsewhere; rm -rf gone; mkdir gone; ln -s /etc/passwd gone/link
mv folder renamed || mv folder/* .
mknod whiteout c 0 0
cat >attack.py <<'END'
import mmap, os
def tried(act):
    try: act()
    except OSError as error: print("refused:", error.strerror)
fd = os.open("mapped", os.O_RDWR)
view = mmap.mmap(fd, 4); view[0:4] = b"evil"; view.flush()
tried(lambda: os.setxattr("dir", "user.overlay.opaque", b"y"))
tried(lambda: os.setxattr("dir", "user.overlay.redirect", b"/../../outside"))
tried(lambda: os.setxattr("dir", "trusted.overlay.redirect", b"/../../outside"))
tried(lambda: os.mknod("second-whiteout", 0o20600, 0))
END
python3 attack.py
mount -o remount,rw /workspace; umount /workspace
exit 0`;

/** Processes that stand in a folder. */
function holdersIn(dir: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`) === dir;
    } catch {
      return false; // gone, or another user's
    }
  });
}

/** Everything below a folder: names, kinds, rights, times, links and contents. */
function portrait(dir: string): string {
  const script = 'cd "$1" && find . -printf "%p %y %m %n %s %T@ %C@ %i %l\\n" | sort && find . -type f -exec sha256sum {} + | sort';
  return execFileSync("/bin/sh", ["-c", script, "sh", dir], { encoding: "utf8" });
}

const whose = [
  { name: "the server's own user", asStranger: false },
  ...(isRoot ? [{ name: "an ordinary user, where this one is root", asStranger: true }] : []),
];

describe.each(whose)("an overlay of $name", { timeout: 60_000 }, ({ asStranger }) => {
  beforeEach(({ skip }) => skip(reason !== null, reason ?? ""));
  let lab: Lab;
  beforeEach(async () => {
    lab = await openLab("overlay");
    if (asStranger) chmodSync(lab.root, 0o711);
  });
  afterEach(() => lab.close());

  const disguised = (launch: Launch): Launch => {
    if (!asStranger) return launch;
    const words = ["/usr/bin/setpriv", `--reuid=${STRANGER}`, `--regid=${STRANGER}`, "--clear-groups", "--"];
    return { ...launch, argv: [...words, ...launch.argv], join: [] };
  };
  const give = (dir: string): void => void (asStranger && execFileSync("chown", ["-R", `${STRANGER}:${STRANGER}`, dir]));
  async function start(launch: Launch): Promise<string> {
    const dir = lab.newDir();
    makeRunDirectory(dir, disguised(launch), {});
    if (asStranger) chownSync(dir, STRANGER, STRANGER);
    await lab.spawner.start(dir);
    return dir;
  }

  async function hold(): Promise<
    HeldOverlay & { readonly spec: SandboxSpec; readonly lower: string; readonly run: (script: string) => Promise<StepResult> }
  > {
    const spec = lab.newSpec([]);
    const { workspace } = spec.dirs;
    for (const dir of ["dir", "folder", "gone"]) mkdirSync(path.join(workspace, dir));
    for (const file of ["file", "mapped", "dir/deep", "dir/empty", "dir/other", "dir/linked", "dir/moved", "folder/inside", "gone/file"])
      writeFileSync(path.join(workspace, file), `${file} of before\n`);
    const held = await holdOverlay(lab, workspace, { start, notes: asStranger ? "user" : null, prepare: give });
    give(path.dirname(workspace));
    const run = async (script: string): Promise<StepResult> => {
      const { launch } = await lab.prepare(bwrap, {
        ...spec,
        argv: ["/bin/sh", "-c", script],
        env: { PATH: "/usr/bin:/bin" },
        enter: held.enter,
      });
      return runStep({ spawner: lab.spawner, dir: lab.newDir(), launch: disguised(launch), timeoutMs: 20_000 });
    };
    return { ...held, spec, run, lower: `${workspace}.lower` };
  }

  it("keeps everything below as it is, whatever is tried; steps that come one after the other see one workspace", async () => {
    const { run, lower, spec, overlay } = await hold();
    const before = portrait(lower);
    const attacked = await run(ATTACK);
    expect(attacked.code).toBe(0);
    expect(portrait(lower)).toBe(before);
    expect(attacked.stdout).toMatch(/mknod.*not permitted[\s\S]*refused: Operation not permitted\nrefused: Operation not permitted/);
    const seen = await run(
      "cat file dir/deep dir/linked second elsewhere; head -c 4 mapped; ls -d gone/*; test -e folder && echo there; exit 3",
    );
    expect(seen).toMatchObject({
      code: 3,
      stdout: "new\ndir/deep of before\nmore\nthrough\nthrough\ndir/moved of before\nevilgone/link\n",
    });
    expect(readdirSync(spec.dirs.workspace)).toEqual([]);
    expect(readFileSync(path.join(upperOf(overlay), "file"), "utf8")).toBe("new\n");
  });

  it("is what the attack is held off by: in a plain folder it changes everything", async () => {
    const spec = lab.newSpec(["/bin/sh", "-c", "echo new >file; chmod 777 file"], { env: { PATH: "/usr/bin:/bin" } });
    writeFileSync(path.join(spec.dirs.workspace, "file"), "before\n");
    const before = portrait(spec.dirs.workspace);
    expect((await lab.run(bwrap, spec)).code).toBe(0);
    expect(portrait(spec.dirs.workspace)).not.toBe(before);
  });

  it("is seen from outside while it is held, and shown where nobody holds it, with what was removed gone", async () => {
    const { run, overlay, holder } = await hold();
    await run("rm file; rm -r gone; echo new >added");
    const pid = livingHolder(overlay);
    if (pid === null) throw new Error("nobody holds it");
    expect(readdirSync(seenFromOutside(pid, overlay)).sort()).toEqual(["added", "dir", "folder", "mapped"]);
    await killRunDirectory(holder);
    expect([isSameProcess(pid), livingHolder(overlay)]).toEqual([false, null]);
    if (asStranger || !support.available) return; // it can be shown to its own user only
    const shown = await whileShown(support.means, overlay, async (place) => {
      expect(() => writeFileSync(path.join(place, "added"), "")).toThrow(/EROFS/);
      return readdirSync(place).sort();
    });
    expect(shown).toEqual(["added", "dir", "folder", "mapped"]);
  });

  it("is not entered once its holder is dead: nothing runs in the empty folder below it", async () => {
    const { run, holder, spec } = await hold();
    expect((await run("echo in")).stdout).toBe("in\n");
    await killRunDirectory(holder);
    const late = await run("echo in; echo x >stray");
    expect(late).toMatchObject({ code: 96, stdout: "" });
    expect(late.stderr).toContain("what holds the workspace is gone");
    expect(existsSync(path.join(spec.dirs.workspace, "stray"))).toBe(false);
  });
});

describe("what an overlay takes of the disk", () => {
  it("is what was written, with files that were removed and are open still, and nothing of what lies below", async ({ skip }) => {
    skip(reason !== null, reason ?? "");
    const lab = await openLab("overlay-disk");
    try {
      const spec = lab.newSpec([]);
      writeFileSync(path.join(spec.dirs.workspace, "below"), Buffer.alloc(8 << 20, 1));
      const { overlay, enter } = await holdOverlay(lab, spec.dirs.workspace);
      const nap = String(40_000_000 + process.pid);
      const script = `cat below >/dev/null; head -c 1048576 /dev/zero >kept; exec 9>gone; head -c 2097152 /dev/zero >&9; rm gone; exec sleep ${nap}`;
      const { launch } = await lab.prepare(bwrap, { ...spec, argv: ["/bin/sh", "-c", script], env: { PATH: "/usr/bin:/bin" }, enter });
      await lab.start(launch);
      const sleeper = await waitFor(() => processesWith(`\0${nap}\0`).at(-1) ?? null);
      const pid = livingHolder(overlay);
      if (pid === null) throw new Error("nobody holds it");
      const question = { paths: [path.dirname(upperOf(overlay))], holders: () => [sleeper], signal: new AbortController().signal };
      const { bytes } = await diskUsage({ ...question, alsoOn: () => [seenFromOutside(pid, overlay)] });
      expect(bytes).toBeGreaterThanOrEqual(3 << 20);
      expect(bytes).toBeLessThan(4 << 20);
      expect((await diskUsage(question)).bytes).toBeLessThan(2 << 20); // the control: it lies on a file system of its own
    } finally {
      await lab.close();
    }
  });
});

describe("whether there are overlays", () => {
  it("is found out by really mounting one: a place that cannot be written has none, and nothing is left behind", async ({ skip }) => {
    skip(reason !== null, reason ?? "");
    const lab = await openLab("overlay-probe");
    try {
      const root = realpathSync(lab.root);
      const before = readdirSync(root);
      expect(await overlaySupport(root)).toMatchObject({ available: true });
      expect(readdirSync(root)).toEqual(before);
      expect(await overlaySupport(path.join(root, "nowhere"))).toMatchObject({ available: false });
    } finally {
      await lab.close();
    }
  });

  it("leaves nothing behind for long where who finds it out is killed in the middle", async ({ skip }) => {
    skip(reason !== null, reason ?? "");
    const lab = await openLab("overlay-probe");
    try {
      const module = new URL("overlay.ts", import.meta.url).href;
      const program = `import(${JSON.stringify(module)}).then(({ overlaySupport }) => overlaySupport(${JSON.stringify(lab.root)}))`;
      const isOver = (node: ChildProcess): boolean => node.exitCode !== null || node.signalCode !== null;
      const begun = (): string | null =>
        readdirSync(lab.root).find((name) => processesWith(path.join(lab.root, name)).length > 0 && name.startsWith(".overlay-")) ?? null;
      const stopInTheMiddle = async (): Promise<string> => {
        const node = spawn(process.execPath, ["--import", "tsx", "--conditions=runyard-source", "-e", program], { stdio: "ignore" });
        const left = await waitFor(() => begun() ?? (isOver(node) ? "" : null));
        node.kill("SIGSTOP");
        const isHeld = (): boolean => existsSync(path.join(lab.root, left, "ready"));
        await waitFor(() => left === "" || isHeld() || !existsSync(path.join(lab.root, left)));
        const held = holdersIn(path.join(lab.root, left)).length;
        node.kill("SIGKILL");
        await waitFor(() => isOver(node));
        return held === 1 ? left : stopInTheMiddle(); // it was over before it was stopped
      };
      const left = await stopInTheMiddle();
      await waitFor(() => holdersIn(path.join(lab.root, left)).length === 0);
      const long = new Date(Date.now() - 3_600_000);
      utimesSync(path.join(lab.root, left), long, long);
      expect(await overlaySupport(lab.root)).toMatchObject({ available: true });
      expect(readdirSync(lab.root)).not.toContain(left);
    } finally {
      await lab.close();
    }
  });
});
