import { mkdirSync } from "node:fs";
import { updateCache } from "../git/cache.ts";
import { findRepository } from "../git/local-repository.ts";
import { prepareWorkspaceArgv } from "../git/workspace.ts";
import { type AttemptState, attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { pathsInside } from "./agent-launch.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { prepareSandbox, runSandboxStep, type SandboxStep, sandboxReport } from "./sandbox-step.ts";

const PREPARE_TIMEOUT_MS = 600_000;

/** Makes the attempt's workspace: the repository's objects into the cache, a checkout inside the sandbox. */
export async function prepareWorkspace(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  for (const dir of [dirs.workspace, dirs.home, dirs.results]) mkdirSync(dir, { recursive: true, mode: 0o700 });

  const repository = await findRepository(ctx.git, row.repository_url);
  const { cachePath } = await updateCache(ctx.git, {
    cacheDir: ctx.home.cacheDir,
    repository,
    commit: row.base_commit,
    runId: row.id,
    signal: end,
  });
  const step: SandboxStep = {
    name: "prepare",
    argv: prepareWorkspaceArgv({
      cachePath,
      workspace: pathsInside(ctx, row).workspace,
      commit: row.base_commit,
      branch: resultBranch(row.id),
    }),
    env: {},
    mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
    network: false,
  };
  const prepared = await prepareSandbox(ctx, row, step);
  const result = await runSandboxStep(ctx, row, { step, prepared, timeoutMs: PREPARE_TIMEOUT_MS, signal: end });
  if (result.code !== 0) {
    const reason = lastLine(result.stderr) || `the checkout ended with code ${result.code ?? "unknown"}`;
    const message = `The workspace could not be made: ${reason}`;
    throw new RunFailure(diskFullError(result.stderr, dirs.root) ?? { type: "sandbox-unavailable", message });
  }
  const sandbox = await sandboxReport(ctx, row, prepared);
  await handle.happen(
    { type: "entered", phase: "building" },
    {
      events: [{ type: "sandbox.ready", data: { sandbox } }],
      change: { sandbox, state: { ...attemptState(row), cachePath } satisfies AttemptState },
    },
  );
}

export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
