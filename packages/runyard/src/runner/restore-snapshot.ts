import { existsSync, readdirSync } from "node:fs";
import { newId } from "../engine/ids.ts";
import { harmless } from "../git/commit-result.ts";
import { restoreArgv } from "../git/setup-workspace.ts";
import { removeSnapshot, useSnapshot } from "../store/snapshots.ts";
import { pathsInside } from "./agent-launch.ts";
import { attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep } from "./sandbox-step.ts";
import { type SetupState, snapshotKeyOf } from "./setup-state.ts";
import { removeSnapshotDir, snapshotDir } from "./snapshot-disk.ts";
import { measure } from "./snapshot-files.ts";

const RESTORE_TIMEOUT_MS = 600_000;

/** What a new workspace is made of. */
export interface NewWorkspace {
  readonly cachePath: string;
  readonly commit: string;
  readonly branch: string;
  readonly end: AbortSignal;
}

/**
 * Makes a new workspace of a snapshot of the run's key and a commit; null: there is none that can be used, so the
 * commands are to be run. What was decided is stored before it is done.
 */
export async function restoreSnapshot(
  ctx: RunnerContext,
  handle: RunHandle,
  into: NewWorkspace,
): Promise<Awaited<ReturnType<typeof runRepeatably>> | null> {
  const setup = attemptState(handle.row).setup ?? (await decide(ctx, handle));
  if (setup.from === undefined) return null;
  const { id, bytes } = setup.from;
  const { result, prepared } = await copy(ctx, handle, { ...into, setup, id });
  const full = result.code === 0 ? null : diskFullError(result.stderr, attemptDirs(ctx.home, handle.row).root);
  if (full !== null) throw new RunFailure(full);
  // Whoever removes a snapshot moves it away first: what is still in its place was whole for as long as it was copied.
  const isWhole = result.code === 0 && existsSync(snapshotDir(ctx.home, id));
  if (!isWhole) {
    const reason = result.code === 0 ? "it was removed meanwhile" : harmless(result.stderr.split("\n")[0] ?? "");
    await giveUp(ctx, handle, { id, setup, reason });
    return null;
  }
  if (setup.snapshot === undefined)
    await handle.commit({
      events: [{ type: "snapshot.restored", data: { snapshotId: id, cacheKey: handle.row.spec.setup?.cacheKey ?? "", bytes } }],
      change: { state: { ...attemptState(handle.row), setup: { ...setup, snapshot: { id, hit: true } } } },
    });
  return { prepared, result };
}

/** Looks for a snapshot, and stores what the attempt begins with. */
async function decide(ctx: RunnerContext, handle: RunHandle): Promise<SetupState> {
  const { row } = handle;
  const first: SetupState = { isNewHome: readdirSync(attemptDirs(ctx.home, row).home).length === 0, index: 0, begun: false };
  const key = snapshotKeyOf(row);
  const found = key === null ? undefined : await useSnapshot(ctx.db, key);
  if (found === undefined) return store(handle, key === null ? first : { ...first, making: newId("snap") });
  const { id, bytes, fingerprint } = found;
  const there = await measure(snapshotDir(ctx.home, id)).catch((error: unknown) => (error as Error).message);
  if (typeof there !== "string" && there.fingerprint === fingerprint) return store(handle, { ...first, from: { id, bytes } });
  const reason = typeof there === "string" ? harmless(there) : "files of it were changed or are gone";
  return giveUp(ctx, handle, { id, setup: first, reason });
}

async function store(handle: RunHandle, setup: SetupState): Promise<SetupState> {
  await handle.commit({ change: { state: { ...attemptState(handle.row), setup } } });
  return setup;
}

/** Takes a snapshot that cannot be used away from everybody, and has the commands run. */
async function giveUp(
  ctx: RunnerContext,
  handle: RunHandle,
  { id, setup, reason }: { readonly id: string; readonly setup: SetupState; readonly reason: string },
): Promise<SetupState> {
  const { from: _, ...rest } = setup;
  const next: SetupState = { ...rest, making: newId("snap") };
  if (await removeSnapshot(ctx.db, handle.row.org_id, id)) await removeSnapshotDir(ctx.home, id).catch(() => undefined);
  const message = `The snapshot ${id} cannot be used (${reason}): the set-up is run instead.`;
  await handle.commit({
    events: [{ type: "notice", data: { level: "warning", code: "snapshot-damaged", message } }],
    change: { state: { ...attemptState(handle.row), setup: next } },
  });
  return next;
}

function copy(
  ctx: RunnerContext,
  { row }: RunHandle,
  { setup, id, end, ...into }: NewWorkspace & { readonly setup: SetupState; readonly id: string },
): ReturnType<typeof runRepeatably> {
  const snapshot = snapshotDir(ctx.home, id);
  const { workspace, home } = pathsInside(ctx, row);
  const step: SandboxStep & { readonly name: "restore" } = {
    name: "restore",
    argv: restoreArgv({ ...into, workspace, home: setup.isNewHome ? home : null, snapshot }),
    env: {},
    // Nobody who begins with it may change it.
    mounts: [
      { source: into.cachePath, target: into.cachePath, mode: "ro" },
      { source: snapshot, target: snapshot, mode: "ro" },
    ],
    network: false,
  };
  return runRepeatably(ctx, row, { step, timeoutMs: RESTORE_TIMEOUT_MS, signal: end });
}
