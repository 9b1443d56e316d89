import { existsSync } from "node:fs";
import path from "node:path";
import { readSettled, fitArgv } from "../git/setup-workspace.ts";
import { prepareWorkspaceArgv } from "../git/workspace.ts";
import type { OverlayMeans } from "../sandbox/overlay.ts";
import type { PreparedSandbox } from "../sandbox/driver.ts";
import { pathsInside } from "./agent-launch.ts";
import { baseAmong, becomeBase, type BaseCheckout, branchFiles, findBase, isKnownToFit, isLarge, noteFit } from "./base-checkout.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, namesOf } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { readLayers } from "./layers.ts";
import { dropOverlay, makeOverlay } from "./overlay-workspace.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { grantedInSandbox, runRepeatably, type SandboxStep, whyItFailed } from "./sandbox-step.ts";

const PREPARE_TIMEOUT_MS = 600_000;

/** What a new workspace is made of. */
export interface NewWorkspace {
  readonly cachePath: string;
  /** Resolves once the cache has the commit: what reads the cache waits for it. */
  readonly cached: Promise<unknown>;
  readonly commit: string;
  readonly branch: string;
  readonly end: AbortSignal;
}

/** A workspace that is there. */
export interface MadeWorkspace {
  readonly granted: PreparedSandbox["granted"];
  /** What the checkout said of what it has not got. */
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes a workspace of a commit: on a base where there is one or where it is worth to have one, else a checkout of its own. Can be repeated. */
export async function checkOut(
  ctx: RunnerContext,
  handle: RunHandle,
  { means, ...into }: NewWorkspace & { readonly means: OverlayMeans | null },
): Promise<MadeWorkspace> {
  const begun = await baseFor(ctx, handle, { ...into, wanted: means === null ? "never" : "large" });
  if (means === null || begun.base === null) {
    if (begun.checkout === null) throw new Error("Neither a base nor a checkout was made");
    return begun.checkout;
  }
  const { base } = begun;
  const dirs = attemptDirs(ctx.home, handle.row);
  makeOverlay(dirs, means, { lowers: [base.tree], homeFrom: null, files: branchFiles(into) });
  if (!isThere(ctx, base.tree)) {
    await dropOverlay(dirs);
    return checkOut(ctx, handle, { ...into, means });
  }
  return { granted: await grantedInSandbox(ctx, handle.row), stdout: base.said, stderr: "" };
}

/**
 * Makes a workspace of a commit upon a snapshot: the commit's files are above what set-up made, and what this commit does not ignore any more is
 * removed, unless that was looked at before. `place`: the folder of the snapshot, below the home. Null where that was removed meanwhile. Can be
 * repeated.
 */
export async function checkOutUpon(
  ctx: RunnerContext,
  handle: RunHandle,
  {
    means,
    snapshot,
    ...into
  }: NewWorkspace & {
    readonly means: OverlayMeans;
    readonly snapshot: { readonly id: string; readonly place: string; readonly withHome: boolean };
  },
): Promise<MadeWorkspace | null> {
  const { base } = await baseFor(ctx, handle, { ...into, wanted: "always" });
  if (base === null) throw new Error("No base was made");
  const { id, place, withHome } = snapshot;
  const homeFrom = withHome ? `${place}/home` : null;
  const dirs = attemptDirs(ctx.home, handle.row);
  makeOverlay(dirs, means, { lowers: [base.tree, `${place}/workspace`], homeFrom, files: branchFiles(into) });
  if (!isThere(ctx, base.tree) || !isThere(ctx, place)) {
    await dropOverlay(dirs);
    return isThere(ctx, place) ? checkOutUpon(ctx, handle, { ...into, means, snapshot }) : null;
  }
  if (isKnownToFit(ctx.home, base, id)) return { granted: await grantedInSandbox(ctx, handle.row), stdout: base.said, stderr: "" };
  await into.cached;
  const step: SandboxStep & { readonly name: "fit" } = {
    name: "fit",
    argv: fitArgv(pathsInside(ctx, handle.row).workspace),
    env: {},
    mounts: [{ source: into.cachePath, target: into.cachePath, mode: "ro" }],
    network: false,
  };
  const { result, prepared } = await runRepeatably(ctx, handle.row, { step, timeoutMs: PREPARE_TIMEOUT_MS, signal: into.end });
  if (result.code !== 0) throw notMade(ctx, handle, result);
  if (readSettled(result.stdout).removed.length === 0) noteFit(ctx.home, base, id);
  return { granted: prepared.granted, stdout: base.said, stderr: "" };
}

/** Whether a layer is in its place once it was written down: whoever removes it moves it away first, and then looks who lies upon it. */
function isThere(ctx: RunnerContext, place: string): boolean {
  return existsSync(path.join(ctx.home.root, place));
}

type Begun = { readonly base: BaseCheckout; readonly checkout: null } | { readonly base: null; readonly checkout: MadeWorkspace };

/**
 * Finds a base, or makes a checkout in the workspace, which becomes one where that is `wanted`. What a server has begun, a checkout or a workspace
 * upon a base, is gone on with, whoever else has made a base meanwhile.
 */
async function baseFor(
  ctx: RunnerContext,
  handle: RunHandle,
  { wanted, ...into }: NewWorkspace & { readonly wanted: "never" | "large" | "always" },
): Promise<Begun> {
  const { row } = handle;
  const dirs = attemptDirs(ctx.home, row);
  const layers = wanted === "never" ? null : readLayers(dirs.overlay);
  const begunUpon = layers === null ? null : baseAmong(ctx.home, layers.lowers);
  if (begunUpon !== null) return { base: begunUpon, checkout: null };
  const isBegun = namesOf("prepare").some((name) => existsSync(dirs.step(name)));
  const found = isBegun || wanted === "never" ? null : findBase(ctx.home, into);
  if (found !== null) return { base: found, checkout: null };
  const checkout = await makeCheckout(ctx, handle, into);
  const hasCheckout = existsSync(path.join(dirs.workspace, ".git"));
  if (hasCheckout && (wanted === "never" || (wanted === "large" && !isLarge(dirs.workspace)))) return { base: null, checkout };
  if (hasCheckout) await becomeBase(ctx.home, dirs.workspace, { ...into, said: checkout.stdout });
  const base = findBase(ctx.home, into);
  if (base !== null) return { base, checkout: null };
  throw new RunFailure({
    type: "lost",
    message: "The checkout that the workspace was to begin with was removed by somebody else. Start the run again.",
  });
}

async function makeCheckout(
  ctx: RunnerContext,
  handle: RunHandle,
  { cachePath, cached, commit, branch, end }: NewWorkspace,
): Promise<MadeWorkspace> {
  await cached;
  const { workspace } = pathsInside(ctx, handle.row);
  const step: SandboxStep & { readonly name: "prepare" } = {
    name: "prepare",
    argv: prepareWorkspaceArgv({ cachePath, workspace, commit, branch }),
    env: {},
    mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
    network: false,
  };
  return runPrepare(ctx, handle, { step, end });
}

/** Runs the step that makes a workspace, or fails the run with the reason. */
export async function runPrepare(
  ctx: RunnerContext,
  handle: RunHandle,
  { step, end }: { readonly step: SandboxStep & { readonly name: "prepare" }; readonly end: AbortSignal },
): Promise<MadeWorkspace> {
  const { result, prepared } = await runRepeatably(ctx, handle.row, { step, timeoutMs: PREPARE_TIMEOUT_MS, signal: end });
  if (result.code !== 0) throw notMade(ctx, handle, result);
  return { granted: prepared.granted, stdout: result.stdout, stderr: result.stderr };
}

export function notMade(ctx: RunnerContext, { row }: RunHandle, result: { readonly code: number; readonly stderr: string }): RunFailure {
  const message = `The workspace could not be made: ${whyItFailed(result)}`;
  return new RunFailure(diskFullError(result.stderr, attemptDirs(ctx.home, row).root) ?? { type: "sandbox-unavailable", message });
}
