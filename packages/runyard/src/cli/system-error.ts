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

/** Words for an error that the operating system gave; null for any other. Some of them do not say themselves which `file` it was. */
export function explainSystemError(error: unknown, file?: string): Explanation | null {
  if (!(error instanceof Error)) return null;
  const { code = "", path = file, syscall = "" } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || NO_SPACE.test(error.message)) {
    return {
      message: "The disk is full.",
      advice: "Make room, or set RUNYARD_HOME to a larger disk, and try again. `runyard doctor` says how much is free.",
    };
  }
  if (path === undefined) return null;
  if (syscall.startsWith("spawn") && code === "ENOENT")
    return { message: `${path} is not installed, or not on the PATH.`, advice: `Install ${path} and try again.` };
  const known = FILES[code];
  return known === undefined ? null : { message: `${path} ${known[0]}.`, advice: known[1] };
}
