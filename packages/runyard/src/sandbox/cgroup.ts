import { existsSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCounter } from "./cgroup-host.ts";
import { type CgroupUsage, readUsage } from "./cgroup-usage.ts";
import { readIfThere } from "./run-directory.ts";

/** What is left of the out-of-memory count once the groups are gone. */
export const OOM_FILE = "out-of-memory-kills";
/** Groups that somebody else made for processes of the run directory, and removes: they are only read. */
export const OUTER_GROUPS_FILE = "outer-groups";
/** What they counted of their members' use, as JSON. */
const USAGE_FILE = "usage.json";
const REMOVE_TIMEOUT_MS = 2_000;

/** The control groups that a run directory's shim joins, from its file `join`. */
export function cgroupsOf(dir: string): string[] {
  const lines = (readIfThere(path.join(dir, "join")) ?? "").split("\n");
  return lines.filter((line) => line !== "").map((line) => path.dirname(line));
}

function outerGroupsOf(dir: string): string[] {
  return (readIfThere(path.join(dir, OUTER_GROUPS_FILE)) ?? "").split("\n").filter((line) => line !== "");
}

/** Processes in the control groups of a run directory. */
export function readMembers(dir: string): number[] {
  const members = new Set<number>();
  for (const group of cgroupsOf(dir)) {
    const text = readIfThere(path.join(group, "cgroup.procs")) ?? "";
    for (const line of text.split("\n")) if (line !== "" && line !== "0") members.add(Number(line));
  }
  return [...members];
}

function writeWhereKnown(dir: string, file: string, value: string): void {
  for (const group of cgroupsOf(dir)) {
    try {
      writeFileSync(path.join(group, file), value);
    } catch {
      // this kind of group has no such file, or the group is gone
    }
  }
}

/**
 * From here on nothing in the groups can start another process, so that a fork bomb cannot outrun the kill;
 * and all of them get the processor time that dying takes.
 */
export function prepareKill(dir: string): void {
  writeWhereKnown(dir, "pids.max", "0");
  writeWhereKnown(dir, "cpu.max", "max");
  writeWhereKnown(dir, "cpu.cfs_quota_us", "-1");
}

/** Version 2 ends all members at once. */
export function killMembers(dir: string): void {
  writeWhereKnown(dir, "cgroup.kill", "1");
}

/** How many processes of a run the kernel ended because its memory limit was reached; 0 where there is no such limit. */
export function readOutOfMemoryKills(dir: string): number {
  const kept = Number(readIfThere(path.join(dir, OOM_FILE)) ?? 0);
  const counts = [...cgroupsOf(dir), ...outerGroupsOf(dir)].flatMap((group) =>
    ["memory.oom_control", "memory.events"].map((file) => readCounter(readIfThere(path.join(group, file)) ?? "", "oom_kill")),
  );
  return Math.max(kept, ...counts);
}

/** What the processes of a run directory use now, or used up to their end; every figure is null where they have no control groups. */
export function readResourceUsage(dir: string): CgroupUsage {
  const kept = readIfThere(path.join(dir, USAGE_FILE));
  return kept === null ? readUsage([...cgroupsOf(dir), ...outerGroupsOf(dir)]) : (JSON.parse(kept) as CgroupUsage);
}

/** Once: a second look would miss the groups that went after the first. */
function keepUsage(dir: string): void {
  try {
    writeFileSync(path.join(dir, USAGE_FILE), JSON.stringify(readUsage(cgroupsOf(dir))), { flag: "wx", mode: 0o600 });
  } catch {
    // kept before, or the disk is full: no reason not to end a run
  }
}

/** Removes the empty control groups of a run directory; keeps what they counted. */
export async function removeCgroups(dir: string): Promise<void> {
  const groups = cgroupsOf(dir).filter((group) => existsSync(group));
  if (groups.length === 0) return;
  const kills = readOutOfMemoryKills(dir);
  if (kills > 0) writeFileSync(path.join(dir, OOM_FILE), `${kills}\n`);
  keepUsage(dir);
  for (const group of groups) await removeGroup(group);
}

async function removeGroup(group: string): Promise<void> {
  for (const end = Date.now() + REMOVE_TIMEOUT_MS; ; await sleep(5)) {
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // What was just killed counts for a moment. An empty group that stays is no harm, and no reason to fail a run.
      if (code !== "EBUSY" || Date.now() > end) return;
    }
  }
}
