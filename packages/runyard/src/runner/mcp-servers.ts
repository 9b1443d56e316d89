import { realpathSync } from "node:fs";
import type { McpServer } from "@runyard/sdk/contract";
import type { AcpMcpServer } from "../agents/acp/state.ts";
import { placeProgram } from "../agents/profiles/custom.ts";
import type { RemoteMcpServer } from "../gateway/client.ts";
import type { RunRow } from "../store/run-row.ts";
import { pathsInside } from "./agent-launch.ts";
import type { RunnerContext } from "./context.ts";

/**
 * The run's MCP servers, as its agent is told of them. One over HTTP is told to be at the gateway, which knows where it
 * really is and with which headers: the agent has no other way out, and no secret of it.
 */
export function mcpServersFor(ctx: RunnerContext, row: RunRow): AcpMcpServer[] {
  const gatewayUrl = ctx.driver(row.spec.sandboxDriver).gatewayUrl(ctx.gateway.tcpPort());
  const place = { ...pathsInside(ctx, row), nodeProgram: realpathSync(process.execPath) };
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

/** Those that the gateway must know. */
export function remoteServersOf({ spec }: Pick<RunRow, "spec">): RemoteMcpServer[] {
  return (spec.mcpServers ?? []).flatMap(({ name, url, headers = {} }: McpServer) => (url === undefined ? [] : [{ name, url, headers }]));
}
