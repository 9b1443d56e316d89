import type { Limits, SandboxReport } from "@runyard/sdk/contract";
import { typeInForce } from "../core/attempts.ts";
import { type Kept, keptLimits, whyBelowFloor } from "../core/isolation-floor.ts";
import { SANDBOX_LIMITS } from "../core/limits.ts";
import { removeEmptyGroups } from "../sandbox/probe-limits.ts";
import { type Mount, type PreparedSandbox, type SandboxSpec, SandboxUnavailableError } from "../sandbox/driver.ts";
import { NotStartedError } from "../sandbox/spawner.ts";
import { runStep, type StepResult } from "../sandbox/step.ts";
import { attemptSettings, triesOf } from "../store/attempts-shown.ts";
import { permissionsOf, type RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, namesOf, type RepeatableStep, type StepName } from "./directories.ts";
import { enterOverlay, hasLostHolder } from "./overlay-workspace.ts";
import { repositoryMounts } from "./repository-places.ts";
import { RunFailure } from "./run-handle.ts";
import { watchAttemptDisk } from "./watch-disk.ts";

/** A step of a run in its sandbox: the words, and what they may see. */
export interface SandboxStep {
  readonly name: StepName;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** A home of the step's own, on the host; default: the agent's. */
  readonly home?: string;
  /** False: what runs is the agent's or for it, so that it keeps to what the run is granted; default: it is Runyard's own. */
  readonly isOwn?: boolean;
  /** Whether the step may reach the model through the gateway. */
  readonly network: boolean;
  /** Whether it is attached to a person's terminal; default: it is not. */
  readonly terminal?: boolean;
  /** Whether a person's command line starts it and waits for it; default: a shim does. */
  readonly attended?: boolean;
}

/** Makes a run's sandbox ready for a step, or fails the run with the reason. */
export async function prepareSandbox(ctx: RunnerContext, row: RunRow, step: SandboxStep): Promise<PreparedSandbox> {
  const dirs = attemptDirs(ctx.home, row);
  const driver = ctx.driver(row.spec.sandboxDriver);
  const probe = await driver.probe();
  if (!probe.available)
    throw new RunFailure({
      type: "sandbox-unavailable",
      message: probe.reason ?? `The sandbox driver ${driver.name} cannot be used here.`,
    });
  const { isolation } = probe;
  requireFloor(row, { isolation, limits: { memory: true, cpus: true, pids: true } });
  const enter = driver.name === "bwrap" ? await enterOverlay(ctx, row) : [];
  const spec: SandboxSpec = {
    enter,
    name: `${row.id}-${row.attempt}-${step.name}`,
    dirs: { workspace: dirs.workspace, home: step.home ?? dirs.home },
    argv: step.argv,
    env: step.env,
    mounts: step.isOwn === false ? [...step.mounts, ...repositoryMounts(ctx, row)] : step.mounts,
    writableWorkspace: step.isOwn !== false || permissionsOf(row).includes("write"),
    gatewayDoorDir: step.network ? ctx.gateway.doorDir : null,
    limits: limitsOf(row),
    ...(step.terminal === true && { terminal: true }),
    ...(step.attended === true && { attended: true }),
    ...(row.spec.image !== undefined && { image: row.spec.image }),
  };
  const prepared = await driver.prepare(spec).catch((error: unknown) => {
    if (!(error instanceof SandboxUnavailableError)) throw error;
    throw new RunFailure({ type: "sandbox-unavailable", message: error.message });
  });
  requireFloor(row, { isolation, limits: keptLimits(prepared.granted) });
  return prepared;
}

/** Fails the run where its sandbox keeps less than it must: it was created for another machine, or for this one as it was. */
function requireFloor({ spec: { isolationFloor: floor = "none" } }: RunRow, kept: Kept): void {
  const why = whyBelowFloor({ floor, from: "default" }, kept);
  if (why !== null) throw new RunFailure({ type: "sandbox-unavailable", message: why });
}

export function limitsOf(row: RunRow): Limits {
  return SANDBOX_LIMITS[typeInForce(attemptSettings(row), triesOf(row))];
}

/** What a run records of its sandbox: asked for and got. `egress`: hosts that its programs may reach; `way`: how its workspace was made, where that is known. */
export async function sandboxReport(
  ctx: RunnerContext,
  row: RunRow,
  {
    granted,
    egress,
    way,
  }: Pick<PreparedSandbox, "granted"> & { readonly egress: readonly string[]; readonly way: SandboxReport["workspace"] | null },
): Promise<SandboxReport> {
  const driver = ctx.driver(row.spec.sandboxDriver);
  const { isolation } = await driver.probe();
  const { isolationFloor: floor } = row.spec;
  const reach = egress.length === 0 || isolation.network === "none" ? {} : { egress: [...egress] };
  const requested = limitsOf(row);
  return {
    driver: driver.name,
    isolation,
    requested,
    // Kept by the runner, whatever the driver: it looks how much there is (watch-disk.ts).
    granted: { ...granted, diskBytes: requested.diskBytes },
    diskLimit: "soft",
    ...(floor !== undefined && { floor }),
    ...reach,
    ...(way !== null && way !== undefined && { workspace: way }),
  };
}

/** What a run's sandbox would be granted, without any step in it. */
export async function grantedInSandbox(ctx: RunnerContext, row: RunRow): Promise<PreparedSandbox["granted"]> {
  const { launch, granted } = await prepareSandbox(ctx, row, { name: "fit", argv: ["true"], env: {}, mounts: [], network: false });
  removeEmptyGroups(launch.join);
  return granted;
}

interface StepRun {
  readonly step: SandboxStep;
  readonly prepared: PreparedSandbox;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly maxOutputBytes?: number;
}

/**
 * Runs a step that can be repeated, again where the process that watched over it or held its workspace died; fails the run as `lost` where
 * that happens three times. Resolves with the result and what was granted.
 */
export async function runRepeatably(
  ctx: RunnerContext,
  row: RunRow,
  options: Omit<StepRun, "step" | "prepared"> & { readonly step: SandboxStep & { readonly name: RepeatableStep } },
): Promise<{ readonly result: StepResult & { readonly code: number }; readonly prepared: PreparedSandbox }> {
  // The agent's tree is looked at in here too, and what it configured for git may write as much as it did.
  const disk = watchAttemptDisk(ctx, row, limitsOf(row).diskBytes);
  const signal = AbortSignal.any([options.signal, disk.full]);
  try {
    for (const name of namesOf(options.step.name)) {
      const step = { ...options.step, name };
      const prepared = await prepareSandbox(ctx, row, step);
      const result = await runSandboxStep(ctx, row, { ...options, signal, step, prepared }).catch(nothingStarted);
      const isKnown = result !== null && (result.code === 0 || !hasLostHolder(ctx.home, row));
      if (isKnown && result.code !== null) return { result: { ...result, code: result.code }, prepared };
      ctx.log("warn", "The process that watched over a step of a run or held its workspace died; the step is done again", {
        run: row.id,
        step: name,
      });
    }
  } finally {
    disk.close();
  }
  const message = `The process that watches over the step "${options.step.name}" died three times. Start the run again.`;
  throw new RunFailure({ type: "lost", message });
}

/** What a step of git that failed said last. */
export function whyItFailed({ code, stderr }: { readonly code: number; readonly stderr: string }): string {
  return stderr.trimEnd().split("\n").at(-1) || `git ended with code ${code}`;
}

/** Null for a step whose watching process was ended before it had begun. */
function nothingStarted(error: unknown): null {
  if (error instanceof NotStartedError) return null;
  throw error;
}

/** Runs a short step to its end; a restarted server goes on waiting for the same one. */
export async function runSandboxStep(ctx: RunnerContext, row: RunRow, options: StepRun): Promise<StepResult> {
  const { step, prepared, ...rest } = options;
  return runStep({
    spawner: ctx.spawner,
    dir: attemptDirs(ctx.home, row).step(step.name),
    launch: prepared.launch,
    spec: { run: row.id, attempt: row.attempt, step: step.name, argv: step.argv },
    ...rest,
  });
}
