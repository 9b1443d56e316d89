import type { MetricsSample } from "@runyard/sdk/contract";
import { MAX_SAMPLES } from "../core/metrics.ts";
import type { Database } from "./database.ts";
import type { RunRow } from "./run-row.ts";

type Figures = Omit<MetricsSample, "at" | "turn" | "attempt" | "step">;

/** The lock on the run is that of every runner's write: no other owner takes it up meanwhile. */
const ADD_SAMPLE = `
  with r as (
    select x.id, x.org_id, x.turn, x.attempt from runyard.runs x
    where x.id = $1 and x.org_id = runyard.current_org() and x.owner = $2 and x.attempt = $3 and x.status <> 'pending' and not runyard.is_terminal(x.status)
    for no key update
  ), known as (
    select count(*)::int as samples from runyard.samples where run_id = $1 and org_id = runyard.current_org()
  ), added as (
    insert into runyard.samples (run_id, at, org_id, turn, attempt, step, cpu_ms, memory_bytes, memory_peak_bytes, processes, threads, disk_bytes)
    select r.id, clock_timestamp(), r.org_id, r.turn, r.attempt, $4, $5, $6, $7, $8, $9, $10 from r, known where known.samples < $11
    on conflict do nothing returning 1
  )
  select known.samples + (select count(*)::int from added) as stored from r, known`;

/**
 * Adds a sample of what a step of a run uses, for the runner that has it in hand; not where the run has as many as it
 * may. Gives how many it has; undefined: somebody else owns the run now, or it has ended.
 */
export async function addSample(
  db: Database,
  sample: { readonly run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">; readonly step: string; readonly figures: Figures },
): Promise<number | undefined> {
  const { run, step, figures } = sample;
  const { cpuMs, memoryBytes, memoryPeakBytes, processes, threads, diskBytes } = figures;
  const values = [cpuMs, memoryBytes, memoryPeakBytes, processes, threads, diskBytes];
  const rows = await db.queryInOrganization<{ stored: number }>(run.org_id, ADD_SAMPLE, [
    run.id,
    run.owner,
    run.attempt,
    step,
    ...values,
    MAX_SAMPLES,
  ]);
  return rows[0]?.stored;
}

/** The samples of a run, in the order in which they were taken. */
export async function listSamples(db: Database, orgId: string, runId: string): Promise<MetricsSample[]> {
  return db.queryInOrganization<MetricsSample>(
    orgId,
    `select at, turn, attempt, step, cpu_ms as "cpuMs", memory_bytes as "memoryBytes", memory_peak_bytes as "memoryPeakBytes",
            processes, threads, disk_bytes as "diskBytes"
     from runyard.samples where run_id = $1 and org_id = runyard.current_org() order by at`,
    [runId],
  );
}
