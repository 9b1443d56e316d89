import { realpathSync } from "node:fs";
import type { AgentProfile, ProfileContext } from "../agents/profiles/profile.ts";
import { makeRunDirectory, readExitCode, readShimPid } from "../sandbox/run-directory.ts";
import { NotStartedError } from "../sandbox/spawner.ts";
import type { RunRow } from "../store/run-row.ts";
import { cachePathOf } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { egressOf, trustInside } from "./header-secrets.ts";
import { writeHomeFile } from "./home-files.ts";
import { loginForAgent } from "./own-login.ts";
import { RunFailure } from "./run-handle.ts";
import type { RunSecrets } from "./run-secrets.ts";
import { prepareSandbox } from "./sandbox-step.ts";

/** Paths as the agent of a run sees them. */
export function pathsInside(ctx: RunnerContext, row: RunRow): { readonly workspace: string; readonly home: string } {
  return ctx.driver(row.spec.sandboxDriver).pathsInside(attemptDirs(ctx.home, row));
}

/** The server's node as the agent of a run finds it. */
export function nodeInside(ctx: RunnerContext, row: RunRow): string {
  return ctx.driver(row.spec.sandboxDriver).nodeInside ?? realpathSync(process.execPath);
}

export function profileOf(ctx: RunnerContext, row: RunRow): AgentProfile {
  const profile = ctx.profile(row.spec.agent.profile);
  if (profile === undefined)
    throw new RunFailure({ type: "agent-error", message: `This server knows no agent "${row.spec.agent.profile}".` });
  return profile;
}

/** The run directory of an attempt's agent. */
export function agentDir(ctx: RunnerContext, row: RunRow): string {
  return attemptDirs(ctx.home, row).step("agent");
}

/** Starts the run's agent with these secrets, unless its directory tells that it was started before; returns that directory. */
export async function startAgent(ctx: RunnerContext, row: RunRow, secrets: RunSecrets): Promise<string> {
  const dirs = attemptDirs(ctx.home, row);
  const dir = dirs.step("agent");
  if (readShimPid(dir) !== null || readExitCode(dir) !== null) return dir;
  const profile = profileOf(ctx, row);
  const driver = ctx.driver(row.spec.sandboxDriver);
  const context: ProfileContext = {
    ...pathsInside(ctx, row),
    gatewayUrl: driver.gatewayUrl(ctx.gateway.tcpPort()),
    token: ctx.gatewayToken(row),
    model: row.spec.model,
    command: row.spec.agent.command,
    mcpServers: (row.spec.mcpServers ?? []).map((server) => server.name),
    login: loginForAgent(ctx, row, ctx.gatewayToken(row)),
    builtinProgram: ctx.builtinAgentProgram,
    nodeProgram: nodeInside(ctx, row),
  };
  const { argv, env, mounts, homeFiles } = launchOf(profile, context);
  for (const file of homeFiles) writeHomeFile(dirs.home, file);
  const cachePath = cachePathOf(row);
  const trust = trustInside(ctx, secrets);
  const prepared = await prepareSandbox(ctx, row, {
    name: "agent",
    argv,
    env: { ...authorEnv(row), ...row.spec.environment, ...secrets.environment, ...env, ...proxyEnv(row, secrets, context), ...trust.env },
    // The workspace's git borrows objects from the cache, which nobody inside may change.
    mounts: [
      ...mounts,
      ...trust.mounts,
      { source: cachePath, target: cachePath, mode: "ro" },
      { source: ctx.builtinAgentProgram, target: ctx.builtinAgentProgram, mode: "ro" },
      { source: ctx.runToolsProgram, target: ctx.runToolsProgram, mode: "ro" },
    ],
    isOwn: false,
    network: true,
  });
  makeRunDirectory(dir, prepared.launch, { run: row.id, attempt: row.attempt, step: "agent", argv });
  try {
    await ctx.spawner.start(dir);
  } catch (error) {
    if (!(error instanceof NotStartedError)) throw error;
    // Nothing of the agent has begun, so nothing is lost with it but the attempt.
    const message = "The process that watches over the agent was ended before it had begun.";
    throw new RunFailure({ type: "lost", message }, null, true);
  }
  return dir;
}

/** Who the commits are by that the agent makes itself, where that is not what its repository says: Runyard. */
function authorEnv({ spec: { commit } }: RunRow): Readonly<Record<string, string>> {
  if (commit?.author === undefined) return {};
  const { name, email } = commit.author;
  return { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email };
}

/** By which programs find the way to hosts that the run may reach; what is on loopback, the gateway too, they ask directly. */
export function proxyEnv(
  row: RunRow,
  secrets: RunSecrets,
  { gatewayUrl, token }: Pick<ProfileContext, "gatewayUrl" | "token">,
): Readonly<Record<string, string>> {
  if (egressOf(row, secrets).length === 0 || row.spec.sandboxDriver === "process") return {};
  return proxyVariables(gatewayUrl, token);
}

export function proxyVariables(gatewayUrl: string, token: string): Record<string, string> {
  const proxy = gatewayUrl.replace("://", `://run:${token}@`);
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
  const none = { NO_PROXY: "127.0.0.1,localhost", no_proxy: "127.0.0.1,localhost" };
  // Node itself looks at them only if it is told to.
  return { ...Object.fromEntries(names.map((name) => [name, proxy])), ...none, NODE_USE_ENV_PROXY: "1" };
}

interface AgentLaunch {
  readonly argv: string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: ReturnType<AgentProfile["mounts"]>;
  readonly homeFiles: ReturnType<AgentProfile["homeFiles"]>;
}

function launchOf(profile: AgentProfile, context: ProfileContext): AgentLaunch {
  try {
    return {
      argv: profile.argv(context),
      env: profile.env(context),
      mounts: profile.mounts(),
      homeFiles: profile.homeFiles(context),
    };
  } catch (error) {
    // A profile throws a plain sentence when its program is not on this machine.
    throw new RunFailure({ type: "agent-error", message: (error as Error).message });
  }
}
