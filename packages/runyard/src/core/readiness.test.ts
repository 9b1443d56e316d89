import { expect, test } from "vitest";
import { clockCheck, diskCheck } from "./readiness.ts";

const MIB = 1024 ** 2;

test.each([
  [16 * MIB - 1, "failed", "The disk of the home is full: 15 MB are left."],
  [16 * MIB, "warning", "The disk of the home is nearly full: 16 MB are left."],
  [1024 * MIB - 1, "warning", "The disk of the home is nearly full: 1023 MB are left."],
  [1024 * MIB, "ok", null],
])("%d bytes of a disk are %s", (bytes, state, reason) => {
  expect(diskCheck(bytes)).toEqual({ name: "disk", state, reason });
});

test.each([
  [0, "ok", null],
  [59_999, "ok", null],
  [-59_999, "ok", null],
  [3_600_000, "warning", "The server's clock is 3600 s ahead of the database's."],
  [-60_000, "warning", "The server's clock is 60 s behind the database's."],
])("a clock that is %d ms ahead is %s", (aheadMs, state, reason) => {
  expect(clockCheck(1_000_000, 1_000_000 + aheadMs)).toEqual({ name: "clock", state, reason });
});
