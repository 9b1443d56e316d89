/** What an ended run still has on a machine's disk, a snapshot, or a checkout that workspaces lie upon. */
export interface Kept {
  readonly id: string;
  /** When the run ended, or the snapshot or checkout was last used. */
  readonly endedMs: number;
  readonly kind: "workspace" | "recording" | "snapshot" | "base";
  /** Null: not measured, because nothing goes by it. */
  readonly bytes: number | null;
}

/** How long what ended runs leave and snapshots that nobody uses are kept, in milliseconds, and how much of it, in bytes; null: without such a limit. */
export interface Retention {
  readonly workspaceMs: number | null;
  readonly recordingMs: number | null;
  readonly snapshotMs: number | null;
  readonly diskBytes: number | null;
}

/** What is to be removed: what is too old, and then the oldest of what is too much. */
export function whatToRemove(kept: readonly Kept[], { workspaceMs, recordingMs, snapshotMs, diskBytes }: Retention, nowMs: number): Kept[] {
  const oldestFirst = kept.toSorted((a, b) => a.endedMs - b.endedMs);
  const unused = snapshotMs ?? Infinity;
  const longest = { workspace: workspaceMs ?? Infinity, recording: recordingMs ?? Infinity, snapshot: unused, base: unused };
  let bytes = 0;
  for (const each of kept) bytes += each.bytes ?? 0;
  return oldestFirst.filter((each) => {
    const goes = nowMs - each.endedMs > longest[each.kind] || bytes > (diskBytes ?? Infinity);
    if (goes) bytes -= each.bytes ?? 0;
    return goes;
  });
}
