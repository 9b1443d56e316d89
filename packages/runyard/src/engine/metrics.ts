import type { RunMetrics } from "@runyard/sdk/contract";
import { summarizeMetrics } from "../core/metrics.ts";
import type { Database } from "../store/database.ts";
import { listSamples } from "../store/metrics.ts";
import type { StoredRun } from "../store/runs.ts";
import type { Principal } from "./identity.ts";

/** What runs used of their machines, for the people who may see them. */
export function createMetrics(db: Database, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  return {
    async metrics(principal: Principal, runId: string): Promise<RunMetrics> {
      await load(principal.orgId, runId);
      const data = await listSamples(db, principal.orgId, runId);
      return { runId, data, ...summarizeMetrics(data) };
    },
  };
}
