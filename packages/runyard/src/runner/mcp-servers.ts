import type { McpServer } from "@runyard/sdk/contract";
import type { AcpMcpServer } from "../agents/acp/state.ts";
import { placeProgram } from "../agents/profiles/custom.ts";
import type { RemoteMcpServer } from "../gateway/client.ts";
import type { StoredMcpServer } from "../core/saved-agent.ts";
import type { RunRow } from "../store/run-row.ts";
import { openHeaders } from "../store/sealed-headers.ts";
import { type Vault, VaultError } from "../store/vault.ts";
import { nodeInside, pathsInside } from "./agent-launch.ts";
import type { RunnerContext } from "./context.ts";
import { RunFailure } from "./run-handle.ts";

/**
 * The run's MCP servers, as its agent is told of them. One over HTTP is told to be at the gateway, which knows where it
 * really is and with which headers: the agent has no other way out, and no secret of it.
 */
export function mcpServersFor(ctx: RunnerContext, row: RunRow): AcpMcpServer[] {
  const gatewayUrl = ctx.driver(row.spec.sandboxDriver).gatewayUrl(ctx.gateway.tcpPort());
  const place = { ...pathsInside(ctx, row), nodeProgram: nodeInside(ctx, row) };
  return (row.spec.mcpServers ?? []).map(({ name, command, env = {} }): AcpMcpServer => {
    if (command === undefined) {
      const headers = [{ name: "Authorization", value: `Bearer ${ctx.gatewayToken(row)}` }];
      return { type: "http", name, url: `${gatewayUrl}/mcp/${name}`, headers };
    }
    const [program = "", ...args] = command;
    const variables = Object.entries(env).map(([variable, value]) => ({ name: variable, value }));
    // Agents start servers wherever they like: Claude Code does it in its configuration's root.
    const started = ["-c", 'cd -- "$1" && shift && exec "$@"', "sh", place.workspace, placeProgram(program, place), ...args];
    return { name, command: "/bin/sh", args: started, env: variables };
  });
}

/** Those that the gateway must know, with the values of their headers. Throws RunFailure. */
export function remoteServersOf({ vault }: Pick<RunnerContext, "vault">, { spec, org_id: orgId }: RunRow): RemoteMcpServer[] {
  return openedFor(vault, orgId, spec.mcpServers ?? []).flatMap(({ name, url, headers = {} }) =>
    url === undefined ? [] : [{ name, url, headers }],
  );
}

function openedFor(vault: Vault, orgId: string, servers: readonly StoredMcpServer[]): McpServer[] {
  try {
    return openHeaders(vault, orgId, servers);
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    throw new RunFailure({
      type: "sandbox-unavailable",
      message: `The headers of the run's MCP servers cannot be read: ${error.message}.`,
    });
  }
}
