import type { RunRow } from "../store/run-row.ts";
import { gatewayBudget } from "./budget.ts";
import type { RunnerContext } from "./context.ts";
import { gatewayEgress } from "./header-secrets.ts";
import { remoteServersOf } from "./mcp-servers.ts";
import { gatewayLogin } from "./own-login.ts";
import type { RunSecrets } from "./run-secrets.ts";

/** Makes a run known to the gateway: what its sandbox may ask there, and reach through it. Can be repeated. */
export async function openAtGateway(ctx: RunnerContext, row: RunRow, secrets: RunSecrets): Promise<void> {
  await ctx.gateway.openRun({
    runId: row.id,
    token: ctx.gatewayToken(row),
    model: row.spec.model,
    simulated: row.simulated,
    mcpServers: remoteServersOf(ctx, row),
    ...gatewayEgress(ctx, row, secrets),
    turn: row.turn,
    attempt: row.attempt,
    replay: row.replay && { runId: row.replay.of, turn: row.replay.turn },
    secrets: secrets.given.map(({ name, value }) => ({ name, value })),
    ...gatewayBudget(row),
    ...gatewayLogin(ctx, row),
  });
}
