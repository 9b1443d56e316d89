import fc from "fast-check";
import { expect, test } from "vitest";
import { type Kept, type Retention, whatToRemove } from "./retention.ts";

const FOR_EVER: Retention = { workspaceMs: null, recordingMs: null, snapshotMs: null, diskBytes: null };
const kept = (id: string, endedMs: number, kind: Kept["kind"] = "workspace", bytes: number | null = null): Kept => ({
  id,
  endedMs,
  kind,
  bytes,
});
const removed = (all: readonly Kept[], retention: Partial<Retention>, nowMs = 100): string[] =>
  whatToRemove(all, { ...FOR_EVER, ...retention }, nowMs).map(({ id, kind }) => `${id} ${kind}`);

test("each kind goes at its age, and not before", () => {
  const all = [kept("a", 49), kept("b", 50), kept("a", 49, "recording"), kept("c", 0, "recording"), kept("s", 49, "snapshot")];
  expect(removed(all, {})).toEqual([]);
  expect(removed(all, { workspaceMs: 50 })).toEqual(["a workspace"]);
  expect(removed(all, { recordingMs: 51 })).toEqual(["c recording"]);
  expect(removed(all, { snapshotMs: 50 })).toEqual(["s snapshot"]);
  // A clock that was put back makes nothing old.
  expect(removed(all, { workspaceMs: 50, recordingMs: 50 }, -1_000)).toEqual([]);
});

test("of what is too much the oldest goes, and what goes by its age is not counted twice", () => {
  const all = [kept("new", 90, "workspace", 40), kept("old", 10, "workspace", 30), kept("mid", 50, "recording", 40)];
  expect(removed(all, { diskBytes: 110 })).toEqual([]);
  expect(removed(all, { diskBytes: 109 })).toEqual(["old workspace"]);
  expect(removed(all, { diskBytes: 80, workspaceMs: 80 })).toEqual(["old workspace"]);
  expect(removed(all, { diskBytes: 0 })).toEqual(["old workspace", "mid recording", "new workspace"]);
});

test("whatever there is: afterwards it fits, and nothing newer goes while something older of its kind stays", () => {
  const any = fc.array(
    fc.record({
      id: fc.uuid(),
      endedMs: fc.nat(1_000),
      kind: fc.constantFrom("workspace" as const, "recording" as const, "snapshot" as const),
      bytes: fc.nat(100),
    }),
  );
  fc.assert(
    fc.property(any, fc.nat(1_000), fc.nat(2_000), (all, diskBytes, nowMs) => {
      const gone = whatToRemove(all, { ...FOR_EVER, diskBytes }, nowMs);
      const left = all.filter((each) => !gone.includes(each));
      expect(left.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(diskBytes);
      for (const each of gone) expect(left.every((other) => other.endedMs >= each.endedMs)).toBe(true);
    }),
  );
});
