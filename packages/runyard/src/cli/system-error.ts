import { statfsSync } from "node:fs";

/** What happened, and what to do. */
export interface Explanation {
  readonly message: string;
  readonly advice: string;
}

const NO_SPACE = /\b(ENOSPC|EDQUOT)\b|no space left on device|disk quota exceeded/i;

const FILES: Readonly<Record<string, readonly [what: string, advice: string]>> = {
  EACCES: ["may not be used by this user", "Use the user that owns it, or change its rights."],
  EPERM: ["may not be used by this user", "Use the user that owns it, or change its rights."],
  EROFS: ["lies on a file system that cannot be written", "Use another place."],
  EISDIR: ["is a folder where a file should be", "Move it away and try again."],
  ENOTDIR: ["cannot be there: something above it is a file, not a folder", "Move that file away and try again."],
  ENOENT: ["does not exist", "Put it back, or name another one."],
  ENAMETOOLONG: ["is a longer path than this system takes", "Use a shorter one."],
};

/** With less than this left, in bytes, next to nothing can be written. */
const AS_GOOD_AS_NOTHING = 256 * 1024;
const DISK_FULL: Explanation = {
  message: "The disk is full.",
  advice: "Make room, or set RUNYARD_HOME to a larger disk, and try again. `runyard doctor` says how much is free.",
};

/** What is said where the disk of a folder is full: programs that could not write can often not say so. Null: it is not. */
export function explainFullDisk(dir: string): Explanation | null {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < AS_GOOD_AS_NOTHING ? DISK_FULL : null;
  } catch {
    return null;
  }
}

/** Words for an error that the operating system gave; null for any other. Some of them do not say themselves which `file` it was. */
export function explainSystemError(error: unknown, file?: string): Explanation | null {
  if (!(error instanceof Error)) return null;
  const { code = "", path = file, syscall = "" } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || NO_SPACE.test(error.message)) return DISK_FULL;
  if (path === undefined) return null;
  if (syscall.startsWith("spawn") && code === "ENOENT")
    return { message: `${path} is not installed, or not on the PATH.`, advice: `Install ${path} and try again.` };
  const known = FILES[code];
  return known === undefined ? null : { message: `${path} ${known[0]}.`, advice: known[1] };
}
