import type { Limits } from "@runyard/sdk/contract";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { readGroupFile } from "./cgroup.ts";
import { clampCpus, CPU_PERIOD_US, cpuQuotaUs, groupDirectory, parseCgroupMounts, parseOwnGroups } from "./cgroup-host.ts";
import type { CgroupMount } from "./cgroup-host.ts";

/** Control groups that were made for a run, and the limits that they enforce. */
export interface CgroupGrant {
  /** Files that the shim joins. */
  readonly join: readonly string[];
  readonly granted: Limits;
}

const PARENT = "runyard";
/** Version 2 allows no processes beside child groups: the server's own move here. */
const OWN_LEAF = "runyard-host";
const NOTHING: Limits = { memoryBytes: null, cpus: null, pids: null, diskBytes: null };

type Setting = readonly [file: string, value: string];

function write(group: string, [file, value]: Setting): void {
  writeFileSync(path.join(group, file), value, { flag: "r+" });
}

/** Makes a group with its settings; false (and nothing left) where that is not allowed here. */
function makeGroup(group: string, settings: readonly Setting[]): boolean {
  try {
    mkdirSync(group, { recursive: true });
    for (const setting of settings) write(group, setting);
    return true;
  } catch {
    try {
      rmdirSync(group);
    } catch {
      // was never made
    }
    return false;
  }
}

function memorySettingsV1(parent: string, bytes: number): Setting[] {
  const settings: Setting[] = [["memory.limit_in_bytes", String(bytes)]];
  const swap = "memory.memsw.limit_in_bytes"; // memory and swap together: no swap on top
  return existsSync(path.join(parent, swap)) ? [...settings, [swap, String(bytes)]] : settings;
}

function makeV1(mounts: readonly CgroupMount[], name: string, limits: Limits): CgroupGrant {
  const own = parseOwnGroups(readFileSync("/proc/self/cgroup", "utf8"));
  const join: string[] = [];
  const make = (controller: string, settings: (parent: string) => readonly Setting[]): boolean => {
    const mount = mounts.find((candidate) => candidate.controllers.includes(controller));
    if (mount === undefined) return false;
    const wanted = groupDirectory(mount, own.get(controller) ?? "/");
    const parent = existsSync(wanted) ? wanted : mount.mountPoint;
    const group = path.join(parent, PARENT, name);
    if (!makeGroup(group, settings(parent))) return false;
    // Not `cgroup.procs`: moving a whole process waits for a lock of the whole machine, moving oneself (one thread) does not.
    join.push(path.join(group, "tasks"));
    return true;
  };
  const { memoryBytes, pids, cpus: share } = limits;
  // The pids group is made without a limit too: it is how the run is ended for certain.
  const hasPids = make("pids", () => (pids === null ? [] : [["pids.max", String(pids)]]));
  const hasMemory = memoryBytes !== null && make("memory", (parent) => memorySettingsV1(parent, memoryBytes));
  const quota = (): Setting[] => [
    ["cpu.cfs_period_us", String(CPU_PERIOD_US)],
    ["cpu.cfs_quota_us", String(cpuQuotaUs(share ?? 0))],
  ];
  const hasCpus = share !== null && make("cpu", quota);
  return {
    join,
    granted: { ...NOTHING, pids: hasPids ? pids : null, memoryBytes: hasMemory ? memoryBytes : null, cpus: hasCpus ? share : null },
  };
}

/** Hands controllers on to the children of a group; moves the processes out that stand in the way. */
function delegate(group: string, wanted: readonly string[]): void {
  const offered = new Set(readGroupFile(group, "cgroup.controllers").trim().split(" "));
  const handedOn = new Set(readGroupFile(group, "cgroup.subtree_control").trim().split(" "));
  const missing = wanted.filter((controller) => offered.has(controller) && !handedOn.has(controller));
  if (missing.length === 0) return;
  const isRoot = !existsSync(path.join(group, "cgroup.type"));
  if (!isRoot) emptyInto(group, path.join(group, OWN_LEAF));
  for (const controller of missing) write(group, ["cgroup.subtree_control", `+${controller}`]);
}

function emptyInto(group: string, leaf: string): void {
  const pids = readGroupFile(group, "cgroup.procs")
    .split("\n")
    .filter((line) => line !== "" && line !== "0");
  if (pids.length === 0) return;
  mkdirSync(leaf, { recursive: true });
  for (const pid of pids) {
    try {
      write(leaf, ["cgroup.procs", pid]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Settings of a version 2 group, for the controllers that it has. */
export function settingsV2(limits: Limits, controllers: readonly string[]): { settings: Setting[]; granted: Limits } {
  const has = (controller: string): boolean => controllers.includes(controller);
  const settings: Setting[] = [];
  const granted = { ...NOTHING };
  if (limits.memoryBytes !== null && has("memory")) {
    settings.push(["memory.max", String(limits.memoryBytes)], ["memory.swap.max", "0"]);
    granted.memoryBytes = limits.memoryBytes;
  }
  if (limits.pids !== null && has("pids")) {
    settings.push(["pids.max", String(limits.pids)]);
    granted.pids = limits.pids;
  }
  if (limits.cpus !== null && has("cpu")) {
    settings.push(["cpu.max", `${cpuQuotaUs(limits.cpus)} ${CPU_PERIOD_US}`]);
    granted.cpus = limits.cpus;
  }
  return { settings, granted };
}

/** The group below which runs get theirs: the one that was delegated to this server. */
function baseV2(mount: CgroupMount): string {
  const own = groupDirectory(mount, parseOwnGroups(readFileSync("/proc/self/cgroup", "utf8")).get("") ?? "/");
  const base = path.basename(own) === OWN_LEAF ? path.dirname(own) : own;
  return existsSync(base) ? base : mount.mountPoint;
}

function makeV2(mount: CgroupMount, name: string, limits: Limits): CgroupGrant {
  const base = baseV2(mount);
  const parent = path.join(base, PARENT);
  const wanted = ["memory", "pids", "cpu"];
  accessSync(path.join(base, "cgroup.procs"), constants.W_OK); // else it was not delegated
  mkdirSync(parent, { recursive: true });
  delegate(base, wanted);
  delegate(parent, wanted);
  const group = path.join(parent, name);
  const { settings, granted } = settingsV2(limits, readGroupFile(parent, "cgroup.subtree_control").trim().split(" "));
  if (!makeGroup(group, withSwap(parent, settings))) return { join: [], granted: NOTHING };
  return { join: [path.join(group, "cgroup.procs")], granted };
}

/** Kernels without swap accounting lack the file. */
function withSwap(parent: string, settings: readonly Setting[]): Setting[] {
  const hasSwap = existsSync(path.join(parent, "memory.swap.max"));
  return settings.filter(([file]) => hasSwap || file !== "memory.swap.max");
}

/**
 * Makes the control groups of a run as far as this machine lets this user: version 1 where its
 * controllers are mounted, else version 2. What could not be had is null in `granted`; disk always is.
 */
export function makeCgroups(name: string, limits: Limits): CgroupGrant {
  if (!/^[A-Za-z0-9_-]{1,200}$/.test(name)) throw new Error(`${JSON.stringify(name)} cannot name a control group`);
  const wanted = { ...limits, cpus: clampCpus(limits.cpus, cpus().length) };
  try {
    const mounts = parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8"));
    const v1 = mounts.filter((mount) => mount.version === 1);
    if (v1.some((mount) => mount.controllers.includes("pids") || mount.controllers.includes("memory"))) return makeV1(v1, name, wanted);
    const v2 = mounts.find((mount) => mount.version === 2);
    return v2 === undefined ? { join: [], granted: NOTHING } : makeV2(v2, name, wanted);
  } catch {
    return { join: [], granted: NOTHING }; // not allowed here, or no such system
  }
}
