import { statfsSync } from "node:fs";
import type { RunError } from "@runyard/sdk/contract";
import { GitError } from "../git/host-git.ts";

/** How programs, the kernel's error codes and git say that a disk, or a user's share of it, is full. */
const NO_SPACE = /\b(ENOSPC|EDQUOT)\b|No space left on device|Disk quota exceeded/i;
/** With less than this left, in bytes, next to nothing can be written: a program that broke off now very likely broke off for that. */
const AS_GOOD_AS_NOTHING = 256 * 1024;

/** The error of a run that could not go on because words of a program say that a disk is full, else null. */
export function diskFullError(words: string): RunError | null {
  return NO_SPACE.test(words) ? { type: "disk-full", message: "The disk is full. Make room and start the run again." } : null;
}

/** The same for anything that was thrown. */
export function diskFullCause(error: unknown): RunError | null {
  if (!(error instanceof Error)) return null;
  return diskFullError(`${"code" in error ? String(error.code) : ""} ${error.message} ${error instanceof GitError ? error.stderr : ""}`);
}

/** Whether a directory's disk has no room left; a program that finds it so cannot even say so in a file. */
export function isDiskFull(dir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < AS_GOOD_AS_NOTHING;
  } catch {
    return false;
  }
}
