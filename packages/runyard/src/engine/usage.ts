import type { RunUsage } from "@runyard/sdk/contract";
import { reportUsage } from "../core/usage-report.ts";
import { usageTotals, usdOrNull } from "../core/usage.ts";
import type { Database } from "../store/database.ts";
import { readUsageEvents } from "../store/events.ts";
import type { StoredRun } from "../store/runs.ts";
import type { Principal } from "./identity.ts";

/** What runs used and cost, for the people who may see them. */
export function createUsage(db: Database, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  return {
    async usage(principal: Principal, runId: string): Promise<RunUsage> {
      const { run } = await load(principal.orgId, runId);
      const { costNanoUsd, spentNanoUsd: _, spentTokens: __, ...totals } = usageTotals(run.usage);
      const events = await readUsageEvents(db, principal.orgId, runId);
      return { runId, simulated: run.simulated, ...reportUsage({ ...totals, costUsd: usdOrNull(costNanoUsd) }, events) };
    },
  };
}
