import { statfsSync } from "node:fs";
import type { RunError } from "@runyard/sdk/contract";
import { GitError } from "../git/host-git.ts";

/** How programs, the kernel's error codes and git say that a disk, or a user's share of it, is full. */
const NO_SPACE = /\b(ENOSPC|EDQUOT)\b|No space left on device|Disk quota exceeded|Out of diskspace/i;
/** With less than this left, in bytes, next to nothing can be written: a program that broke off now very likely broke off for that. */
const AS_GOOD_AS_NOTHING = 256 * 1024;

const DISK_FULL: RunError = { type: "disk-full", message: "The disk is full. Make room and start the run again." };

/**
 * The error of a run where a program failed because a disk is full, else null: its words say so, or the disk
 * of `dir` has no room left, on which it cannot even say so.
 */
export function diskFullError(words: string, dir?: string): RunError | null {
  return NO_SPACE.test(words) || (dir !== undefined && isDiskFull(dir)) ? DISK_FULL : null;
}

/** The same for anything that was thrown. */
export function diskFullCause(error: unknown, dir?: string): RunError | null {
  const words = error instanceof Error ? `${"code" in error ? String(error.code) : ""} ${error.message}` : String(error);
  return diskFullError(error instanceof GitError ? `${words} ${error.stderr}` : words, dir);
}

function isDiskFull(dir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < AS_GOOD_AS_NOTHING;
  } catch {
    return false;
  }
}
