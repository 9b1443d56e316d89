import { mkdirSync } from "node:fs";
import type { EventData } from "@runyard/sdk/contract";
import type { VerifyCommand } from "../core/attempts.ts";
import type { RunRow } from "../store/run-row.ts";
import { pathsInside } from "./agent-launch.ts";
import { cachePathOf } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import type { RunSecrets } from "./run-secrets.ts";
import { commandArgv, commandEnv, runUserCommand } from "./user-command.ts";

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
  const { exitCode, ...ended } = await runUserCommand(ctx, row, {
    step: {
      name: `verify-${round}-${index}`,
      argv: commandArgv(command.run),
      env: commandEnv(row, { home: homeInside(ctx, row), secrets }),
      mounts: [{ source: cachePath, target: cachePath, mode: "ro" }],
      home: dirs.verifyHome,
      isOwn: false,
      network: false,
    },
    timeoutMs: command.timeout,
    end,
    secrets,
  });
  return { command: command.run, kind: command.kind, round, passed: exitCode === 0, exitCode, ...ended };
}

function homeInside(ctx: RunnerContext, row: RunRow): string {
  return row.spec.sandboxDriver === "process" ? attemptDirs(ctx.home, row).verifyHome : pathsInside(ctx, row).home;
}
