import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import type { NewEvent } from "@runyard/sdk/contract";
import { harmless } from "../git/commit-result.ts";
import { keepArgv } from "../git/setup-workspace.ts";
import { createRedactor } from "../redact.ts";
import { StepTimeoutError } from "../sandbox/step.ts";
import { addSnapshot } from "../store/snapshots.ts";
import { pathsInside } from "./agent-launch.ts";
import { attemptState, turnHead } from "./attempt-state.ts";
import { findBase, noteFit } from "./base-checkout.ts";
import type { NewWorkspace } from "./base-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { egressOf } from "./header-secrets.ts";
import { removeSnapshotDir } from "./layers.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep } from "./sandbox-step.ts";
import { snapshotKeyOf } from "./setup-state.ts";
import { placeSnapshot, removeSlowly, snapshotDir } from "./snapshot-disk.ts";
import { findSecret, measure } from "./snapshot-files.ts";

const KEEP_TIMEOUT_MS = 600_000;

/**
 * Keeps what set-up made as a snapshot, where the run has a key for it, and where no agent had a hand in it: neither in
 * the home nor in the commit. What goes wrong with that is said, and does not end the run. Can be repeated.
 */
export async function keepSnapshot(ctx: RunnerContext, handle: RunHandle, into: NewWorkspace): Promise<void> {
  const { row } = handle;
  const state = attemptState(row);
  const { setup } = state;
  const key = snapshotKeyOf(row);
  const id = setup?.making;
  if (setup === undefined || id === undefined || key === null || setup.snapshot !== undefined) return;
  if (!setup.isNewHome || turnHead(row) !== null) return;
  const dir = snapshotDir(ctx.home, id);
  const reason = existsSync(dir) ? null : await make(ctx, handle, { id, end: into.end });
  const { snapshot: made } = attemptDirs(ctx.home, row);
  if (reason !== null) {
    await say(handle, { level: "warning", message: `Nothing of the set-up was kept: ${reason}` });
    // Not before that: whoever repeats this would take what is left of it for all of it.
    return removeSlowly(made);
  }
  const { fingerprint, files, bytes } = await measure(dir);
  const { commands = [] } = row.spec.setup ?? {};
  if (!(await addSnapshot(ctx.db, { ...key, id, commands, runId: row.id, fingerprint, files, bytes }))) {
    await say(handle, { level: "info", message: "Another run has kept its set-up under this key meanwhile; this one's was not kept." });
    await removeSnapshotDir(ctx.home, id);
    return;
  }
  // It was made at this commit, behind a workspace that holds nothing else any more.
  const base = findBase(ctx.home, into);
  if (base !== null) noteFit(ctx.home, base, id);
  const kept: NewEvent = { type: "snapshot.kept", data: { snapshotId: id, cacheKey: key.cacheKey, bytes, files } };
  await handle.commit({ events: [kept], change: { state: { ...state, setup: { ...setup, snapshot: { id, hit: false } } } } });
}

/** Copies what set-up made to where it is looked for, whole or not at all; a plain sentence: why not. */
async function make(
  ctx: RunnerContext,
  handle: RunHandle,
  { id, end }: { readonly id: string; readonly end: AbortSignal },
): Promise<string | null> {
  const { snapshot: made } = attemptDirs(ctx.home, handle.row);
  try {
    mkdirSync(made, { recursive: true, mode: 0o700 });
    const why = (await copy(ctx, handle, { made, end })) ?? whyNotThere(made) ?? (await secretIn(ctx, handle, made));
    if (why === null) placeSnapshot(ctx.home, id, made);
    return why;
  } catch (error) {
    // Whoever ends the run, or has it now, is to hear that; of what remains, the run has a workspace to go on in.
    if (end.aborted || !(error instanceof RunFailure || error instanceof StepTimeoutError || isOfSystem(error))) throw error;
    return `${harmless(error.message)}.`;
  }
}

/** A step that was done is not done again, whatever became of what it made. */
function whyNotThere(made: string): string | null {
  return existsSync(path.join(made, "home")) ? null : "the copy of it is gone.";
}

function isOfSystem(error: unknown): error is Error {
  return error instanceof Error && ("syscall" in error || error.message.includes("is neither a file nor"));
}

async function copy(
  ctx: RunnerContext,
  { row }: RunHandle,
  { made, end }: { readonly made: string; readonly end: AbortSignal },
): Promise<string | null> {
  const step: SandboxStep & { readonly name: "keep" } = {
    name: "keep",
    argv: keepArgv({ ...pathsInside(ctx, row), into: made }),
    env: {},
    mounts: [{ source: made, target: made, mode: "rw" }],
    network: false,
  };
  const { result } = await runRepeatably(ctx, row, { step, timeoutMs: KEEP_TIMEOUT_MS, signal: end });
  return result.code === 0 ? null : `it could not be copied: ${harmless(result.stderr.trim().split("\n")[0] ?? "")}.`;
}

/** Why nothing is kept where something secret stands in it: what the run was given, or its way to the gateway. */
async function secretIn(ctx: RunnerContext, { row, secrets }: RunHandle, made: string): Promise<string | null> {
  const token = egressOf(row, secrets).length === 0 ? [] : [{ text: ctx.gatewayToken(row), label: "[gateway token]" }];
  const found = await findSecret(made, createRedactor(token, secrets.given));
  return found === null ? null : `${found.label} stands in ${harmless(found.file)}. Have the set-up leave no secrets behind.`;
}

async function say(handle: RunHandle, { level, message }: { readonly level: "info" | "warning"; readonly message: string }): Promise<void> {
  const { making: _, ...setup } = attemptState(handle.row).setup ?? { isNewHome: false, index: 0, begun: false };
  await handle.commit({
    events: [{ type: "notice", data: { level, code: "snapshot-not-kept", message } }],
    change: { state: { ...attemptState(handle.row), setup } },
  });
}
