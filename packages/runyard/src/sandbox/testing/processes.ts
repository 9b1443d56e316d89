import { readdirSync, readFileSync } from "node:fs";

/** Processes of this machine, other than this one, whose command line holds a text (words are parted by NUL). */
export function processesWith(text: string): number[] {
  const holds = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && holds(name))
    .map(Number);
}
