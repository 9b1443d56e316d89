import { existsSync, lstatSync, readdirSync } from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import type { RunRow } from "../store/run-row.ts";

/** Steps that can be done again, behind one whose outcome nobody knows. */
export type RepeatableStep =
  | "prepare"
  | "restore"
  | "fit"
  | "settle"
  | "keep"
  | "commit"
  /** Around bringing in the base branch: what was left is committed, it is merged, the repository is set to what came of that. */
  | "left"
  | "merge"
  | "onward"
  | "plan-before"
  | "plan-after"
  /** The same of a further repository, by its place in the run's list. */
  | `${"prepare" | "commit" | "plan-before" | "plan-after"}-repository-${number}`;
/** The steps of an attempt; each has a run directory of its own that is never used twice. */
export type StepName =
  | RepeatableStep
  | `${RepeatableStep}-${2 | 3}`
  | "agent"
  | `setup-${number}`
  | `verify-${number}-${number}`
  | `shell-${string}`
  | `${typeof HOLDER}-${number}`;

/** The step that holds an attempt's overlay: nothing of the run is done in it. */
export const HOLDER = "holder";

/** The names under which a step that can be repeated is done, in this order: further ones where the process that watched over it died. */
export function namesOf(step: RepeatableStep): readonly StepName[] {
  return [step, `${step}-2`, `${step}-3`];
}

/** Where an attempt of a run lives: `runs/<id>/<attempt>/`. */
export interface AttemptDirs {
  readonly root: string;
  readonly workspace: string;
  /** What was written in the workspace where that is an overlay, and what it lies upon; not there where it is a plain folder. */
  readonly overlay: string;
  /** Where its further repositories lie, each in a folder of its name. */
  readonly repositories: string;
  readonly home: string;
  /** The home of the commands that verify: nothing in it is the agent's. */
  readonly verifyHome: string;
  /** Where the commit step leaves the bundle; the steps around a plan phase below it. */
  readonly results: string;
  /** What set-up made, until it is a snapshot. */
  readonly snapshot: string;
  /** The login that its agent calls with, where it has one: beside the sandbox, and no longer than the attempt. */
  readonly login: string;
  step(name: StepName): string;
}

export function attemptDirs(home: Home, run: Pick<RunRow, "id" | "attempt">): AttemptDirs {
  const root = path.join(home.runsDir, run.id, String(run.attempt));
  return {
    root,
    workspace: path.join(root, "workspace"),
    overlay: path.join(root, "overlay"),
    repositories: repositoriesBeside(path.join(root, "workspace")),
    home: path.join(root, "home"),
    verifyHome: path.join(root, "verify-home"),
    results: path.join(root, "results"),
    snapshot: path.join(root, "snapshot"),
    login: path.join(root, "login.json"),
    step: (name) => path.join(root, "steps", name),
  };
}

/** Where the further repositories lie that belong to a workspace, in a sandbox and outside of it. */
export function repositoriesBeside(workspace: string): string {
  return path.join(path.dirname(workspace), "repositories");
}

/** The run directories of all steps that an attempt has begun, by its root. */
export function stepsOf(attemptRoot: string): string[] {
  const dir = path.join(attemptRoot, "steps");
  return existsSync(dir) ? readdirSync(dir).map((name) => path.join(dir, name)) : [];
}

/** The attempt whose workspace a run has on this machine, the newest first; null: there is none. */
export function workspaceAttempt(home: Home, run: Pick<RunRow, "id" | "attempt" | "carry">): number | null {
  const attempts = [run.attempt, ...(run.carry?.attempts ?? [])];
  const isThere = (attempt: number): boolean =>
    lstatSync(attemptDirs(home, { id: run.id, attempt }).workspace, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return attempts.find(isThere) ?? null;
}

/** The branch of the user's repository that holds what a run changed. */
export function resultBranch(runId: string): string {
  return `runyard/${runId}`;
}
