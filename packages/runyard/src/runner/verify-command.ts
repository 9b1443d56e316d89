import { mkdirSync, statSync } from "node:fs";
import path from "node:path";
import type { EventData } from "@runyard/sdk/contract";
import type { VerifyCommand } from "../core/attempts.ts";
import { readOutOfMemoryKills } from "../sandbox/cgroup.ts";
import { readStepOutput, StepTimeoutError } from "../sandbox/step.ts";
import type { RunRow } from "../store/run-row.ts";
import { pathsInside } from "./agent-launch.ts";
import { redactor } from "./agent-session.ts";
import { cachePathOf } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { lastBytes, tailMargin } from "./hide-in-lines.ts";
import { RunFailure } from "./run-handle.ts";
import type { RunSecrets } from "./run-secrets.ts";
import { prepareSandbox, runSandboxStep, type SandboxStep } from "./sandbox-step.ts";
import { watchUsage } from "./watch-usage.ts";

/** How much of the end of its output is kept. */
const KEPT_BYTES = 16 * 1024;
/** A command that writes more is ended: what it writes lies on the host's disk until then. */
const MAX_WRITTEN_BYTES = 64 * 1024 * 1024;
const LOOK_MS = 100;

/** stdout and stderr as one, in the order in which they were written. */
const JOIN_OUTPUT = 'exec 2>&1; exec /bin/sh -c "$1"';

export interface VerifyPlace {
  readonly command: VerifyCommand;
  readonly round: number;
  /** Of the command among its round's. */
  readonly index: number;
}

/**
 * Runs one command in a sandbox of its own on the run's workspace: no network, a home that the agent never
 * saw, no process of the agent's in sight. A restarted server goes on waiting for the same one. Throws
 * RunFailure `lost` when nobody knows how it ended, and the reason of `end`.
 */
export async function runVerifyCommand(
  ctx: RunnerContext,
  row: RunRow,
  options: { readonly place: VerifyPlace; readonly end: AbortSignal; readonly secrets: RunSecrets },
): Promise<EventData<"verify.finished">> {
  const { place, end, secrets } = options;
  const { command, round, index } = place;
  const dirs = attemptDirs(ctx.home, row);
  mkdirSync(dirs.verifyHome, { recursive: true, mode: 0o700 });
  const cachePath = cachePathOf(row);
  const step: SandboxStep = {
    name: `verify-${round}-${index}`,
    argv: ["/bin/sh", "-c", JOIN_OUTPUT, "sh", command.run],
    env: { CI: "true", NO_COLOR: "1", ...row.spec.environment, ...secrets.environment, HOME: homeInside(ctx, row), LANG: "C.UTF-8" },
    mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
    home: dirs.verifyHome,
    isOwn: false,
    network: false,
  };
  const dir = dirs.step(step.name);
  const prepared = await prepareSandbox(ctx, row, step);
  const flood = watchOutput(dir);
  const usage = watchUsage(ctx, row, { step: step.name });
  const signal = AbortSignal.any([end, flood.signal, usage.full]);
  let ended: Ended;
  try {
    const { code } = await runSandboxStep(ctx, row, { step, prepared, timeoutMs: command.timeout, signal, maxOutputBytes: KEPT_BYTES });
    ended = { code, timedOut: false };
  } catch (error) {
    const timedOut = error instanceof StepTimeoutError;
    if (end.aborted || usage.full.aborted || !(timedOut || flood.signal.aborted)) throw error;
    ended = { code: null, timedOut };
  } finally {
    flood.close();
    await usage.close();
  }
  usage.full.throwIfAborted();
  // What is cut off must not leave the end of a secret, which nobody would know any more.
  const { stdout, stderr, truncated } = readStepOutput(dir, KEPT_BYTES + tailMargin(secrets.redactor));
  // Only what is around the command writes to stderr, for example a sandbox that could not be made.
  const output = redactor(ctx, row, secrets)(stdout === "" ? stderr : stdout);
  return {
    command: command.run,
    kind: command.kind,
    round,
    ...outcomeOf(dir, ended),
    output: lastBytes(output, KEPT_BYTES),
    truncated: truncated || Buffer.byteLength(output) > KEPT_BYTES,
  };
}

interface Ended {
  readonly code: number | null;
  readonly timedOut: boolean;
}

function outcomeOf(dir: string, { code, timedOut }: Ended): Pick<EventData<"verify.finished">, "passed" | "exitCode" | "cause"> {
  if (timedOut) return { passed: false, exitCode: null, cause: "timeout" };
  // Also where a server that was killed in between had ended it for that.
  if (sizeOf(dir) > MAX_WRITTEN_BYTES) return { passed: false, exitCode: null, cause: "output-limit" };
  if (code === null)
    throw new RunFailure({ type: "lost", message: "The process that watched over a verifying command died, so its outcome is not known." });
  const ranOut = code !== 0 && readOutOfMemoryKills(dir) > 0;
  return { passed: code === 0, exitCode: code, cause: ranOut ? "out-of-memory" : null };
}

function homeInside(ctx: RunnerContext, row: RunRow): string {
  return row.spec.sandboxDriver === "process" ? attemptDirs(ctx.home, row).verifyHome : pathsInside(ctx, row).home;
}

function sizeOf(dir: string): number {
  return statSync(path.join(dir, "out"), { throwIfNoEntry: false })?.size ?? 0;
}

function watchOutput(dir: string): { readonly signal: AbortSignal; close(): void } {
  const abort = new AbortController();
  const timer = setInterval(() => {
    if (sizeOf(dir) > MAX_WRITTEN_BYTES) abort.abort(new Error("The command wrote more than it may"));
  }, LOOK_MS);
  return { signal: abort.signal, close: () => clearInterval(timer) };
}
