import { createHash } from "node:crypto";
import { canonicalJson } from "../core/canonical-json.ts";
import type { RunRow } from "../store/run-row.ts";
import type { SnapshotKey } from "../store/snapshots.ts";

/** How far the set-up of an attempt has come; stored in its state. */
export interface SetupState {
  /** The snapshot that the workspace begins with; left out: the commands are run. */
  readonly from?: { readonly id: string; readonly bytes: number };
  /** The id of the snapshot that is to be made of what they make; left out: none is. */
  readonly making?: string;
  /** Nothing was in the home, so that what is there then is set-up's. */
  readonly isNewHome: boolean;
  /** The command whose turn it is. */
  readonly index: number;
  /** Its beginning is in the log. */
  readonly begun: boolean;
  /** The workspace holds nothing any more but the commit and what git ignores. */
  readonly settled?: true;
  /** What the run's document shows. */
  readonly snapshot?: { readonly id: string; readonly hit: boolean };
}

/** What a run's snapshot is found by; null: it keeps none. */
export function snapshotKeyOf(row: Pick<RunRow, "org_id" | "repository_url" | "spec" | "runner_id">): SnapshotKey | null {
  const { setup, sandboxDriver } = row.spec;
  if (setup?.cacheKey === undefined || row.runner_id === null) return null;
  return {
    orgId: row.org_id,
    repositoryUrl: row.repository_url,
    cacheKey: setup.cacheKey,
    driver: sandboxDriver,
    commandsHash: createHash("sha256").update(canonicalJson(setup.commands)).digest("hex"),
    runnerId: row.runner_id,
  };
}
