import type { NewEvent, RunResult } from "@runyard/sdk/contract";
import { findRepository, type RepositoryPlace } from "../git/local-repository.ts";
import { branchObstacle, commitArgv, copyTreeForCommit, diffStat, importResult, publishBranch } from "../git/publish.ts";
import { promptOf, type RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, cachePathOf, turnHead } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { pathsInside } from "./agent-launch.ts";
import { lastLine } from "./prepare.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { prepareSandbox, runSandboxStep, type SandboxStep } from "./sandbox-step.ts";

const COMMIT_TIMEOUT_MS = 600_000;

/**
 * Brings what the agent did into the user's repository: committed where the agent's tree cannot act on
 * the host, fetched as a bundle, and put there as a branch. A server that takes over in between goes on
 * with the commit that was made, and never makes another one.
 */
export async function publishResult(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { row } = handle;
  const repository = await findRepository(ctx.git, row.repository_url);
  const cachePath = cachePathOf(row);
  const state = attemptState(row);
  const { head } = state.made ?? (await makeCommit());
  const summary = state.summary ?? "";
  const figures = { filesChanged: 0, insertions: 0, deletions: 0 };
  const unchanged: RunResult = { summary, headBranch: null, headCommit: null, baseCommit: row.base_commit, ...figures };
  // A turn that changed nothing leaves what the turns before have made.
  const commit = head ?? turnHead(row);
  if (commit === null) return handle.happen({ type: "finished", result: unchanged });
  const stat = await diffStat(ctx.git, { cachePath, base: row.base_commit, head: commit });
  const { branch, notices } = await chooseBranch(ctx, row, { repository, head: commit });
  // Git knows nothing of owners: whoever cannot say that the run is still this runner's gives nothing to anybody.
  await ctx.lease.whenHeld(end);
  await handle.commit({});
  await publishBranch(ctx.git, { repository, cachePath, head: commit, branch, onto: ourCommits(row) });
  await handle.happen({ type: "finished", result: { ...unchanged, headBranch: branch, headCommit: commit, ...stat } }, { events: notices });

  async function makeCommit(): Promise<{ head: string | null }> {
    const resultsDir = await commitWorkspace(ctx, row, { cachePath, end });
    const imported = await importResult(ctx.git, {
      cachePath,
      resultsDir,
      base: turnBase(row),
      runId: row.id,
    });
    const events: NewEvent[] = imported.notices.map((notice) => ({ type: "notice", data: { level: "warning", ...notice } }));
    const made = { head: imported.head };
    await handle.commit({ events, change: { state: { ...state, made } satisfies AttemptState } });
    return made;
  }
}

/** The commit that this turn's one goes on from. */
function turnBase(row: RunRow): string {
  return turnHead(row) ?? row.base_commit;
}

/** The commits of the turns before, on one of which the run's branch stands unless somebody moved it. */
function ourCommits(row: RunRow): string[] {
  return [row.carry?.published?.commit, turnHead(row)].filter((commit) => typeof commit === "string");
}

/** The run's branch; one of the turn's own where that cannot be moved on without taking something from its owner. */
async function chooseBranch(
  ctx: RunnerContext,
  row: RunRow,
  options: { readonly repository: RepositoryPlace; readonly head: string },
): Promise<{ readonly branch: string; readonly notices: readonly NewEvent[] }> {
  const branch = row.carry?.published?.branch ?? resultBranch(row.id);
  const onto = ourCommits(row);
  if (onto.length === 0) return { branch, notices: [] };
  const obstacle = await branchObstacle(ctx.git, { ...options, branch, onto });
  if (obstacle === null) return { branch, notices: [] };
  const other = `${resultBranch(row.id)}-${row.turn}`;
  const message = `The branch ${branch} is left as it is: ${obstacle}. The result of this turn is the branch ${other}.`;
  return { branch: other, notices: [{ type: "notice", data: { level: "warning", code: "branch-in-the-way", message } }] };
}

/** Commits what the workspace holds, and returns the folder with the bundle. */
async function commitWorkspace(
  ctx: RunnerContext,
  row: RunRow,
  options: { readonly cachePath: string; readonly end: AbortSignal },
): Promise<string> {
  const { cachePath, end } = options;
  const dirs = attemptDirs(ctx.home, row);
  const what = { cachePath, branch: resultBranch(row.id), message: commitMessage(row), resultsDir: dirs.results };
  if (row.spec.sandboxDriver === "process") {
    // Nothing holds that tree's configuration back: its files are copied, its git is left alone.
    return copyTreeForCommit(ctx.git, { ...what, workspace: dirs.workspace, base: turnBase(row), signal: end });
  }
  const step: SandboxStep = {
    name: "commit",
    argv: commitArgv({ ...what, workspace: pathsInside(ctx, row).workspace, commit: turnBase(row) }),
    env: {},
    mounts: [
      { source: cachePath, target: cachePath, mode: "ro" },
      { source: dirs.results, target: dirs.results, mode: "rw" },
    ],
    network: false,
  };
  const prepared = await prepareSandbox(ctx, row, step);
  const committed = await runSandboxStep(ctx, row, { step, prepared, timeoutMs: COMMIT_TIMEOUT_MS, signal: end });
  if (committed.code === 0) return dirs.results;
  const reason = lastLine(committed.stderr) || `git ended with code ${committed.code ?? "unknown"}`;
  const message = `What the agent left could not be committed: ${reason}`;
  throw new RunFailure(diskFullError(committed.stderr, dirs.root) ?? { type: "agent-error", message });
}

/** First line of what was asked as the subject, cut at 72 characters as git's tools expect it. */
function commitMessage(row: RunRow): string {
  const first = promptOf(row).split("\n")[0] ?? "";
  const subject = first.length > 72 ? `${first.slice(0, 71)}…` : first;
  return `${subject}\n\nRunyard-Run: ${row.id}\n`;
}
