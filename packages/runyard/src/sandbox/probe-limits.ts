import { rmdirSync } from "node:fs";
import path from "node:path";
import { makeCgroups } from "./cgroup-make.ts";

/** Which limits this machine lets this user set: makes control groups with all of them, and removes them. */
export function probeLimits(): { memory: boolean; cpus: boolean; pids: boolean } {
  const wanted = { memoryBytes: 64 << 20, cpus: 1, pids: 64, diskBytes: null };
  const { join, granted } = makeCgroups(`probe-${process.pid}`, wanted);
  removeEmptyGroups(join);
  return { memory: granted.memoryBytes !== null, cpus: granted.cpus !== null, pids: granted.pids !== null };
}

/** Removes control groups that nothing has joined, by the files that it would have joined them by. */
export function removeEmptyGroups(join: readonly string[]): void {
  for (const group of new Set(join.map((file) => path.dirname(file)))) {
    try {
      rmdirSync(group);
    } catch {
      // An empty group that stays is no harm.
    }
  }
}
