import { mkdirSync, renameSync } from "node:fs";
import path from "node:path";
import { type FurtherRepository, type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { findAndCache, keepResult } from "../git/cache.ts";
import { prepareWorkspaceArgv } from "../git/workspace.ts";
import { type AttemptState, attemptState, repositoryHead, type RepositoryState, repositoryState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, repositoriesBeside, resultBranch } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { furtherOf, isDirectory, repositoryDir, repositoryInside } from "./repository-places.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep } from "./sandbox-step.ts";
import { copyWorkspaceArgv, goOnArgv, workspaceNotices } from "./workspace-steps.ts";

const PREPARE_TIMEOUT_MS = 600_000;

/** Notes how far a further repository has come, with what the log is told of it. */
export async function noteRepository(
  handle: RunHandle,
  name: string,
  { state, events = [] }: { readonly state: RepositoryState; readonly events?: readonly NewEvent[] },
): Promise<void> {
  const before = attemptState(handle.row);
  const repositories = { ...before.repositories, [name]: { ...repositoryState(handle.row, name), ...state } };
  await handle.commit({ events, change: { state: { ...before, repositories } satisfies AttemptState } });
}

/** An event about a repository, for people: which one it is about stands in front. */
export function about(name: string, event: NewEvent): NewEvent {
  return event.type === "notice" ? { ...event, data: { ...event.data, message: `${name}: ${event.data.message}` } } : event;
}

/**
 * Makes the workspaces of the run's further repositories beside the first one, or goes on in those of the turn before. Each is
 * whole or not there, so that whoever comes after a crash goes on with those that are. `copyOf`: the first one is a
 * copy of that workspace, on the host, and so are these of what lies beside it.
 */
export async function prepareFurther(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly copyOf: string | null; readonly end: AbortSignal },
): Promise<void> {
  for (const [index, repository] of furtherOf(handle.row).entries()) {
    if (repositoryState(handle.row, repository.name).cachePath === undefined)
      await prepareOne(ctx, handle, { ...options, repository, index });
  }
}

async function prepareOne(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly repository: FurtherRepository; readonly index: number; readonly copyOf: string | null; readonly end: AbortSignal },
): Promise<void> {
  const { repository, index, end } = options;
  const { name, repositoryUrl, baseCommit } = repository;
  const { row } = handle;
  const dir = repositoryDir(ctx, row, name);
  const isThere = isDirectory(dir);
  const before = options.copyOf === null ? null : path.join(repositoriesBeside(options.copyOf), name);
  const copyOf = !isThere && before !== null && isDirectory(before) ? before : null;

  const update = { cacheDir: ctx.home.cacheDir, runId: row.id, signal: end };
  const found = await findAndCache(ctx.git, { ...update, repositoryUrl, commit: baseCommit });
  const head = await keepHead(ctx, handle, { ...update, ...found, name, baseCommit, mustHave: isThere || copyOf !== null });
  const { cachePath } = found;

  // What is not there yet is made aside: what is in its place is whole.
  const made = isThere ? dir : path.join(attemptDirs(ctx.home, row).root, "new-repositories", name);
  mkdirSync(made, { recursive: true, mode: 0o700 });
  const workspace = repositoryInside(ctx, row, made);
  const branch = resultBranch(row.id);
  const goOn = goOnArgv({ cachePath, workspace, branch, commit: head, keep: row.spec.sandboxDriver !== "process" });
  const step: SandboxStep & { readonly name: `prepare-repository-${number}` } = {
    name: `prepare-repository-${index}`,
    argv: isThere
      ? goOn
      : copyOf !== null
        ? copyWorkspaceArgv({ from: copyOf, to: workspace, next: goOn })
        : prepareWorkspaceArgv({ cachePath, workspace, commit: head ?? baseCommit, branch }),
    env: {},
    mounts: [
      { source: made, target: workspace, mode: "rw" },
      { source: cachePath, target: cachePath, mode: "ro" },
      ...(copyOf === null ? [] : [{ source: copyOf, target: copyOf, mode: "ro" } as const]),
    ],
    network: false,
  };
  const { result } = await runRepeatably(ctx, row, { step, timeoutMs: PREPARE_TIMEOUT_MS, signal: end });
  if (result.code !== 0) throw notMade(name, result, attemptDirs(ctx.home, row).root);
  if (!isThere) {
    mkdirSync(path.dirname(dir), { recursive: true, mode: 0o700 });
    renameSync(made, dir);
  }
  await noteRepository(handle, name, { state: { cachePath }, events: workspaceNotices(result).map((event) => about(name, event)) });
}

function notMade(name: string, { code, stderr }: { readonly code: number; readonly stderr: string }, root: string): RunFailure {
  const reason = stderr.trimEnd().split("\n").at(-1) || `the checkout ended with code ${code}`;
  const message = `The workspace of the repository ${name} could not be made: ${reason}`;
  return new RunFailure(diskFullError(stderr, root) ?? { type: "sandbox-unavailable", message });
}

/** The same as of the first repository: where what the turns before made is nowhere to be had, this one begins where the run began. */
async function keepHead(
  ctx: RunnerContext,
  handle: RunHandle,
  options: Omit<Parameters<typeof keepResult>[1], "commit"> & {
    readonly name: string;
    readonly baseCommit: string;
    readonly mustHave: boolean;
  },
): Promise<string | null> {
  const { name, baseCommit, mustHave, ...kept } = options;
  const commit = repositoryHead(handle.row, name);
  if (commit === null) return null;
  try {
    await keepResult(ctx.git, { ...kept, commit });
    return commit;
  } catch (error) {
    if (mustHave || !RunyardError.is(error)) throw error;
    const message = `${error.message}, because another runner made it and it was never published: this turn begins with the commit ${baseCommit.slice(0, 10)}, where the run began.`;
    const notice: NewEvent = { type: "notice", data: { level: "warning", code: "commit-lost", message } };
    await noteRepository(handle, name, { state: { headLost: true }, events: [about(name, notice)] });
    return null;
  }
}
