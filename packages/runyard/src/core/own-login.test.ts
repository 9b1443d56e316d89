import { expect, test } from "vitest";
import { loginStanding } from "./own-login.ts";

const MINUTE_MS = 60_000;

test.each([
  [null, "usable"],
  [5 * MINUTE_MS, "usable"],
  [5 * MINUTE_MS - 1, "expiring"],
  [1, "expiring"],
  [0, "expired"],
  [-MINUTE_MS, "expired"],
] as const)("a login with %s ms left is %s", (leftMs, standing) => {
  const nowMs = 1_795_000_000_000;
  expect(loginStanding(leftMs === null ? null : nowMs + leftMs, nowMs)).toBe(standing);
});
