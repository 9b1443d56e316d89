import { type Exchange, type ExchangeDetail, type ExchangeList, type ExchangeSide, RunyardError } from "@runyard/sdk/contract";
import type { RunRow } from "../store/run-row.ts";
import type { StoredRun } from "../store/runs.ts";
import type { Principal } from "./identity.ts";

/** What the gateway of this server's machine has recorded of runs' model calls; main wires it. */
export interface RecordingReader {
  /** This machine's runner. */
  readonly runnerId: string;
  /** Null: nothing of the run is recorded here. */
  list(runId: string): Promise<Exchange[] | null>;
  /** Null: there is no such call here. */
  find(runId: string, id: string): Promise<ExchangeDetail | null>;
  /** Null: nothing of it is recorded. */
  bytes(runId: string, place: { readonly id: string; readonly side: ExchangeSide }): Promise<Uint8Array | null>;
  /** How many calls of a turn are recorded here. */
  count(runId: string, turn: number): Promise<number>;
}

/** The other runners at which a run may have made model calls; `own` is null for a server that executes nothing. */
export function recordedElsewhere(run: Pick<RunRow, "runner_id" | "usage_cursors">, own: string | null): string[] {
  const before = Object.entries(run.usage_cursors).flatMap(([runner, read]) => (read > 0 ? [runner] : []));
  const all = new Set(run.runner_id === null ? before : [...before, run.runner_id]);
  return [...all].filter((runner) => runner !== own);
}

export function notHere(runId: string, runners: readonly string[]): RunyardError {
  return new RunyardError(
    "recording_not_here",
    `The model calls of run ${runId} are recorded on the machine of ${runners.join(" and ")}, and this server cannot read them: ask the server there.`,
  );
}

/** What runs asked models, for the people who may see them. */
export function createRecordings(reader: RecordingReader | null, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  const held = async (principal: Principal, runId: string): Promise<{ here: RecordingReader | null; elsewhere: string[] }> => {
    const { run } = await load(principal.orgId, runId);
    return { here: reader, elsewhere: recordedElsewhere(run, reader?.runnerId ?? null) };
  };
  /** Where something is not here, it may be at another runner; else it is nowhere. */
  const missing = (runId: string, elsewhere: readonly string[], words: string): RunyardError =>
    elsewhere.length > 0 ? notHere(runId, elsewhere) : new RunyardError("exchange_not_found", words);

  return {
    async exchanges(principal: Principal, runId: string): Promise<ExchangeList> {
      const { here, elsewhere } = await held(principal, runId);
      const data = (await here?.list(runId)) ?? null;
      if (data === null && elsewhere.length > 0) throw notHere(runId, elsewhere);
      return { data: data ?? [], elsewhere };
    },

    async exchange(principal: Principal, runId: string, id: string): Promise<ExchangeDetail> {
      const { here, elsewhere } = await held(principal, runId);
      const found = (await here?.find(runId, id)) ?? null;
      if (found === null) throw missing(runId, elsewhere, `Run ${runId} has no exchange ${id}.`);
      return found;
    },

    async exchangeBytes(
      principal: Principal,
      runId: string,
      place: { readonly id: string; readonly side: ExchangeSide },
    ): Promise<Uint8Array> {
      const { here, elsewhere } = await held(principal, runId);
      const bytes = (await here?.bytes(runId, place)) ?? null;
      if (bytes === null)
        throw missing(
          runId,
          elsewhere,
          `Run ${runId} has no ${place.side} of an exchange ${place.id}: it was never made, or could not be written down.`,
        );
      return bytes;
    },
  };
}
