import { mkdirSync } from "node:fs";
import { type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { findAndCache, keepResult, seenCachePath } from "../git/cache.ts";
import { followsLoss } from "../store/attempts-shown.ts";
import { readAnswers } from "../store/release.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, type GivenAnswer, mergeInHand, turnHead } from "./attempt-state.ts";
import { findBase } from "./base-checkout.ts";
import type { RunnerContext } from "./context.ts";
import { type MadeWorkspace, type NewWorkspace, checkOut, runPrepare } from "./base-workspace.ts";
import { bringBase, withoutAgent } from "./bring-base.ts";
import { type AttemptDirs, attemptDirs, resultBranch } from "./directories.ts";
import { pathsInside } from "./agent-launch.ts";
import { egressOf } from "./header-secrets.ts";
import { loginOf } from "./own-login.ts";
import { dropOverlay, isOverlay, overlayMeans, stackOverlay } from "./overlay-workspace.ts";
import { prepareFurther } from "./prepare-further.ts";
import { restoreSnapshot } from "./restore-snapshot.ts";
import type { RunHandle } from "./run-handle.ts";
import { type SandboxStep, sandboxReport } from "./sandbox-step.ts";
import { runSetup } from "./setup.ts";
import { takeOverWorkspace } from "./take-over.ts";
import { copyWorkspaceArgv, goOnArgv, workspaceNotices } from "./workspace-steps.ts";

/**
 * Makes the attempt's workspace: the repository's objects into the cache, a checkout inside the sandbox. A
 * later turn goes on in the workspace of the one before, where that is still there.
 */
export async function prepareWorkspace(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  if (attemptState(handle.row).made !== undefined) return goOnPublishing(ctx, handle, end);
  // Said before anything is made for it.
  loginOf(ctx, handle.row);
  await handle.secrets.give(handle.row);
  const { isTaken, copyOf } = await takeOverWorkspace(ctx, handle);
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  for (const dir of [dirs.workspace, dirs.home, dirs.results]) mkdirSync(dir, { recursive: true, mode: 0o700 });

  const isNew = !isTaken && copyOf === null;
  const update = { cacheDir: ctx.home.cacheDir, runId: row.id, signal: end };
  const caching = findAndCache(ctx.git, { ...update, repositoryUrl: row.repository_url, commit: row.base_commit });
  const early = isNew ? await beginEarly(ctx, handle, { branch: resultBranch(row.id), end, caching }) : null;
  const { repository, cachePath } = await caching;
  if (isNew) await forgetMerge(handle);
  const head = await keepHead(ctx, handle, { ...update, repository, cachePath, mustHave: !isNew });
  // What a pull request changes is seen beside the branch that it is to go to.
  const { review } = row.spec;
  if (review !== undefined) await keepResult(ctx.git, { ...update, repository, cachePath, commit: review.baseCommit });
  const into: NewWorkspace = { cachePath, cached: caching, commit: head ?? row.base_commit, branch: resultBranch(row.id), end };
  const made =
    early ??
    (isNew
      ? await begin(ctx, handle, into)
      : await goOn(ctx, handle, { ...into, copyOf, head: mergeInHand(handle.row) === null ? head : null }));
  const brought = await bringBase(ctx, handle, { repository, cachePath, isNew, end });
  await prepareFurther(ctx, handle, { copyOf: copyOf?.workspace ?? null, end });
  const report = { granted: made.granted, egress: egressOf(row, handle.secrets), way: isOverlay(dirs) ? "overlay" : made.way } as const;
  const sandbox = await sandboxReport(ctx, row, report);
  const answers = await answersFor(ctx, row);
  const { merging: _, ...before } = attemptState(handle.row);
  const rebase = brought?.rebase ?? before.rebase;
  const alone = rebase === undefined ? null : withoutAgent(row, rebase);
  const state = { ...before, cachePath, ...(answers.length > 0 && { answers }), ...(rebase && { rebase }), ...alone?.said };
  await handle.happen(
    { type: "entered", phase: alone?.phase ?? (row.plans ? "planning" : "building") },
    {
      events: [...beganAnew(row), ...workspaceNotices(made), ...(brought?.events ?? []), { type: "sandbox.ready", data: { sandbox } }],
      change: { sandbox, state: state satisfies AttemptState },
    },
  );
}

/** A workspace that begins anew has nothing of such a merge: it is made again. */
async function forgetMerge(handle: RunHandle): Promise<void> {
  if (mergeInHand(handle.row) === null) return;
  const { rebase: _, ...state } = attemptState(handle.row);
  await handle.commit({ change: { state } });
}

/** What was made waits for nothing any more but to be published: no agent begins. */
async function goOnPublishing(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  await takeOverWorkspace(ctx, handle);
  const { row } = handle;
  const update = { cacheDir: ctx.home.cacheDir, runId: row.id, signal: end };
  const found = await findAndCache(ctx.git, { ...update, repositoryUrl: row.repository_url, commit: row.base_commit });
  const state = attemptState(row);
  const commit = state.made?.head ?? turnHead(row);
  if (commit !== null) await keepResult(ctx.git, { ...update, ...found, commit });
  await handle.happen(
    { type: "entered", phase: "publishing" },
    { change: { state: { ...state, cachePath: found.cachePath } satisfies AttemptState } },
  );
}

/** How a workspace was made; null: it lives on from the turn before. */
type Prepared = MadeWorkspace & { readonly way: "copy" | "checkout" | null };

/**
 * Makes a run's first workspace while its cache is updated, where the repository was seen before and a checkout of the commit is there to lie upon. Null:
 * that cannot be, or it turned out to be another repository.
 */
async function beginEarly(
  ctx: RunnerContext,
  handle: RunHandle,
  { branch, end, caching }: { readonly branch: string; readonly end: AbortSignal; readonly caching: ReturnType<typeof findAndCache> },
): Promise<Prepared | null> {
  caching.catch(() => undefined); // whoever waits for it hears of it
  const { row } = handle;
  const commit = row.base_commit;
  const cachePath = turnHead(row) === null ? seenCachePath(ctx.home.cacheDir, row.repository_url) : null;
  if (cachePath === null || findBase(ctx.home, { cachePath, commit }) === null) return null;
  const cached = caching.then((found) => {
    if (found.cachePath !== cachePath) throw new OtherRepositoryError("The repository is another one now");
  });
  cached.catch(() => undefined);
  try {
    const made = await begin(ctx, handle, { cachePath, cached, commit, branch, end });
    await cached;
    return made;
  } catch (error) {
    if (!(error instanceof OtherRepositoryError)) throw error;
    await dropOverlay(attemptDirs(ctx.home, row));
    return null;
  }
}

class OtherRepositoryError extends Error {
  override readonly name = "OtherRepositoryError";
}

/** Makes a new workspace, and sets it up where it is to be and no snapshot has that already. */
async function begin(ctx: RunnerContext, handle: RunHandle, into: NewWorkspace): Promise<Prepared> {
  const isSetUp = handle.row.spec.setup !== undefined;
  const means = await overlayMeans(ctx, handle.row);
  const restored = isSetUp ? await restoreSnapshot(ctx, handle, { ...into, means }) : null;
  if (restored !== null) return { ...restored, way: "copy" };
  const made = await checkOut(ctx, handle, { ...into, means });
  if (isSetUp) {
    await into.cached;
    await runSetup(ctx, handle, into);
  }
  return { ...made, way: "checkout" };
}

/** Goes on in a workspace that was there: in itself, or for a plan in a copy of it, or upon it where it is an overlay. It was set up when it was made. */
async function goOn(
  ctx: RunnerContext,
  handle: RunHandle,
  { cachePath, branch, end, copyOf, head }: NewWorkspace & { readonly copyOf: AttemptDirs | null; readonly head: string | null },
): Promise<Prepared> {
  const { row } = handle;
  const { workspace } = pathsInside(ctx, row);
  // Without isolation an agent's repository is let alone: what it configured would be run.
  const next = goOnArgv({ cachePath, workspace, branch, keep: row.spec.sandboxDriver !== "process", commit: head });
  const isStacked = copyOf !== null && stackOverlay(ctx.home, attemptDirs(ctx.home, row), copyOf);
  const copied = copyOf === null || isStacked ? null : copyOf.workspace;
  const step: SandboxStep & { readonly name: "prepare" } = {
    name: "prepare",
    argv: copied === null ? next : copyWorkspaceArgv({ from: copied, to: workspace, next }),
    env: {},
    mounts: [
      { source: cachePath, target: cachePath, mode: "ro" },
      ...(copied === null ? [] : [{ source: copied, target: copied, mode: "ro" } as const]),
    ],
    network: false,
  };
  return { ...(await runPrepare(ctx, handle, { step, end })), way: copied === null ? null : "copy" };
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
    const { rebase: _, merging: __, ...before } = attemptState(handle.row);
    const state: AttemptState = { ...before, headLost: true };
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
