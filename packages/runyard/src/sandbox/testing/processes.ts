import { readdirSync, readFileSync } from "node:fs";

type ProcFile = "cmdline" | "environ" | "status";

/** What the system tells of a process; nothing of one that has ended. The words of a command line have a NUL behind each. */
export function readProc(pid: number, file: ProcFile): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** Processes of this machine, other than this one, of which a text is told in one of these files. */
export function processesWith(text: string, files: readonly ProcFile[] = ["cmdline"]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && files.some((file) => readProc(pid, file).includes(text)));
}
