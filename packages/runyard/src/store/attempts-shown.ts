import type { Run, VerifyResult } from "@runyard/sdk/contract";
import { type AttemptSettings, attemptSettingsOf, NO_TRIES, type Tries, typeInForce } from "../core/attempts.ts";
import type { RunRow } from "./run-row.ts";

type Row = Pick<RunRow, "spec" | "state">;

/** What the runner's stored state says of attempts; the rest of it is the runner's own. */
interface StoredAttempts {
  readonly tries?: Tries;
  readonly verify?: { readonly results: readonly VerifyResult[] };
}

/** What a run asked for; a run of an earlier version asked for nothing. */
export function attemptSettings(row: Pick<RunRow, "spec">): AttemptSettings {
  return row.spec.attempts ?? attemptSettingsOf({});
}

export function triesOf(row: Pick<RunRow, "state">): Tries {
  return (row.state as StoredAttempts).tries ?? NO_TRIES;
}

/** The time that the present attempt may use, in milliseconds. */
export function timeoutInForce(row: Row): number {
  return triesOf(row).timeoutMs ?? row.spec.timeoutMs;
}

type Shown = Pick<Run, "failedAttempts" | "retryAt" | "inForce" | "verify" | "verifyRetries" | "verifyResults">;

/** The part of a run's document that tells of its attempts. */
export function showAttempts(row: Row & Pick<RunRow, "finished_at">): Shown {
  const settings = attemptSettings(row);
  const tries = triesOf(row);
  const waits = tries.notBeforeMs !== null && row.finished_at === null;
  return {
    failedAttempts: [...tries.failed],
    retryAt: waits ? new Date(tries.notBeforeMs).toISOString() : null,
    inForce: { timeout: timeoutInForce(row), sandboxType: typeInForce(settings, tries) },
    verify: [...settings.verify],
    verifyRetries: settings.verifyRetries,
    verifyResults: [...((row.state as StoredAttempts).verify?.results ?? [])],
  };
}

/** The part of its `settings` that does. */
export function showAttemptSettings(
  row: Pick<RunRow, "spec">,
): Omit<Run["settings"], "timeout" | "agentWait" | "sandboxDriver" | "strictPlan" | "planTimeout" | "onPlanTimeout"> {
  const { maxRetries, retryableErrors, recovery, sandboxType } = attemptSettings(row);
  return { sandboxType, maxRetries, retryStrategy: "exponential-backoff", retryableErrors: [...retryableErrors], recovery };
}
