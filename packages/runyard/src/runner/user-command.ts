import { statSync } from "node:fs";
import path from "node:path";
import type { EventData } from "@runyard/sdk/contract";
import { readOutOfMemoryKills } from "../sandbox/cgroup.ts";
import { readStepOutput, StepTimeoutError } from "../sandbox/step.ts";
import type { RunRow } from "../store/run-row.ts";
import { redactor } from "./agent-session.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { lastBytes, tailMargin } from "./hide-in-lines.ts";
import { hasLostHolder } from "./overlay-workspace.ts";
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

/** The words that run a command of a user's. */
export function commandArgv(command: string): string[] {
  return ["/bin/sh", "-c", JOIN_OUTPUT, "sh", command];
}

/** The environment of a command of a user's: what the run is given, and a home. */
export function commandEnv(row: RunRow, given: { readonly home: string; readonly secrets: RunSecrets }): Record<string, string> {
  return { CI: "true", NO_COLOR: "1", ...row.spec.environment, ...given.secrets.environment, HOME: given.home, LANG: "C.UTF-8" };
}

/** How a command of a user's ended, and the end of what it wrote. */
export type CommandEnd = Pick<EventData<"verify.finished">, "exitCode" | "cause" | "output" | "truncated">;

/**
 * Runs one command of a user's to its end; a restarted server goes on waiting for the same one. Throws RunFailure
 * `lost` when nobody knows how it ended, and the reason of `end`.
 */
export async function runUserCommand(
  ctx: RunnerContext,
  row: RunRow,
  options: { readonly step: SandboxStep; readonly timeoutMs: number; readonly end: AbortSignal; readonly secrets: RunSecrets },
): Promise<CommandEnd> {
  const { step, timeoutMs, end, secrets } = options;
  const dir = attemptDirs(ctx.home, row).step(step.name);
  const prepared = await prepareSandbox(ctx, row, step);
  const flood = watchOutput(dir);
  const usage = watchUsage(ctx, row, { step: step.name });
  const signal = AbortSignal.any([end, flood.signal, usage.full]);
  let ended: Ended;
  try {
    const { code } = await runSandboxStep(ctx, row, { step, prepared, timeoutMs, signal, maxOutputBytes: KEPT_BYTES });
    if (code !== 0 && hasLostHolder(ctx.home, row)) throw withoutHolder(step);
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
    ...outcomeOf(dir, ended),
    output: lastBytes(output, KEPT_BYTES),
    truncated: truncated || Buffer.byteLength(output) > KEPT_BYTES,
  };
}

/** Whether it had begun is not known. What an agent has made is gone on with; what set-up has may be half of it. */
function withoutHolder({ isOwn }: SandboxStep): RunFailure {
  const message = "The process that holds the workspace died before a command of the run had ended, so its outcome is not known.";
  return new RunFailure({ type: "lost", message }, null, isOwn === false);
}

interface Ended {
  readonly code: number | null;
  readonly timedOut: boolean;
}

function outcomeOf(dir: string, { code, timedOut }: Ended): Pick<CommandEnd, "exitCode" | "cause"> {
  if (timedOut) return { exitCode: null, cause: "timeout" };
  // Also where a server that was killed in between had ended it for that.
  if (sizeOf(dir) > MAX_WRITTEN_BYTES) return { exitCode: null, cause: "output-limit" };
  if (code === null)
    throw new RunFailure({
      type: "lost",
      message: "The process that watched over a command of the run died, so its outcome is not known.",
    });
  const ranOut = code !== 0 && readOutOfMemoryKills(dir) > 0;
  return { exitCode: code, cause: ranOut ? "out-of-memory" : null };
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
