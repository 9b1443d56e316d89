import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** Why no small disk can be mounted here, as tests of full disks do; null: one can. */
export function whyNoSmallDisk(): string | null {
  if (process.getuid?.() !== 0) return "only root may mount a small disk";
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir], { stdio: "pipe" });
    execFileSync("umount", [dir]);
    return null;
  } catch (error) {
    return `no small disk can be mounted: ${(error as Error).message}`;
  } finally {
    rmSync(dir, { recursive: true });
  }
}
