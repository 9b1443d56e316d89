import type { RouteName } from "../contract/routes.ts";
import type { ListSnapshotsQuery, Snapshot, SnapshotPage } from "../contract/setup.ts";
import { checked } from "./answers.ts";
import { listFrom } from "./list.ts";
import { pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

/** A page of snapshots to `await`, or all of them from there on to iterate over. */
export type SnapshotList = Promise<SnapshotPage> & AsyncIterable<Snapshot>;

/** What the set-up of runs made, on the disks of runners: `client.snapshots`. */
export interface Snapshots {
  /** Snapshots, newest first. */
  list(query?: ListSnapshotsQuery, options?: RequestOptions): SnapshotList;

  get(id: string, options?: RequestOptions): Promise<Snapshot>;

  /**
   * Deletes a snapshot: the next run of its key runs its set-up, and makes a new one. Needs `agent:write`.
   *
   * @example
   * ```ts
   * for await (const snapshot of client.snapshots.list()) {
   *   if (snapshot.cacheKey === "node-modules-v1") await client.snapshots.delete(snapshot.id);
   * }
   * ```
   */
  delete(id: string, options?: RequestOptions): Promise<void>;
}

function request(method: "GET" | "DELETE", route: RouteName, id: string): ApiRequest {
  return { method, path: pathOf(route, { snid: id }), accept: "application/json", repeatable: method === "GET" };
}

export function createSnapshots(transport: Transport): Snapshots {
  return {
    list: ({ limit, cursor } = {}, options) =>
      listFrom<SnapshotPage, Snapshot>(transport, "listSnapshots", {
        query: { limit: limit as number, cursor },
        check: asSnapshot,
        options,
      }),
    get: async (id, options) => asSnapshot(await transport.json(request("GET", "getSnapshot", id), options)),
    delete: async (id, options) => void (await transport.text(request("DELETE", "deleteSnapshot", id), options)),
  };
}

function asSnapshot(value: unknown): Snapshot {
  return checked(value, { id: "string", cacheKey: "string", bytes: "number" }) as Snapshot;
}
