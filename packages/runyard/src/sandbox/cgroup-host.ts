import path from "node:path";

/** A mounted hierarchy of control groups. */
export interface CgroupMount {
  readonly version: 1 | 2;
  /** Version 1: what it controls. Version 2 tells in `cgroup.controllers`. */
  readonly controllers: readonly string[];
  readonly mountPoint: string;
  /** The group that is mounted there; `/` but for containers. */
  readonly root: string;
}

/** Undoes the octal escapes of mountinfo. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/** Reads `/proc/self/mountinfo`. */
export function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of mountinfo.split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root, mountPoint] = left.split(" ");
    const [type, , options = ""] = right.split(" ");
    if (root === undefined || mountPoint === undefined || (type !== "cgroup" && type !== "cgroup2")) continue;
    const where = { mountPoint: unescapeMount(mountPoint), root: unescapeMount(root) };
    if (type === "cgroup2") mounts.push({ version: 2, controllers: [], ...where });
    else mounts.push({ version: 1, controllers: options.split(",").filter((word) => word !== "rw" && word !== "ro"), ...where });
  }
  return mounts;
}

/** Reads `/proc/self/cgroup`: the own group by controller; version 2 under the empty name. */
export function parseOwnGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match) for (const controller of match[1]!.split(",")) groups.set(controller, match[2]!);
  }
  return groups;
}

/** Where the group `own` is found on disk: below its mount, less what the mount leaves out; at its top, when it is not there. */
export function groupDirectory(mount: CgroupMount, own: string): string {
  const relative = path.relative(mount.root, own);
  const isElsewhere = own.startsWith("/..") || relative.startsWith("..");
  return isElsewhere ? mount.mountPoint : path.resolve(mount.mountPoint, relative);
}

export const CPU_PERIOD_US = 100_000;
const MIN_CPU_QUOTA_US = 1_000;

/** Microseconds of processor time in each period for a number of processors. */
export function cpuQuotaUs(cpus: number): number {
  return Math.max(MIN_CPU_QUOTA_US, Math.round(cpus * CPU_PERIOD_US));
}

/** A share of the processors can be no more than the host has. */
export function clampCpus(cpus: number | null, hostCpus: number): number | null {
  return cpus === null ? null : Math.min(cpus, hostCpus);
}

/** The count behind a key such as `oom_kill` in a control group's file of `key value` lines; 0 where there is none. */
export function readCounter(text: string, key: string): number {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${key} `));
  return line === undefined ? 0 : Number(line.slice(key.length + 1)) || 0;
}
