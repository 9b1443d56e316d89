import type { AcpMcpServer } from "../agents/acp/state.ts";
import { RUN_TOOLS_SERVER } from "../agents/run-tools/calls.ts";
import type { RunRow } from "../store/run-row.ts";
import { nodeInside, profileOf } from "./agent-launch.ts";
import type { RunnerContext } from "./context.ts";

/** Runyard's tools for a run's agent; none for one that has its own. */
export function runToolsFor(ctx: RunnerContext, row: RunRow): AcpMcpServer[] {
  const { hasRunTools, tellsNoInput } = profileOf(ctx, row).quirks;
  if (hasRunTools === true) return [];
  const args = [ctx.runToolsProgram, ...(row.plans ? ["plans"] : []), ...(tellsNoInput === true ? ["repeats"] : [])];
  return [{ name: RUN_TOOLS_SERVER, command: nodeInside(ctx, row), args, env: [] }];
}
