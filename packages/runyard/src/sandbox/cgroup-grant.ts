import type { Limits } from "@runyard/sdk/contract";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Control groups that were made for a run, and the limits that they enforce. */
export interface CgroupGrant {
  /** Files that the shim joins. */
  readonly join: readonly string[];
  readonly granted: Limits;
}

/** All groups of runs lie below a group of this name. */
export const PARENT_GROUP = "runyard";

export const NO_LIMITS: Limits = { memoryBytes: null, cpus: null, pids: null, diskBytes: null };
export const NOTHING_GRANTED: CgroupGrant = { join: [], granted: NO_LIMITS };

/** A file of a control group, and what is written to it. */
export type Setting = readonly [file: string, value: string];

export function writeSetting(group: string, [file, value]: Setting): void {
  writeFileSync(path.join(group, file), value);
}

/** Makes a group with its settings; false (and nothing left) where that is not allowed here. */
export function makeGroup(group: string, settings: readonly Setting[]): boolean {
  try {
    mkdirSync(group, { recursive: true });
    for (const setting of settings) writeSetting(group, setting);
    return true;
  } catch {
    try {
      rmdirSync(group);
    } catch {
      // it was never made, or it is in use
    }
    return false;
  }
}
