import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { exchangesFile, runDir } from "./files.ts";

/** What runs' model calls have left on this machine, to be removed once it is old. */
export interface KeptRecordings {
  /** Runs of which something is recorded. */
  runs(): string[];
  /** The files of one that can be removed. */
  files(runId: string): string[];
  /** Removes what was sent and answered; what was used stays in the journal, by which budgets go. */
  remove(runId: string): Promise<void>;
}

export function keptRecordings(gatewayDir: string): KeptRecordings {
  const namesIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : []);
  const files = (runId: string): string[] => {
    const journal = path.basename(exchangesFile(gatewayDir, runId));
    return namesIn(runDir(gatewayDir, runId)).filter((name) => name !== journal);
  };
  const whole = (runId: string): string[] => files(runId).map((name) => path.join(runDir(gatewayDir, runId), name));
  return {
    runs: () => namesIn(path.dirname(runDir(gatewayDir, "any"))).filter((runId) => files(runId).length > 0),
    files: whole,
    async remove(runId) {
      for (const file of whole(runId)) await rm(file, { force: true });
    },
  };
}
