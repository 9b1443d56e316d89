import { commitArgv, copyTreeForCommit } from "../git/publish.ts";
import type { Redactor } from "../redact.ts";
import { promptOf, type RunRow } from "../store/run-row.ts";
import { pathsInside } from "./agent-launch.ts";
import { cachePathOf, mergeInHand, turnHead } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, type RepeatableStep, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep, whyItFailed } from "./sandbox-step.ts";

const COMMIT_TIMEOUT_MS = 600_000;

/** The commit that this turn's one goes on from. */
export function turnBase(row: RunRow): string {
  return turnHead(row) ?? row.base_commit;
}

export interface CommitStep {
  readonly name: RepeatableStep;
  readonly resultsDir: string;
  readonly redactor: Redactor;
  readonly end: AbortSignal;
}

/** A tree that an agent worked in. */
export interface CommitPlace {
  /** On the host, and as it is seen in the sandbox. */
  readonly workspace: string;
  readonly inside: string;
  readonly cachePath: string;
  /** The commit that it goes on from. */
  readonly base: string;
  /** What shows it in the sandbox. */
  readonly mounts: SandboxStep["mounts"];
}

/**
 * Commits what the workspace holds, where the agent's tree cannot act on the host, and returns the folder with
 * the bundle. Can be repeated: the step `name` is done once. Throws RunFailure.
 */
export async function commitWorkspace(ctx: RunnerContext, row: RunRow, step: CommitStep): Promise<string> {
  const { workspace } = attemptDirs(ctx.home, row);
  const inside = pathsInside(ctx, row).workspace;
  return commitTree(ctx, row, { ...step, workspace, inside, cachePath: cachePathOf(row), base: turnBase(row), mounts: [] });
}

/** The same of any tree that the agent worked in. */
export async function commitTree(ctx: RunnerContext, row: RunRow, options: CommitStep & CommitPlace): Promise<string> {
  const { name, resultsDir, workspace, inside, cachePath, base, end } = options;
  const dirs = attemptDirs(ctx.home, row);
  const what = {
    cachePath,
    branch: resultBranch(row.id),
    message: options.redactor.text(commitMessage(row)),
    author: row.spec.commit?.author,
    resultsDir,
  };
  if (row.spec.sandboxDriver === "process") {
    // Nothing holds that tree's configuration back: its files are copied, its git is left alone.
    return copyTreeForCommit(ctx.git, { ...what, workspace, base, signal: end });
  }
  const step: SandboxStep & { readonly name: RepeatableStep } = {
    name,
    // Of a merge with conflicts only the files count: it becomes one commit upon both sides.
    argv: commitArgv({ ...what, workspace: inside, commit: base }, mergeInHand(row) === null ? "yes" : "merge"),
    env: {},
    mounts: [
      ...options.mounts,
      { source: cachePath, target: cachePath, mode: "ro" },
      { source: resultsDir, target: resultsDir, mode: "rw" },
    ],
    network: false,
  };
  const { result: committed } = await runRepeatably(ctx, row, { step, timeoutMs: COMMIT_TIMEOUT_MS, signal: end });
  if (committed.code === 0) return resultsDir;
  const message = `What the agent left could not be committed: ${whyItFailed(committed)}`;
  throw new RunFailure(diskFullError(committed.stderr, dirs.root) ?? { type: "agent-error", message });
}

/** First line of what was asked as the subject, cut at 72 characters as git's tools expect it. */
function commitMessage(row: RunRow): string {
  const first = promptOf(row).split("\n")[0] ?? "";
  const subject = first.length > 72 ? `${first.slice(0, 71)}…` : first;
  return `${subject}\n\n${commitClaims(row)
    .map((line) => `${line}\n`)
    .join("")}`;
}

/** What a commit of a run says of who made it, line by line. */
export function commitClaims(row: Pick<RunRow, "id" | "spec">): string[] {
  const coAuthor = row.spec.commit?.coAuthor;
  return [`Runyard-Run: ${row.id}`, ...(coAuthor === undefined ? [] : [`Co-authored-by: ${coAuthor}`])];
}
