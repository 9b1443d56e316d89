import type { Limits } from "@runyard/sdk/contract";
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { type CgroupGrant, makeGroup, NO_LIMITS, NOTHING_GRANTED, PARENT_GROUP, type Setting, writeSetting } from "./cgroup-grant.ts";
import { type CgroupMount, CPU_PERIOD_US, cpuQuotaUs, groupDirectory, parseOwnGroups } from "./cgroup-host.ts";

/** Version 2 allows no processes beside child groups: those of a group that was delegated to this server move here. */
const OWN_LEAF = "runyard-host";
const CONTROLLERS = ["memory", "pids", "cpu"];

function readWords(group: string, file: string): string[] {
  return readFileSync(path.join(group, file), "utf8")
    .split(/\s+/)
    .filter((word) => word !== "");
}

function isWritable(group: string): boolean {
  try {
    accessSync(path.join(group, "cgroup.procs"), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The group below which runs may get theirs, or null: the highest one above (or at) a process's own up to
 * which this user may move processes. Between it and the own group all must be writable, for a process can
 * be moved only within a tree that is.
 */
export function chooseBase(own: string, top: string, mayWrite: (group: string) => boolean): string | null {
  let base: string | null = null;
  for (let group = own; ; group = path.dirname(group)) {
    if (!mayWrite(group)) return base;
    base = group;
    if (group === top || path.dirname(group) === group) return base;
  }
}

function parentPid(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

/** True when a group holds this server and what it started, and not also who started it: a shell, a terminal. */
function isOurs(pids: readonly number[]): boolean {
  for (let pid = parentPid(process.pid); pid > 0; pid = parentPid(pid)) if (pids.includes(pid)) return false;
  return true;
}

/** Moves the processes out of a group that stand in the way of child groups; false where they are not ours to move. */
function emptyBase(base: string, top: string): boolean {
  if (!existsSync(path.join(base, "cgroup.type"))) return true; // the root of all may hold both
  const pids = readWords(base, "cgroup.procs").filter((pid) => pid !== "0");
  if (pids.length === 0) return true;
  if (base !== top && !isOurs(pids.map(Number))) return false;
  const leaf = path.join(base, OWN_LEAF);
  mkdirSync(leaf, { recursive: true });
  for (const pid of pids) {
    try {
      writeSetting(leaf, ["cgroup.procs", pid]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  return true;
}

/** Hands on to the children of a group what it has of the controllers that limits need. */
function handOn(group: string): void {
  const handedOn = readWords(group, "cgroup.subtree_control");
  for (const controller of readWords(group, "cgroup.controllers")) {
    if (CONTROLLERS.includes(controller) && !handedOn.includes(controller))
      writeSetting(group, ["cgroup.subtree_control", `+${controller}`]);
  }
}

/** Settings of a group, for the controllers that it has. */
export function settingsV2(limits: Limits, controllers: readonly string[]): { settings: Setting[]; granted: Limits } {
  const settings: Setting[] = [];
  const granted = { ...NO_LIMITS };
  if (limits.memoryBytes !== null && controllers.includes("memory")) {
    // Not memory.oom.group: the shim is in the group too, and has to tell how the command ended.
    settings.push(["memory.max", String(limits.memoryBytes)], ["memory.swap.max", "0"]);
    granted.memoryBytes = limits.memoryBytes;
  }
  if (limits.pids !== null && controllers.includes("pids")) {
    settings.push(["pids.max", String(limits.pids)]);
    granted.pids = limits.pids;
  }
  if (limits.cpus !== null && controllers.includes("cpu")) {
    settings.push(["cpu.max", `${cpuQuotaUs(limits.cpus)} ${CPU_PERIOD_US}`]);
    granted.cpus = limits.cpus;
  }
  return { settings, granted };
}

/** This process's own group; where it was moved into our leaf before, the one that was delegated. */
function ownGroup(mount: CgroupMount): string {
  const own = groupDirectory(mount, parseOwnGroups(readFileSync("/proc/self/cgroup", "utf8")).get("") ?? "/");
  return path.basename(own) === OWN_LEAF ? path.dirname(own) : own;
}

/** Makes one group for a run, below what was delegated to this user. */
export function makeGroupV2(mount: CgroupMount, name: string, limits: Limits): CgroupGrant {
  const base = chooseBase(ownGroup(mount), mount.mountPoint, isWritable);
  if (base === null || !emptyBase(base, mount.mountPoint)) return NOTHING_GRANTED;
  const parent = path.join(base, PARENT_GROUP);
  mkdirSync(parent, { recursive: true });
  handOn(base);
  handOn(parent);
  const group = path.join(parent, name);
  if (!makeGroup(group, [])) return NOTHING_GRANTED;
  const { settings, granted } = settingsV2(limits, readWords(group, "cgroup.controllers"));
  const known = settings.filter(([file]) => existsSync(path.join(group, file))); // swap is not counted everywhere
  return makeGroup(group, known) ? { join: [path.join(group, "cgroup.procs")], granted } : NOTHING_GRANTED;
}
