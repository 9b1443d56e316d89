import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { newId } from "../engine/ids.ts";
import { harmless } from "../git/commit-result.ts";
import { restoreArgv } from "../git/setup-workspace.ts";
import type { OverlayMeans } from "../sandbox/overlay.ts";
import { removeSnapshot, useSnapshot } from "../store/snapshots.ts";
import { pathsInside } from "./agent-launch.ts";
import { attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { type MadeWorkspace, type NewWorkspace, checkOutUpon } from "./base-workspace.ts";
import { attemptDirs, namesOf } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { removeSnapshotDir } from "./layers.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep } from "./sandbox-step.ts";
import { type SetupState, snapshotKeyOf } from "./setup-state.ts";
import { snapshotDir } from "./snapshot-disk.ts";
import { measure } from "./snapshot-files.ts";

const RESTORE_TIMEOUT_MS = 600_000;
/** For so long a snapshot that was looked at is taken for what it was: to look at all of its files takes longer than to begin with it. */
const LOOKED_AT_MS = 600_000;
const REMOVED = "it was removed meanwhile";

/** When snapshots were last found whole, by their folders. */
const lookedAt = new Map<string, number>();

/**
 * Makes a new workspace of a snapshot of the run's key and a commit: upon it where `means` say how, else of a copy. Null: there is none that
 * can be used, so the commands are to be run. What was decided is stored before it is done.
 */
export async function restoreSnapshot(
  ctx: RunnerContext,
  handle: RunHandle,
  { means, ...into }: NewWorkspace & { readonly means: OverlayMeans | null },
): Promise<MadeWorkspace | null> {
  const setup = attemptState(handle.row).setup ?? (await decide(ctx, handle));
  if (setup.from === undefined) return null;
  const { id, bytes } = setup.from;
  const dirs = attemptDirs(ctx.home, handle.row);
  // What a server without overlays has begun is gone on with.
  const isCopied = means === null || namesOf("restore").some((name) => existsSync(dirs.step(name)));
  const made = isCopied ? await copy(ctx, handle, { ...into, setup, id }) : await lieUpon(ctx, handle, { ...into, means, setup, id });
  if (typeof made === "string") {
    await giveUp(ctx, handle, { id, setup, reason: made });
    return null;
  }
  if (setup.snapshot === undefined)
    await handle.commit({
      events: [{ type: "snapshot.restored", data: { snapshotId: id, cacheKey: handle.row.spec.setup?.cacheKey ?? "", bytes } }],
      change: { state: { ...attemptState(handle.row), setup: { ...setup, snapshot: { id, hit: true } } } },
    });
  return made;
}

/** Looks for a snapshot, and stores what the attempt begins with. */
async function decide(ctx: RunnerContext, handle: RunHandle): Promise<SetupState> {
  const { row } = handle;
  const first: SetupState = { isNewHome: readdirSync(attemptDirs(ctx.home, row).home).length === 0, index: 0, begun: false };
  const key = snapshotKeyOf(row);
  const found = key === null ? undefined : await useSnapshot(ctx.db, key);
  if (found === undefined) return store(handle, key === null ? first : { ...first, making: newId("snap") });
  const { id, bytes, fingerprint } = found;
  const dir = snapshotDir(ctx.home, id);
  const whole = (): Promise<SetupState> => store(handle, { ...first, from: { id, bytes } });
  if (performance.now() - (lookedAt.get(dir) ?? -Infinity) < LOOKED_AT_MS && existsSync(dir)) return whole();
  const there = await measure(dir).catch((error: unknown) => (error as Error).message);
  if (typeof there !== "string" && there.fingerprint === fingerprint) {
    lookedAt.set(dir, performance.now());
    return whole();
  }
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
  lookedAt.delete(snapshotDir(ctx.home, id));
  if (await removeSnapshot(ctx.db, handle.row.org_id, id)) await removeSnapshotDir(ctx.home, id).catch(() => undefined);
  const message = `The snapshot ${id} cannot be used (${reason}): the set-up is run instead.`;
  await handle.commit({
    events: [{ type: "notice", data: { level: "warning", code: "snapshot-damaged", message } }],
    change: { state: { ...attemptState(handle.row), setup: next } },
  });
  return next;
}

interface Use extends NewWorkspace {
  readonly setup: SetupState;
  readonly id: string;
}

/** A plain sentence: why it cannot be used. */
async function copy(ctx: RunnerContext, { row }: RunHandle, { setup, id, end, ...into }: Use): Promise<MadeWorkspace | string> {
  await into.cached;
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
  const { result, prepared } = await runRepeatably(ctx, row, { step, timeoutMs: RESTORE_TIMEOUT_MS, signal: end });
  const full = result.code === 0 ? null : diskFullError(result.stderr, attemptDirs(ctx.home, row).root);
  if (full !== null) throw new RunFailure(full);
  if (result.code !== 0) return harmless(result.stderr.split("\n")[0] ?? "");
  // Whoever removes a snapshot moves it away first: what is still in its place was whole for as long as it was copied.
  return existsSync(snapshot) ? { granted: prepared.granted, stdout: result.stdout, stderr: result.stderr } : REMOVED;
}

async function lieUpon(
  ctx: RunnerContext,
  handle: RunHandle,
  { setup, id, ...into }: Use & { readonly means: OverlayMeans },
): Promise<MadeWorkspace | string> {
  const dir = snapshotDir(ctx.home, id);
  // The commit's repository lies above it: of another one, nothing may be seen through.
  if (existsSync(path.join(dir, "workspace", ".git"))) return "it holds a repository of its own";
  const place = path.relative(ctx.home.root, dir);
  return (await checkOutUpon(ctx, handle, { ...into, snapshot: { id, place, withHome: setup.isNewHome } })) ?? REMOVED;
}
