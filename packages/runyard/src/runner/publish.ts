import type { NewEvent, RunResult } from "@runyard/sdk/contract";
import { findRepository } from "../git/local-repository.ts";
import { commitArgv, copyTreeForCommit, diffStat, importResult, publishBranch } from "../git/publish.ts";
import { repositoryCachePath } from "../git/cache.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { pathsInside } from "./agent-launch.ts";
import { lastLine } from "./prepare.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { prepareSandbox, runSandboxStep, type SandboxStep } from "./sandbox-step.ts";

const COMMIT_TIMEOUT_MS = 600_000;

/**
 * Brings what the agent did into the user's repository: committed where the agent's tree cannot act on
 * the host, fetched as a bundle, and put there as a branch. Each step can be repeated after a crash.
 */
export async function publishResult(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  const repository = await findRepository(ctx.git, row.repository_url);
  const cachePath = repositoryCachePath(ctx.home.cacheDir, repository);
  const branch = resultBranch(row.id);
  const message = commitMessage(row);

  if (row.spec.sandboxDriver === "process") {
    // Nothing holds that tree's configuration back: its files are copied, its git is left alone.
    await copyTreeForCommit(ctx.git, { workspace: dirs.workspace, cachePath, base: row.base_commit, branch, message, resultsDir: dirs.results, signal: end });
  } else {
    const step: SandboxStep = {
      name: "commit",
      argv: commitArgv({ workspace: pathsInside(ctx, row).workspace, commit: row.base_commit, branch, message, resultsDir: dirs.results, cachePath }),
      env: {},
      mounts: [
        { source: cachePath, target: cachePath, mode: "ro" },
        { source: dirs.results, target: dirs.results, mode: "rw" },
      ],
      network: false,
    };
    const prepared = await prepareSandbox(ctx, row, step);
    const committed = await runSandboxStep(ctx, row, { step, prepared, timeoutMs: COMMIT_TIMEOUT_MS, signal: end });
    if (committed.code !== 0) {
      throw new RunFailure({ type: "agent-error", message: `What the agent left could not be committed: ${lastLine(committed.stderr) || `git ended with code ${committed.code ?? "unknown"}`}` });
    }
  }

  const imported = await importResult(ctx.git, { cachePath, resultsDir: dirs.results, base: row.base_commit, runId: row.id });
  const events: NewEvent[] = imported.notices.map((notice) => ({ type: "notice", data: { level: "warning", ...notice } }));
  const summary = summaryOf(row.state);
  if (imported.head === null) {
    await finish({ summary, headBranch: null, headCommit: null, baseCommit: row.base_commit, filesChanged: 0, insertions: 0, deletions: 0 });
    return;
  }
  const head = imported.head;
  const stat = await diffStat(ctx.git, { cachePath, base: row.base_commit, head });
  await publishBranch(ctx.git, { repository, cachePath, head, branch });
  await finish({ summary, headBranch: branch, headCommit: head, baseCommit: row.base_commit, ...stat });

  async function finish(result: RunResult): Promise<void> {
    await handle.happen({ type: "finished", result }, { events });
  }
}

function summaryOf(state: unknown): string {
  const summary = typeof state === "object" && state !== null && "summary" in state ? state.summary : "";
  return typeof summary === "string" ? summary : "";
}

/** First line of the task as the subject, cut at 72 characters as git's tools expect it. */
function commitMessage(row: { readonly id: string; readonly task: string }): string {
  const first = row.task.split("\n")[0] ?? "";
  const subject = first.length > 72 ? `${first.slice(0, 71)}…` : first;
  return `${subject}\n\nRunyard-Run: ${row.id}\n`;
}
