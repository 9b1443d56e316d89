import { ulid } from "ulid";

/** A new public id: the kind and a ULID in lower case, so that ids sort by time of creation. */
export function newId(kind: "run" | "repo" | "token" | "runner" | "agent" | "secret" | "credential" | "snap"): string {
  return `${kind}_${ulid().toLowerCase()}`;
}
