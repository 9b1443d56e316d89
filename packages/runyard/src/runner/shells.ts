import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type OpenedShell, RunyardError } from "@runyard/sdk/contract";
import { egressPatterns } from "../core/egress.ts";
import { newId } from "../engine/ids.ts";
import type { ShellWish } from "../engine/workspaces.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { isSameProcess, isShimAlive, makeRunDirectory, readShimPid } from "../sandbox/run-directory.ts";
import type { RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import { pathsInside, proxyVariables } from "./agent-launch.ts";
import { knownState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, workspaceAttempt } from "./directories.ts";
import { leaveOverlay } from "./overlay-workspace.ts";
import { openRunSecrets } from "./give-secrets.ts";
import { RunFailure } from "./run-handle.ts";
import { prepareSandbox, type SandboxStep } from "./sandbox-step.ts";

/** For how long a shell that was asked for may be started, and how often it is looked whether it has ended. */
const STARTED_WITHIN_MS = 30_000;
const LOOK_MS = 1_000;

/** What is not the command's business is closed; then it waits for whoever started it to be there (cli/attach.ts). */
const WAIT_TO_BEGIN = `exec 3>&- 4>&- 5>&- 6>&-
echo ready >&7 && read -r go <&7 || exit 97
exec 7>&-
case $1 in *=*) exec "$@" ;; esac
/usr/bin/env --default-signal=INT,QUIT true 2>/dev/null || exec "$@"
exec /usr/bin/env --default-signal=INT,QUIT "$@"`;

/** Nothing of what an agent left in its home is read by the shell. */
const INTERACTIVE = "command -v bash >/dev/null && exec bash --noprofile --norc -i; unset PS1; exec sh -i";

/**
 * Makes the run directory of a shell in a run's sandbox: the same driver, mounts, limits and variables, without a model,
 * and without secrets unless they are wished for. Null where the run has no workspace here. What becomes of it is watched
 * from then on: it goes with its control groups once it has ended, or was not started in time.
 */
export async function openShell(ctx: RunnerContext, run: RunRow, wish: ShellWish): Promise<OpenedShell | null> {
  const attempt = workspaceAttempt(ctx.home, run);
  if (attempt === null) return null;
  const row: RunRow = { ...run, attempt };
  const driver = ctx.driver(row.spec.sandboxDriver);
  const dirs = attemptDirs(ctx.home, row);
  const isTerminal = wish.terminal !== undefined;
  if (driver.name === "process")
    throw refused(`Run ${run.id} has no sandbox to open a shell in: it has the driver process, and its files are in ${dirs.workspace}.`);
  if (isTerminal && (await driver.probe()).isolation.syscalls === "none")
    throw refused(
      "This kernel filters no system calls, and what runs in the sandbox could type into your terminal. Run a command without one: runyard shell <run> -- <command> </dev/null | cat",
    );
  mkdirSync(dirs.home, { recursive: true, mode: 0o700 });
  const egress = row.replay === null ? (row.spec.egress ?? []) : [];
  const way = egress.length === 0 ? null : await openWay(ctx, egress);
  const command = wish.command ?? ["/bin/sh", ...(isTerminal ? ["-c", INTERACTIVE] : [])];
  const step: SandboxStep = {
    name: `shell-${randomBytes(6).toString("hex")}`,
    // What stands for a container waits itself, outside of it.
    argv: driver.name === "docker" ? command : ["/bin/sh", "-c", WAIT_TO_BEGIN, "runyard-shell", ...command],
    env: {
      ...row.spec.environment,
      ...(wish.withSecrets ? await secretsOf(ctx, row) : {}),
      ...way?.env(driver.gatewayUrl(0)),
      ...(wish.terminal !== undefined && { TERM: wish.terminal, PS1: `${row.id.slice(-6)}:\\w\\$ ` }),
      HOME: pathsInside(ctx, row).home,
      LANG: "C.UTF-8",
    },
    mounts: cacheOf(row),
    isOwn: false,
    network: way !== null,
    terminal: isTerminal,
    attended: true,
  };
  const dir = dirs.step(step.name);
  try {
    const { launch } = await prepareSandbox(ctx, row, step);
    makeRunDirectory(dir, launch, { run: row.id, attempt, step: step.name });
  } catch (error) {
    await way?.close();
    if (error instanceof RunFailure) throw refused(error.error.message);
    throw error;
  }
  void watchShell(ctx, { dir, row }, async () => way?.close());
  return { directory: dir, driver: driver.name, egress: [...egress] };
}

function refused(message: string): RunyardError {
  return new RunyardError("sandbox_not_available", message);
}

function cacheOf(row: RunRow): SandboxStep["mounts"] {
  const { cachePath } = knownState(row);
  const source = cachePath ?? null;
  return source !== null && existsSync(source) ? [{ source, target: source, mode: "ro" }] : [];
}

async function secretsOf(ctx: RunnerContext, row: RunRow): Promise<Readonly<Record<string, string>>> {
  const secrets = openRunSecrets(ctx, row);
  await secrets.load();
  return secrets.environment;
}

/** A way through the gateway to some hosts, and to nothing else; it ends with the shell, or with this server. */
async function openWay(ctx: RunnerContext, egress: readonly string[]) {
  const runId = newId("run");
  const token = `ryg_${randomBytes(32).toString("base64url")}`;
  const patterns = egressPatterns(egress);
  await ctx.gateway.openRun({
    runId,
    token,
    model: null,
    simulated: false,
    egress: patterns,
    egressNetworks: [...ctx.egressNetworks],
    egressOnly: true,
  });
  return {
    env: (gatewayUrl: string): Record<string, string> => proxyVariables(gatewayUrl, token),
    close: () => ctx.gateway.closeRun(runId).catch(() => undefined),
  };
}

/** Never rejects. */
async function watchShell(ctx: RunnerContext, { dir, row }: { dir: string; row: RunRow }, closeWay: () => Promise<void>): Promise<void> {
  const end = performance.now() + STARTED_WITHIN_MS;
  const wait = (): Promise<unknown> => sleep(LOOK_MS, undefined, { signal: ctx.leaving, ref: false }).catch(() => undefined);
  while (!ctx.leaving.aborted && readShimPid(dir) === null && performance.now() < end) await wait();
  const shell = readShimPid(dir);
  while (!ctx.leaving.aborted && shell !== null && (isSameProcess(shell) || isShimAlive(dir))) await wait();
  if (ctx.leaving.aborted) return;
  try {
    await closeWay();
    await killRunDirectory(dir);
    rmSync(dir, { recursive: true, force: true });
    const now = await reloadRun(ctx.db, row);
    if (now === undefined || now.finished_at !== null || now.owner === null || now.attempt !== row.attempt)
      await leaveOverlay(attemptDirs(ctx.home, row).root);
  } catch (error) {
    ctx.log("error", "What a shell left could not be removed", { dir, error: String(error) });
  }
}
