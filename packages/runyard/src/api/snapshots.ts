import { listSnapshotsSchema, RunyardError, snapshotIdSchema } from "@runyard/sdk/contract";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { queryOf, validate } from "./validate.ts";

/** The routes of snapshots. */
export function snapshotHandlers(engine: ApiEngine): Record<"listSnapshots" | "getSnapshot" | "deleteSnapshot", ApiHandler> {
  return {
    listSnapshots: async (c) => c.json(await engine.listSnapshots(c.var.principal, validate(listSnapshotsSchema, queryOf(c.req.url)))),
    getSnapshot: async (c) => c.json(await engine.getSnapshot(c.var.principal, idOf(c))),
    deleteSnapshot: async (c) => {
      await engine.deleteSnapshot(c.var.principal, idOf(c));
      return c.body(null, 204);
    },
  };
}

function idOf(c: ApiContext): string {
  const parsed = snapshotIdSchema.safeParse(c.req.param("snid"));
  if (!parsed.success) throw new RunyardError("snapshot_not_found", "There is no such snapshot: an id looks like snap_01k….");
  return parsed.data;
}
