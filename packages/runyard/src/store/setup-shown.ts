import type { Run, Setup, SetupShown } from "@runyard/sdk/contract";
import type { RunRow } from "./run-row.ts";

/** What the runner's stored state says of set-up; the rest of it is the runner's own. */
interface StoredSetup {
  readonly setup?: { readonly snapshot?: { readonly id: string; readonly hit: boolean } };
}

/** Set-up with nothing left to be understood. */
export function setupShown(setup: Setup | null | undefined): SetupShown | null {
  if (setup === null || setup === undefined) return null;
  return { commands: [...setup.commands], cacheKey: setup.cacheKey ?? null, timeout: setup.timeout };
}

/** The part of a run's document that tells of its set-up. */
export function showSetup(row: Pick<RunRow, "spec" | "state">): Run["setup"] {
  const shown = setupShown(row.spec.setup);
  return shown === null ? null : { ...shown, snapshot: (row.state as StoredSetup).setup?.snapshot ?? null };
}
