import type { Limits } from "@runyard/sdk/contract";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { type CgroupGrant, NOTHING_GRANTED } from "./cgroup-grant.ts";
import { type CgroupMount, clampCpus, parseCgroupMounts } from "./cgroup-host.ts";
import { makeGroupsV1 } from "./cgroup-v1.ts";
import { makeGroupV2 } from "./cgroup-v2.ts";

function readMounts(): CgroupMount[] {
  try {
    return parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8"));
  } catch {
    return []; // not Linux
  }
}

/**
 * Makes the control groups of a run as far as this machine lets this user: version 1 where its
 * controllers are mounted, else version 2. What could not be had is null in `granted`; disk always is.
 */
export function makeCgroups(name: string, limits: Limits): CgroupGrant {
  if (!/^[A-Za-z0-9_-]{1,200}$/.test(name)) throw new Error(`${JSON.stringify(name)} cannot name a control group`);
  const wanted = { ...limits, cpus: clampCpus(limits.cpus, cpus().length) };
  const mounts = readMounts();
  const v1 = mounts.filter(({ version }) => version === 1);
  const v2 = mounts.find(({ version }) => version === 2);
  try {
    if (v1.some(({ controllers }) => controllers.includes("pids") || controllers.includes("memory"))) return makeGroupsV1(v1, name, wanted);
    return v2 === undefined ? NOTHING_GRANTED : makeGroupV2(v2, name, wanted);
  } catch {
    return NOTHING_GRANTED; // not allowed here
  }
}
