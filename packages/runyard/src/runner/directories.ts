import path from "node:path";
import type { Home } from "../home.ts";
import type { RunRow } from "../store/run-row.ts";

/** The steps of an attempt; each has a run directory of its own that is never used twice. */
export type StepName = "prepare" | "agent" | "commit";
export const STEP_NAMES: readonly StepName[] = ["prepare", "agent", "commit"];

/** Where an attempt of a run lives: `runs/<id>/<attempt>/`. */
export interface AttemptDirs {
  readonly root: string;
  readonly workspace: string;
  readonly home: string;
  /** Where the commit step leaves the bundle. */
  readonly results: string;
  step(name: StepName): string;
}

export function attemptDirs(home: Home, run: Pick<RunRow, "id" | "attempt">): AttemptDirs {
  const root = path.join(home.runsDir, run.id, String(run.attempt));
  return {
    root,
    workspace: path.join(root, "workspace"),
    home: path.join(root, "home"),
    results: path.join(root, "results"),
    step: (name) => path.join(root, "steps", name),
  };
}

/** The branch of the user's repository that holds what a run changed. */
export function resultBranch(runId: string): string {
  return `runyard/${runId}`;
}
