import type { ReadinessCheck } from "@runyard/sdk/contract";

const MIB = 1024 ** 2;
/** With less than this, a database and a run's first files hardly fit: what is begun now breaks off soon. */
const FULL_BYTES = 16 * MIB;
const LOW_BYTES = 1024 * MIB;
/** Clocks of two machines that look after them differ by far less. */
const CLOCK_MS = 60_000;

/** How the least of the disks stands that a home lies on. */
export function diskCheck(freeBytes: number): ReadinessCheck {
  const state = freeBytes < FULL_BYTES ? "failed" : freeBytes < LOW_BYTES ? "warning" : "ok";
  const left = `${Math.floor(freeBytes / MIB)} MB are left`;
  const reason = { failed: `The disk of the home is full: ${left}.`, warning: `The disk of the home is nearly full: ${left}.`, ok: null }[
    state
  ];
  return { name: "disk", state, reason };
}

/** Deadlines go by the database's clock, other times by the server's: both should agree. */
export function clockCheck(databaseMs: number, serverMs: number): ReadinessCheck {
  const aheadMs = serverMs - databaseMs;
  if (Math.abs(aheadMs) < CLOCK_MS) return { name: "clock", state: "ok", reason: null };
  const by = `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? "ahead of" : "behind"}`;
  return { name: "clock", state: "warning", reason: `The server's clock is ${by} the database's.` };
}
