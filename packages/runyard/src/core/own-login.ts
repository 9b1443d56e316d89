/** Where an agent that calls with its own login puts its run's token for the gateway: the place of keys is taken. */
export const RUN_TOKEN_HEADER = "x-runyard-token";

/** A run that begins with less than this left of its login would hardly come to anything, in milliseconds. */
const LEAST_LEFT_MS = 5 * 60_000;

/** Whether a run can begin with a login; `expiresAtMs` null: it does not say when it ends. */
export function loginStanding(expiresAtMs: number | null, nowMs: number): "usable" | "expiring" | "expired" {
  if (expiresAtMs === null || expiresAtMs - nowMs >= LEAST_LEFT_MS) return "usable";
  return expiresAtMs > nowMs ? "expiring" : "expired";
}
