import { mkdirSync } from "node:fs";
import { type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { findAndCache, keepResult } from "../git/cache.ts";
import { prepareWorkspaceArgv } from "../git/workspace.ts";
import { followsLoss } from "../store/attempts-shown.ts";
import { readAnswers } from "../store/release.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, type GivenAnswer, turnHead } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { pathsInside } from "./agent-launch.ts";
import { egressOf } from "./header-secrets.ts";
import { loginOf } from "./own-login.ts";
import { prepareFurther } from "./prepare-further.ts";
import { type NewWorkspace, restoreSnapshot } from "./restore-snapshot.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep, sandboxReport } from "./sandbox-step.ts";
import { runSetup } from "./setup.ts";
import { takeOverWorkspace } from "./take-over.ts";
import { copyWorkspaceArgv, goOnArgv, workspaceNotices } from "./workspace-steps.ts";

const PREPARE_TIMEOUT_MS = 600_000;

/**
 * Makes the attempt's workspace: the repository's objects into the cache, a checkout inside the sandbox. A
 * later turn goes on in the workspace of the one before, where that is still there.
 */
export async function prepareWorkspace(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  // Said before anything is made for it.
  loginOf(ctx, handle.row);
  await handle.secrets.give(handle.row);
  const { isTaken, copyOf } = await takeOverWorkspace(ctx, handle);
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  for (const dir of [dirs.workspace, dirs.home, dirs.results]) mkdirSync(dir, { recursive: true, mode: 0o700 });

  const update = { cacheDir: ctx.home.cacheDir, runId: row.id, signal: end };
  const { repository, cachePath } = await findAndCache(ctx.git, {
    ...update,
    repositoryUrl: row.repository_url,
    commit: row.base_commit,
  });
  const head = await keepHead(ctx, handle, { ...update, repository, cachePath, mustHave: isTaken || copyOf !== null });
  const { workspace } = pathsInside(ctx, row);
  const branch = resultBranch(row.id);
  // Without isolation an agent's repository is let alone: what it configured would be run.
  const goOn = { cachePath, workspace, branch, keep: row.spec.sandboxDriver !== "process" };
  const step: SandboxStep & { readonly name: "prepare" } = {
    name: "prepare",
    argv: isTaken
      ? goOnArgv({ ...goOn, commit: head })
      : copyOf !== null
        ? copyWorkspaceArgv({ from: copyOf, to: workspace, next: goOnArgv({ ...goOn, commit: head }) })
        : prepareWorkspaceArgv({ cachePath, workspace, commit: head ?? row.base_commit, branch }),
    env: {},
    mounts: [
      { source: cachePath, target: cachePath, mode: "ro" },
      ...(copyOf === null ? [] : [{ source: copyOf, target: copyOf, mode: "ro" } as const]),
    ],
    network: false,
  };
  // A workspace that lives on was set up when it was made, and so was what a copy is of.
  const isNew = row.spec.setup !== undefined && !isTaken && copyOf === null;
  const made: NewWorkspace = { cachePath, commit: head ?? row.base_commit, branch, end };
  const restored = isNew ? await restoreSnapshot(ctx, handle, made) : null;
  const { prepared, result: said } = restored ?? (await makeWorkspace(ctx, handle, { step, end }));
  if (isNew && restored === null) await runSetup(ctx, handle, made);
  await prepareFurther(ctx, handle, { copyOf, end });
  const sandbox = await sandboxReport(ctx, row, { granted: prepared.granted, egress: egressOf(row, handle.secrets) });
  const answers = await answersFor(ctx, row);
  await handle.happen(
    { type: "entered", phase: row.plans ? "planning" : "building" },
    {
      events: [...beganAnew(row), ...workspaceNotices(said), { type: "sandbox.ready", data: { sandbox } }],
      change: { sandbox, state: { ...attemptState(handle.row), cachePath, ...(answers.length > 0 && { answers }) } satisfies AttemptState },
    },
  );
}

async function makeWorkspace(
  ctx: RunnerContext,
  { row }: RunHandle,
  { step, end }: { readonly step: SandboxStep & { readonly name: "prepare" }; readonly end: AbortSignal },
): ReturnType<typeof runRepeatably> {
  const { result, prepared } = await runRepeatably(ctx, row, { step, timeoutMs: PREPARE_TIMEOUT_MS, signal: end });
  if (result.code === 0) return { prepared, result };
  const reason = lastLine(result.stderr) || `the checkout ended with code ${result.code}`;
  const message = `The workspace could not be made: ${reason}`;
  throw new RunFailure(diskFullError(result.stderr, attemptDirs(ctx.home, row).root) ?? { type: "sandbox-unavailable", message });
}

/** What people answered to the attempt before, where that was let go while it waited. */
async function answersFor(ctx: RunnerContext, row: RunRow): Promise<GivenAnswer[]> {
  const goesOn = row.carry?.goesOn;
  if (goesOn?.next.type !== "answered") return [];
  const rows = await readAnswers(ctx.db, { run: row, attempt: goesOn.attempt });
  return rows.map(({ kind, request, answer }) => ({ kind, asked: request.title, answer: answer ?? "" }));
}

/**
 * Makes sure that the cache has the commit of the turns before, and returns it. On another machine than theirs it may
 * be nowhere to be had, if it was never published: then the turn begins where the run began, and its log says so.
 */
async function keepHead(
  ctx: RunnerContext,
  handle: RunHandle,
  options: Omit<Parameters<typeof keepResult>[1], "commit"> & { readonly mustHave: boolean },
): Promise<string | null> {
  const commit = turnHead(handle.row);
  if (commit === null) return null;
  try {
    await keepResult(ctx.git, { ...options, commit });
    return commit;
  } catch (error) {
    if (options.mustHave || !RunyardError.is(error)) throw error;
    const base = handle.row.base_commit.slice(0, 10);
    const message = `${error.message}, because another runner made it and it was never published: this turn begins with the commit ${base}, where the run began.`;
    const state: AttemptState = { ...attemptState(handle.row), headLost: true };
    await handle.commit({ events: [{ type: "notice", data: { level: "warning", code: "commit-lost", message } }], change: { state } });
    return null;
  }
}

/** Says of a first turn's attempt behind a lost runner what it goes on from; of later turns it is said where the workspace is looked for. */
function beganAnew(row: RunRow): readonly NewEvent[] {
  if (row.carry !== null || !followsLoss(row)) return [];
  const message = `The runner of the attempt before was lost, and its workspace with it: the agent works on a new copy of the commit ${row.base_commit.slice(0, 10)}.`;
  return [{ type: "notice", data: { level: "warning", code: "workspace-renewed", message } }];
}

export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
