import { NO_LIMITS } from "./cgroup-grant.ts";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readMembers, readOutOfMemoryKills } from "./cgroup.ts";
import { clampCpus, cpuQuotaUs, groupDirectory, parseCgroupMounts, parseOwnGroups, readCounter } from "./cgroup-host.ts";
import { makeCgroups } from "./cgroup-make.ts";
import { chooseBase, settingsV2 } from "./cgroup-v2.ts";
import type { Launch } from "./driver.ts";
import { killRunDirectory } from "./kill.ts";
import { readExitCode, readShimPid } from "./run-directory.ts";
import { type Lab, openLab, waitFor } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";

const MIB = 1 << 20;

describe("what the kernel says about control groups", () => {
  it("is read where each controller has a hierarchy of its own", () => {
    const mounts = parseCgroupMounts(
      [
        "22 1 253:0 / / rw,relatime - ext4 /dev/vda rw",
        "30 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct",
        "31 22 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
        "32 22 0:28 /docker/ab\\040c /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
        "33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        "",
      ].join("\n"),
    );
    expect(mounts).toEqual([
      { version: 1, controllers: ["cpu", "cpuacct"], mountPoint: "/sys/fs/cgroup/cpu,cpuacct", root: "/" },
      { version: 1, controllers: ["name=systemd"], mountPoint: "/sys/fs/cgroup/systemd", root: "/" },
      { version: 1, controllers: ["pids"], mountPoint: "/sys/fs/cgroup/pids", root: "/docker/ab c" },
      { version: 2, controllers: [], mountPoint: "/sys/fs/cgroup/unified", root: "/" },
    ]);
  });

  it("is read for the own group of every controller", () => {
    const groups = parseOwnGroups("9:name=systemd:/\n4:cpu,cpuacct:/user.slice\n3:memory:/a:b\n0::/user.slice/x.service\n");
    expect(Object.fromEntries(groups)).toEqual({
      "name=systemd": "/",
      cpu: "/user.slice",
      cpuacct: "/user.slice",
      memory: "/a:b",
      "": "/user.slice/x.service",
    });
  });

  it("leads to directories, also where a container sees a part", () => {
    const mount = { version: 1, controllers: ["pids"], mountPoint: "/sys/fs/cgroup/pids", root: "/" } as const;
    expect(groupDirectory(mount, "/a/b")).toBe("/sys/fs/cgroup/pids/a/b");
    expect(groupDirectory({ ...mount, root: "/docker/x" }, "/docker/x/y")).toBe("/sys/fs/cgroup/pids/y");
    expect(groupDirectory({ ...mount, root: "/docker/x" }, "/docker/x")).toBe("/sys/fs/cgroup/pids");
    expect(groupDirectory({ ...mount, root: "/docker/x" }, "/docker/xy")).toBe("/sys/fs/cgroup/pids");
    expect(groupDirectory(mount, "/../other")).toBe("/sys/fs/cgroup/pids");
  });

  it("counts", () => {
    expect(readCounter("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill")).toBe(3);
    expect(readCounter("low 0\nhigh 0\noom 2\noom_kill 1\noom_group_kill 0\n", "oom_kill")).toBe(1);
    expect(readCounter("", "oom_kill")).toBe(0);
  });
});

describe("limits", () => {
  it("of processors are a share of what the host has", () => {
    expect(clampCpus(4, 2)).toBe(2);
    expect(clampCpus(0.5, 2)).toBe(0.5);
    expect(clampCpus(null, 2)).toBeNull();
    expect(cpuQuotaUs(1.5)).toBe(150_000);
    expect(cpuQuotaUs(0.000_1)).toBe(1_000);
  });

  it("are written as version 2 takes them, for the controllers that were handed on", () => {
    const limits = { memoryBytes: 64 * MIB, cpus: 0.5, pids: 100, diskBytes: 1 };
    expect(settingsV2(limits, ["cpu", "memory", "pids"])).toEqual({
      settings: [
        ["memory.max", "67108864"],
        ["memory.swap.max", "0"],
        ["pids.max", "100"],
        ["cpu.max", "50000 100000"],
      ],
      granted: { ...limits, diskBytes: null },
    });
    expect(settingsV2(limits, ["pids"])).toEqual({ settings: [["pids.max", "100"]], granted: { ...NO_LIMITS, pids: 100 } });
    expect(settingsV2(NO_LIMITS, ["cpu", "memory", "pids"])).toEqual({ settings: [], granted: NO_LIMITS });
  });
});

describe("the group below which version 2 makes others", () => {
  const top = "/sys/fs/cgroup";
  const choose = (own: string, ...writable: string[]): string | null =>
    chooseBase(path.join(top, own), top, (group) => writable.includes(path.relative(top, group)));

  it("is the highest that this user may write", () => {
    const user = "user.slice/user@1000.service";
    expect(choose(`${user}/app.slice/x.scope`, `${user}/app.slice/x.scope`, `${user}/app.slice`, user)).toBe(`${top}/${user}`);
    expect(choose("system.slice/runyard.service", "system.slice/runyard.service")).toBe(`${top}/system.slice/runyard.service`);
    expect(choose("a/b", "a/b", "a", "")).toBe(top);
    expect(choose("", "")).toBe(top);
  });

  it("is none where this user may not move what runs already", () => {
    expect(choose("user.slice/session-1.scope", "user.slice")).toBeNull();
    expect(choose("a/b/c", "a/b/c", "a")).toBe(`${top}/a/b/c`);
  });
});

describe("the control groups of a run", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("cgroup");
  });
  afterAll(() => lab.close());

  const launchOf = (script: string, join: readonly string[]): Launch => ({
    argv: ["sh", "-c", script],
    env: { PATH: process.env["PATH"] ?? "" },
    args: [],
    join,
  });

  it("hold shim, pumps and command from their first moment, below one parent", async ({ skip }) => {
    const limits = { memoryBytes: 64 * MIB, cpus: 0.5, pids: 100, diskBytes: null };
    const { join, granted } = makeCgroups(`test-${process.pid}-members`, limits);
    if (join.length === 0) skip("this machine lets this user make no control groups");
    expect(granted).toEqual(limits);
    expect(join.map((file) => path.basename(path.dirname(path.dirname(file))))).toEqual(join.map(() => "runyard"));
    const dir = await lab.start(launchOf("exec sleep 100", join));
    await waitFor(() => readMembers(dir).length === 4);
    expect(readMembers(dir)).toContain(readShimPid(dir)!.pid);
    const quota = join.map((file) => path.join(path.dirname(file), "cpu.cfs_quota_us")).find((file) => existsSync(file));
    if (quota !== undefined) expect(readFileSync(quota, "utf8").trim()).toBe("50000");
    await killRunDirectory(dir);
    expect(join.filter((file) => existsSync(file))).toEqual([]);
  });

  it("keep the count of processes that lacked memory, also after they are gone", async ({ skip }) => {
    const { join, granted } = makeCgroups(`test-${process.pid}-oom`, { ...NO_LIMITS, memoryBytes: 32 * MIB });
    if (granted.memoryBytes === null) skip("this machine grants no memory limit to this user");
    const dir = await lab.start(launchOf("head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null; exec sleep 100", join));
    const kills = await waitFor(() => readOutOfMemoryKills(dir) || null);
    expect(readExitCode(dir)).toBeNull(); // the shim, the pumps and the command live on
    await killRunDirectory(dir);
    // The kernel may have ended another one in between.
    expect(readOutOfMemoryKills(dir)).toBeGreaterThanOrEqual(kills);
    expect(readOutOfMemoryKills(lab.newDir())).toBe(0);
  });

  it("of version 2 are ended by one write", async ({ skip }) => {
    const mount = parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")).find(({ version }) => version === 2);
    const group = path.join(mount?.mountPoint ?? "/nonexistent", `runyard-test-${process.pid}`);
    const made = makeGroup(group);
    if (!made) skip("this machine lets this user make no control group of version 2");
    const tag = `11${process.pid}.5`;
    const dir = await lab.start(launchOf(`setsid sleep ${tag} & exec sleep ${tag}`, [path.join(group, "cgroup.procs")]));
    await waitFor(() => processesWith(`sleep\0${tag}`).length === 2);
    expect(readMembers(dir)).toEqual(expect.arrayContaining(processesWith(`sleep\0${tag}`)));
    await killRunDirectory(dir);
    expect(processesWith(tag)).toEqual([]);
    expect(existsSync(group)).toBe(false);
  });

  it("are none where there is no such system, and then nothing is granted", () => {
    expect(() => makeCgroups("a/b", NO_LIMITS)).toThrow("cannot name a control group");
    expect(makeCgroups(`test-${process.pid}-disk`, { ...NO_LIMITS, diskBytes: 1 }).granted.diskBytes).toBeNull();
    removeGroup(`test-${process.pid}-disk`);
  });
});

function makeGroup(group: string): boolean {
  try {
    mkdirSync(group);
    accessSync(path.join(group, "cgroup.kill"), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Removes a group that no run has joined. */
function removeGroup(name: string): void {
  for (const file of makeCgroups(name, NO_LIMITS).join) rmdirSync(path.dirname(file));
}
