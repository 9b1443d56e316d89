import type { Limits } from "@runyard/sdk/contract";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { type CgroupGrant, makeGroup, NO_LIMITS, PARENT_GROUP, type Setting } from "./cgroup-grant.ts";
import { type CgroupMount, CPU_PERIOD_US, cpuQuotaUs, groupDirectory, parseOwnGroups } from "./cgroup-host.ts";

function memorySettings(parent: string, bytes: number): Setting[] {
  const settings: Setting[] = [["memory.limit_in_bytes", String(bytes)]];
  const swap = "memory.memsw.limit_in_bytes"; // memory and swap together: no swap on top
  return existsSync(path.join(parent, swap)) ? [...settings, [swap, String(bytes)]] : settings;
}

function cpuSettings(cpus: number): Setting[] {
  return [
    ["cpu.cfs_period_us", String(CPU_PERIOD_US)],
    ["cpu.cfs_quota_us", String(cpuQuotaUs(cpus))],
  ];
}

/** Where groups of a controller are made: below this process's own group, or at the top where that is not seen. */
function baseOf(mounts: readonly CgroupMount[], controller: string): string | null {
  const mount = mounts.find((candidate) => candidate.controllers.includes(controller));
  if (mount === undefined) return null;
  const own = groupDirectory(mount, parseOwnGroups(readFileSync("/proc/self/cgroup", "utf8")).get(controller) ?? "/");
  return existsSync(own) ? own : mount.mountPoint;
}

/** Makes a group in the hierarchy of each controller. */
export function makeGroupsV1(mounts: readonly CgroupMount[], name: string, limits: Limits): CgroupGrant {
  const join: string[] = [];
  const make = (controller: string, settings: (parent: string) => readonly Setting[]): boolean => {
    const base = baseOf(mounts, controller);
    if (base === null) return false;
    const group = path.join(base, PARENT_GROUP, name);
    if (!makeGroup(group, settings(base))) return false;
    // Not `cgroup.procs`: moving a whole process waits for a lock of the whole machine, moving oneself (one thread) does not.
    const tasks = path.join(group, "tasks");
    if (!join.includes(tasks)) join.push(tasks);
    return true;
  };
  const { memoryBytes, pids, cpus } = limits;
  // The pids group is made without a limit too: it is how the run is ended for certain.
  const hasPids = make("pids", () => (pids === null ? [] : [["pids.max", String(pids)]]));
  const hasMemory = memoryBytes !== null && make("memory", (parent) => memorySettings(parent, memoryBytes));
  const hasCpus = cpus !== null && make("cpu", () => cpuSettings(cpus));
  make("cpuacct", () => []); // counts; on most machines it is the group of `cpu`
  const granted = { ...NO_LIMITS, pids: hasPids ? pids : null, memoryBytes: hasMemory ? memoryBytes : null, cpus: hasCpus ? cpus : null };
  return { join, granted };
}
