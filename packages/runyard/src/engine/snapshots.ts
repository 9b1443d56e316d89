import { type listSnapshotsSchema, RunyardError, type Snapshot, type SnapshotPage } from "@runyard/sdk/contract";
import type { z } from "zod";
import { findSnapshot, listSnapshots, removeSnapshot, toSnapshot } from "../store/snapshots.ts";
import { readPage } from "./cursor.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { SNAPSHOTS } from "./wakes.ts";

/** What set-up made, for people to see and to be rid of. */
export function createSnapshots({ db, wakes }: Pick<EngineOptions, "db" | "wakes">) {
  return {
    listSnapshots({ orgId }: Principal, query: z.output<typeof listSnapshotsSchema>): Promise<SnapshotPage> {
      return readPage(query, { read: (page) => listSnapshots(db, { orgId, ...page }), show: toSnapshot, num: ({ num }) => num });
    },

    async getSnapshot({ orgId }: Principal, id: string): Promise<Snapshot> {
      const row = await findSnapshot(db, orgId, id);
      if (row === undefined) throw notFound(id);
      return toSnapshot(row);
    },

    /** From here on nobody finds it; its runner removes it from its disk. */
    async deleteSnapshot({ orgId }: Principal, id: string): Promise<void> {
      if (!(await removeSnapshot(db, orgId, id))) throw notFound(id);
      wakes.notify(SNAPSHOTS);
    },
  };
}

function notFound(id: string): RunyardError {
  return new RunyardError("snapshot_not_found", `There is no snapshot ${id}. Snapshots are listed by GET /v1/snapshots.`);
}
