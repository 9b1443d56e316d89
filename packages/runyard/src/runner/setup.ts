import type { EventData, NewEvent } from "@runyard/sdk/contract";
import { setupError } from "../core/setup.ts";
import { harmless } from "../git/commit-result.ts";
import { readSettled, type Settled, settleArgv } from "../git/setup-workspace.ts";
import { pathsInside, proxyEnv } from "./agent-launch.ts";
import { attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { diskFullError } from "./disk-full.ts";
import { openAtGateway } from "./gateway-run.ts";
import { egressOf, trustInside } from "./header-secrets.ts";
import { keepSnapshot } from "./keep-snapshot.ts";
import { settleCalls } from "./next-attempt.ts";
import type { NewWorkspace } from "./base-workspace.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { runRepeatably, type SandboxStep } from "./sandbox-step.ts";
import type { SetupState } from "./setup-state.ts";
import { commandArgv, commandEnv, runUserCommand } from "./user-command.ts";

const SETTLE_TIMEOUT_MS = 600_000;
const MAX_NAMED_FILES = 10;

/**
 * Runs the commands of the run's set-up in its new workspace, one after the other, and keeps what they made where it is
 * to be kept. Everything is stored before it is done, so that a restarted server goes on with the same command. Throws
 * RunFailure for the first one that fails.
 */
export async function runSetup(ctx: RunnerContext, handle: RunHandle, workspace: NewWorkspace): Promise<void> {
  const commands = handle.row.spec.setup?.commands ?? [];
  for (;;) {
    const setup = stateOf(handle);
    const command = commands[setup.index];
    if (command === undefined) break;
    const { index } = setup;
    if (!setup.begun) {
      const events: NewEvent[] = [{ type: "setup.started", data: { command, index } }];
      await commitSetup(handle, { setup: { ...setup, begun: true }, events });
    }
    const finished = await runCommand(ctx, handle, { ...workspace, command, index, knowsBegin: !setup.begun });
    const events: NewEvent[] = [{ type: "setup.finished", data: finished }];
    if (!finished.passed) {
      // What it was not let to reach may be why.
      if (reachesOut(handle)) await settleCalls(ctx, handle);
      throw new RunFailure(setupError(finished, commands.length), { events, state: attemptState(handle.row) });
    }
    await commitSetup(handle, { setup: { ...setup, index: index + 1, begun: false }, events });
  }
  await settle(ctx, handle, workspace);
  await keepSnapshot(ctx, handle, workspace);
}

function stateOf(handle: RunHandle): SetupState {
  const { setup } = attemptState(handle.row);
  if (setup === undefined) throw new Error(`Nothing was decided about the set-up of run ${handle.row.id}`);
  return setup;
}

async function commitSetup(
  handle: RunHandle,
  { setup, events }: { readonly setup: SetupState; readonly events: readonly NewEvent[] },
): Promise<void> {
  await handle.commit({ events, change: { state: { ...attemptState(handle.row), setup } } });
}

function reachesOut({ row, secrets }: RunHandle): boolean {
  return egressOf(row, secrets).length > 0;
}

/** With the network of the agent, but never more than the hosts that the run may reach; without a network where it may reach none. */
async function runCommand(
  ctx: RunnerContext,
  handle: RunHandle,
  options: NewWorkspace & { readonly command: string; readonly index: number; readonly knowsBegin: boolean },
): Promise<EventData<"setup.finished">> {
  const { row, secrets } = handle;
  const { command, index, cachePath, end, knowsBegin } = options;
  const { home } = pathsInside(ctx, row);
  const network = reachesOut(handle);
  if (network) await openAtGateway(ctx, row, secrets);
  const gatewayUrl = ctx.driver(row.spec.sandboxDriver).gatewayUrl(ctx.gateway.tcpPort());
  const trust = trustInside(ctx, secrets);
  const step: SandboxStep = {
    name: `setup-${index}`,
    argv: commandArgv(command),
    env: { ...commandEnv(row, { home, secrets }), ...proxyEnv(row, secrets, { gatewayUrl, token: ctx.gatewayToken(row) }), ...trust.env },
    mounts: [...trust.mounts, { source: cachePath, target: cachePath, mode: "ro" }],
    // It is a person's, so it may write where the agent may not.
    isOwn: true,
    network,
  };
  const begunMs = performance.now();
  const { exitCode, ...ended } = await runUserCommand(ctx, row, {
    step,
    timeoutMs: row.spec.setup?.timeout ?? 0,
    end,
    secrets,
  });
  const durationMs = knowsBegin ? Math.round(performance.now() - begunMs) : null;
  return { command, index, passed: exitCode === 0, exitCode, durationMs, ...ended };
}

/** Leaves nothing in the workspace but the commit and what git ignores: what an agent changes is told apart from what set-up did. */
async function settle(ctx: RunnerContext, handle: RunHandle, { cachePath, commit, branch, end }: NewWorkspace): Promise<void> {
  const { row } = handle;
  const setup = stateOf(handle);
  if (setup.settled === true) return;
  const step: SandboxStep & { readonly name: "settle" } = {
    name: "settle",
    argv: settleArgv({ cachePath, ...pathsInside(ctx, row), commit, branch }),
    env: {},
    mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
    network: false,
  };
  const { result } = await runRepeatably(ctx, row, { step, timeoutMs: SETTLE_TIMEOUT_MS, signal: end });
  if (result.code !== 0) {
    const message = `The workspace that the set-up left cannot be used: ${harmless(result.stderr.trim().split("\n")[0] ?? "")}`;
    throw new RunFailure(diskFullError(result.stderr, attemptDirs(ctx.home, row).root) ?? { type: "setup-failed", message });
  }
  await commitSetup(handle, { setup: { ...setup, settled: true }, events: settledNotice(readSettled(result.stdout)) });
}

function settledNotice({ putBack, removed }: Settled): NewEvent[] {
  if (putBack.length === 0 && removed.length === 0) return [];
  const changed = putBack.length === 0 ? "" : ` It changed files that git tracks, which are as in the commit again: ${named(putBack)}.`;
  const left =
    removed.length === 0
      ? ""
      : ` It left files that git does not ignore, which were removed: ${named(removed)}. Name in .gitignore what is to stay.`;
  const message = `What set-up makes is no part of the run's change.${changed}${left}`;
  return [{ type: "notice", data: { level: "warning", code: "setup-tidied", message } }];
}

function named(files: readonly string[]): string {
  const more = files.length - MAX_NAMED_FILES;
  const names = files.slice(0, MAX_NAMED_FILES).map(harmless).join(", ");
  return more > 0 ? `${names} and ${more} more` : names;
}
